import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from conversion.exporters import export
from tests.zoo.folders import write_checkpoint
from tests.zoo.models import model_of
from zoo.errors import CheckpointError, ZooError

HINT = "needs the extra export: pip install 'rnnlm-zoo[export]'"
DOCS = Path(__file__).parents[3] / "docs" / "export.md"
FILES = [f"model{part}{suffix}.onnx" for suffix in ("", "_fp16", "_int8") for part in ("", "_sequence")]


@pytest.fixture
def onnxruntime():
    pytest.importorskip("onnx", reason=HINT)
    return pytest.importorskip("onnxruntime", reason=HINT)


@pytest.fixture(autouse=True)
def few_positions(monkeypatch):
    monkeypatch.delenv("ZOO_DATA", raising=False)
    from conversion.exporters import text

    monkeypatch.setattr(text.check_text, "__defaults__", (300,))


def test_all_variants_beside_config_and_tokenizer(onnxruntime, tmp_path):
    folder = write_checkpoint(tmp_path / "tiny", model_of(cell="gru", projected=True), half=True)
    before = {path.name for path in folder.iterdir()}
    out = tmp_path / "out" / "deep"
    written = export(folder, "onnx", out)
    beside = ["config.json", "tokenizer.json", "tokenizer_config.json"]
    assert [str(path.relative_to(out)) for path in written] == beside + [
        f"onnx/{file}" for file in [*FILES, "check.json"]
    ]
    assert {path for path in out.rglob("*") if path.is_file()} == set(written)
    report = json.loads(written[-1].read_text())
    assert list(report["files"]) == FILES and report["text"] == "made by the model itself, seed 0"
    for file, numbers in report["files"].items():
        assert numbers["positions"] == 300
        exact = not file.endswith("_int8.onnx")
        assert numbers["same_top3"] >= (1 if exact else 0.99)
        assert not exact or numbers["max_logit_difference"] < 1e-4
    named = {*report["int8"]["in_8_bits"], *report["int8"]["in_16_bits"]}
    assert "model.layers.1.candidate.weight" in named and "lm_head.weight" not in named
    assert {path.name for path in folder.iterdir()} == before
    sizes = [(out / "onnx" / f"model_sequence{suffix}.onnx").stat().st_size for suffix in ("", "_fp16")]
    assert sizes[1] < sizes[0]


def test_a_folder_gets_its_files_inside_and_again(onnxruntime, tmp_path):
    folder = write_checkpoint(tmp_path / "tiny", model_of(cell="rnn"))
    written = export(folder, "onnx", variants="fp32")
    assert written == [folder / "onnx" / file for file in ("model.onnx", "model_sequence.onnx", "check.json")]
    assert "int8" not in json.loads(written[-1].read_text())
    assert export(str(folder), "onnx", variants=["fp32"]) == written
    assert not list(folder.glob(".onnx*"))


def test_variants_are_added_and_checkpoints_are_not_mixed(onnxruntime, tmp_path):
    folder = write_checkpoint(tmp_path / "tiny", model_of(cell="gru", projected=True), half=True)
    out = tmp_path / "out"
    export(folder, "onnx", out, "fp32")
    report = json.loads(export(folder, "onnx", out, "fp16")[-1].read_text())
    assert sorted(report["files"]) == sorted(FILES[:2] + [file for file in FILES if "fp16" in file])
    assert report["bytes"].keys() == report["files"].keys()
    before = {path: path.read_bytes() for path in out.rglob("*.*")}
    other = write_checkpoint(tmp_path / "other", model_of(cell="rnn"))
    with pytest.raises(ZooError, match=r"holds config.json of another checkpoint; give another --out"):
        export(other, "onnx", out, "int8")
    (out / "config.json").unlink()
    with pytest.raises(ZooError, match=r"check.json of another checkpoint"):
        export(other, "onnx", out, "int8")
    assert before.keys() - {out / "config.json"} == set(out.rglob("*.*"))


def test_a_compressed_checkpoint_keeps_its_integers(onnxruntime, tmp_path):
    folder = write_checkpoint(tmp_path / "tiny", model_of(form="int8", tied=False))
    written = export(folder, "onnx", variants=("int8",))
    report = json.loads(written[-1].read_text())
    assert report["int8"]["in_8_bits"] == {} and report["int8"]["in_16_bits"] == []
    assert all(numbers["same_top3"] == 1 for numbers in report["files"].values())


def test_a_file_that_computes_otherwise_is_not_written(onnxruntime, tmp_path, monkeypatch):
    from conversion.exporters import to_onnx

    folder = write_checkpoint(tmp_path / "tiny")
    other = model_of()
    with torch.no_grad():
        other.lm_head.bias += torch.linspace(-1, 1, len(other.lm_head.bias))
    right = to_onnx.build
    monkeypatch.setattr(to_onnx, "build", lambda model, *rest: right(other, *rest))
    with pytest.raises(CheckpointError, match=r"model.onnx gives the same best three words .* nothing was written"):
        export(folder, "onnx", tmp_path / "out", "fp32")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("to", "variants", "says"),
    [
        ("tflite", "all", "'tflite'; allowed: onnx, executorch, litert"),
        ("onnx", "int4", "variant int4 for onnx; allowed: all, fp32, fp16, int8"),
        ("onnx", (), "variant none"),
        ("litert", ("fp32", "int8"), "for litert; allowed: all, fp32"),
    ],
)
def test_unknown_targets_and_variants_are_refused_before_any_work(tmp_path, to, variants, says):
    with pytest.raises(ZooError, match=re.escape(says)):
        export(tmp_path / "nothing", to, tmp_path / "out", variants)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("to", "package", "extra"),
    [
        ("onnx", "onnxruntime", "export"),
        ("executorch", "executorch", "executorch"),
        ("litert", "litert_torch", "litert"),
    ],
)
def test_a_missing_package_names_what_to_install(tmp_path, monkeypatch, to, package, extra):
    folder = write_checkpoint(tmp_path / "tiny")
    monkeypatch.setitem(sys.modules, "onnx", sys)  # found, whether it is installed or not
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ZooError, match=re.escape(f"pip install 'rnnlm-zoo[{extra}]'")):
        export(folder, to, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_out_must_not_be_a_file(onnxruntime, tmp_path):
    folder, file = write_checkpoint(tmp_path / "tiny"), tmp_path / "file"
    file.touch()
    with pytest.raises(ZooError, match="is a file; give --out a folder"):
        export(folder, "onnx", file)


def test_import_is_cheap():
    code = (
        "import sys, conversion.exporters; print(any(name in sys.modules for name in ('onnx', 'onnxruntime', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_snippet_of_the_docs(onnxruntime, tmp_path, monkeypatch, capsys):
    words = ["<unk>", "<eos>", "the", "meeting", "will", "be", *(f"w{number}" for number in range(6, 31))]
    folder = write_checkpoint(tmp_path / "lr-cifg-1200-born-again-ptb", model_of(), words=words)
    export(folder, "onnx", variants="fp32")
    (snippet,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.S)
    monkeypatch.chdir(tmp_path)
    exec(snippet, {})
    suggested = capsys.readouterr().out.split()
    tokens = [2, 3, 4, 5]
    states = None
    for token in tokens:
        logits, states = model_of().step(torch.tensor([token]), states)
    best = np.argsort(-logits[0].detach().numpy())[:3]
    assert suggested == [words[i] for i in best]


@pytest.mark.parametrize(("to", "file"), [("executorch", "model.pte"), ("litert", "model.tflite")])
@pytest.mark.parametrize(
    "options", [{"cell": "lstm", "projected": True}, {"cell": "gru", "form": "int8", "tied": False}]
)
def test_device_formats(tmp_path, to, file, options):
    package = {"executorch": "executorch", "litert": "litert_torch"}[to]
    pytest.importorskip(package, reason=f"needs the extra {to}: pip install 'rnnlm-zoo[{to}]'")
    folder = write_checkpoint(tmp_path / "tiny", model_of(**options))
    written = export(folder, to)
    assert [path.name for path in written] == [file, "check.json"]
    assert json.loads(written[-1].read_text())["files"][file]["same_top3"] == 1
