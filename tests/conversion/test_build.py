"""The command: checkpoint folders that are whole or absent, the queue, stopping and errors."""

from __future__ import annotations

import importlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from conversion import build, checkpoint, queueing
from conversion.checkpoint import half_of
from conversion.interruption import Interrupted
from conversion.pipeline import plan
from conversion.recipe import read_recipe
from conversion.state import load_state, only_one
from zoo.errors import CheckpointError
from zoo.loading import load
from zoo.modeling_rnnlm import AUTO_MAP

from .tiny import write_recipe

FILES = (
    "config.json model.safetensors generation_config.json tokenizer.json tokenizer_config.json recipe.toml metrics.json"
    " cache_rnnlm.py cells_rnnlm.py configuration_rnnlm.py modeling_rnnlm.py weights_rnnlm.py"
    " factors_rnnlm.py integers_rnnlm.py leaves_rnnlm.py sparse_rnnlm.py"
)


def options(folder: Path) -> list[str]:
    return ["--runs", str(folder / "runs"), "--out", str(folder / "out"), "--device", "cpu"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    """A folder with runs/tiny and out/tiny."""
    folder = tmp_path_factory.mktemp("built")
    file = write_recipe(folder / "tiny.toml", corpus, ("save_every = 0", "save_every = 60"))
    assert build.main([str(file), *options(folder)]) == 0
    return folder


def test_folder_is_complete(built: Path):
    folder = built / "out" / "tiny"
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES.split())
    assert [path.name for path in (built / "out").iterdir()] == ["tiny"]
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1
    config = json.loads((folder / "config.json").read_text())
    assert config["dtype"] == "float32"
    assert config["auto_map"] == AUTO_MAP
    for target in AUTO_MAP.values():
        module, _, name = target.partition(".")
        assert hasattr(importlib.import_module(f"zoo.{module}"), name)


def test_weights_are_the_best_ones(built: Path):
    model, tokenizer = load(built / "out" / "tiny")
    best = load_state(built / "runs" / "tiny" / "state.pt")["best"]["weights"]
    assert model.dtype == torch.float32
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, half_of(best)[name].float())
    assert tokenizer("balan kopes")["input_ids"] == [tokenizer.vocab[word] for word in ("balan", "kopes")]


def test_metrics_and_recipe_tell_how_it_was_made(built: Path, corpus: Path):
    folder = built / "out" / "tiny"
    metrics = json.loads((folder / "metrics.json").read_text())
    words = len((corpus / "test.txt").read_text().replace("\n", " <eos> ").split())
    assert metrics["test"]["targets"] == words
    assert 1 < metrics["valid"]["perplexity_at_temperature"] <= metrics["valid"]["perplexity"] + 1e-4
    assert metrics["stored"]["dtype"] == "float16"
    assert metrics["parameters"] == load(folder)[0].num_parameters()
    text = (folder / "recipe.toml").read_text()
    assert read_recipe(folder / "recipe.toml") == read_recipe(built / "tiny.toml")
    built_with = text.partition("[built]")[2]
    for line in ("epochs = 2.0", f'torch = "{torch.__version__}"', 'device = "', "seconds = "):
        assert line in built_with


def test_bias_starts_at_the_frequencies_of_the_words(recipe_file: Path):
    corpus, model = build.prepare(read_recipe(recipe_file), None, Path())
    tokens = corpus.splits["train"].tolist()
    expected = [(tokens.count(word) + 1) / (len(tokens) + corpus.vocab_size) for word in range(corpus.vocab_size)]
    torch.testing.assert_close(model.lm_head.bias.exp(), torch.tensor(expected))


def test_present_checkpoint_is_left_alone(built: Path, capsys: pytest.CaptureFixture):
    before = (built / "out" / "tiny" / "metrics.json").stat()
    assert build.main([str(built / "tiny.toml"), *options(built)]) == 0
    assert "is there already; to build it again give --replace" in capsys.readouterr().out
    assert (built / "out" / "tiny" / "metrics.json").stat() == before


def test_failed_writing_leaves_nothing_and_keeps_the_old(built: Path, tmp_path: Path, monkeypatch, capsys):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.shutil, "copyfile", full)
    again = ["--runs", str(built / "runs"), "--finish", "--device", "cpu"]
    assert build.main([str(built / "tiny.toml"), *again, "--out", str(tmp_path)]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    before = (built / "out" / "tiny" / "metrics.json").stat()
    assert build.main([str(built / "tiny.toml"), *again, "--out", str(built / "out"), "--replace"]) == 2
    assert [path.name for path in (built / "out").iterdir()] == ["tiny"]
    assert (built / "out" / "tiny" / "metrics.json").stat() == before


def test_float32_is_kept_where_float16_costs_too_much(built: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(checkpoint, "HALF_COST", -1e9)
    arguments = [str(built / "tiny.toml"), "--runs", str(built / "runs"), "--finish", "--out", str(tmp_path)]
    assert build.main(arguments) == 0
    best = load_state(built / "runs" / "tiny" / "state.pt")["best"]["weights"]
    for name, tensor in load(tmp_path / "tiny")[0].state_dict().items():
        assert torch.equal(tensor, best[name])


def test_child_starts_from_its_parent(built: Path, tmp_path: Path, corpus: Path):
    changes = (
        ('name = "tiny"', 'name = "child"\nparent = "tiny"'),
        ("lr = 0.02", "lr = 1e-12"),
        ("epochs = 2", "epochs = 1"),
    )
    sizes = "embedding_size = 12\nhidden_size = 12\nnum_hidden_layers = 2\n"
    file = write_recipe(tmp_path / "child.toml", corpus, *changes, (sizes, ""), ('average = "ema"', ""))
    assert build.main([str(file), *options(built)]) == 0
    parent, child = load(built / "out" / "tiny")[0], load(built / "out" / "child")[0]
    for name, tensor in child.state_dict().items():
        assert torch.equal(tensor, parent.state_dict()[name])


def test_child_of_a_compressed_parent_learns_in_floats_and_is_compressed_anew(
    built: Path, tmp_path: Path, corpus: Path
):
    sizes = '[model]\ncell = "lstm"\nembedding_size = 12\nhidden_size = 12\nnum_hidden_layers = 2\n'
    quantize = '\n[[compress]]\nmethod = "quantize"\nbits = 4\ngroup = 4\n'
    folder = {"tiny": built, "packed": tmp_path, "again": tmp_path}
    for name, parent, epochs in (("packed", "tiny", 0), ("again", "packed", 1)):
        changes = [('name = "tiny"', f'name = "{name}"\nparent = "{folder[parent] / "out" / parent}"')]
        changes += [(sizes, "[model]\n"), ("epochs = 2", "epochs = 1")]
        file = write_recipe(tmp_path / f"{name}.toml", corpus, *changes)
        text = file.read_text()
        file.write_text((text if epochs else text[: text.index("[[stage]]")]) + quantize)
        assert build.main([str(file), *options(tmp_path)]) == 0
    packed, again = (load(tmp_path / "out" / name)[0] for name in ("packed", "again"))
    assert again.config.weights == packed.config.weights
    metrics = [json.loads((tmp_path / "out" / name / "metrics.json").read_text()) for name in ("packed", "again")]
    assert metrics[1]["valid"]["perplexity"] < metrics[0]["valid"]["perplexity"]
    assert [step["step"] for step in metrics[1]["steps"]] == ["at the start", "quantize, bits 4, group 4"]


def test_steps_of_a_compressed_parent_learn_in_floats(built: Path, tmp_path: Path, corpus: Path):
    head = f'corpus = "{corpus}"\n\n[training]\nbatch_size = 2\nwindow = 6\n'
    quantize = '[[compress]]\nmethod = "quantize"\nbits = 4\ngroup = 4\n'
    low = '[[compress]]\nmethod = "low_rank"\nroles = ["recurrent"]\nrank = 5\n'
    stage = '[[compress.stage]]\noptimizer = "adam"\nlr = 0.02\nepochs = 1\n'
    parent = built / "out" / "tiny"
    for name, steps in (("packed", quantize), ("low", low + stage + quantize)):
        file = tmp_path / f"{name}.toml"
        file.write_text(f'name = "{name}"\nparent = "{parent}"\n{head}{steps}')
        assert build.main([str(file), *options(tmp_path)]) == 0
        parent = tmp_path / "out" / name
    planned = plan(read_recipe(file), load(tmp_path / "out" / "packed")[0].config)  # before there are floats
    assert planned.weights == load(parent)[0].config.weights
    rows = json.loads((parent / "metrics.json").read_text())["steps"]
    assert rows[0]["bytes"] > 2 * rows[2]["bytes"] and rows[1]["valid_perplexity"] < rows[0]["valid_perplexity"]
    assert load(parent)[0].config.form_of("recurrent", "0")["values"]["form"] == "int4"


def test_child_of_other_sizes_is_refused(built: Path, tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture):
    changes = (
        ('name = "tiny"', 'name = "misfit"\nparent = "tiny"'),
        ("num_hidden_layers = 2", "num_hidden_layers = 1"),
    )
    assert build.main([str(write_recipe(tmp_path / "misfit.toml", corpus, *changes)), *options(built)]) == 2
    assert "gives other tensors than its parent tiny has" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing-of-this-name"], "error: no recipe 'nothing-of-this-name'"),
        (["{tiny}", "--finish"], "has no evaluated weights to finish with; train on: leave out --finish"),
        (["--queue", "--recipes", "{folder}/empty"], "has no recipes"),
    ],
)
def test_errors_are_one_line(arguments, message: str, recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    filled = [argument.format(tiny=recipe_file, folder=tmp_path) for argument in arguments]
    assert build.main([*filled, *options(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ") and error.count("\n") == 1


def test_stop_says_how_to_go_on(recipe_file: Path, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture):
    def stopped(*arguments, **options):
        raise Interrupted(signal.SIGTERM)

    monkeypatch.setattr(build, "train", stopped)
    assert build.main([str(recipe_file), *options(tmp_path)]) == 143
    assert f"stopped by SIGTERM; to go on type: python -m conversion.build {recipe_file}" in capsys.readouterr().err


def test_one_process_per_run(tmp_path: Path):
    with only_one(tmp_path), pytest.raises(CheckpointError, match="another process is training"), only_one(tmp_path):
        pass
    with only_one(tmp_path):
        pass


class TestQueue:
    def queue(self, tmp_path: Path, corpus: Path, *entries: tuple[str, int, str]):
        recipes = []
        for name, priority, parent in entries:
            change = ("seed = 3", f"seed = 3\npriority = {priority}\nparent = '{parent}'")
            file = write_recipe(tmp_path / f"{name}.toml", corpus, ('"tiny"', f'"{name}"'), change)
            recipes.append((file, read_recipe(file)))
        return recipes

    def test_order(self, tmp_path: Path, corpus: Path):
        entries = (
            ("low", 1, ""),
            ("done", 9, ""),
            ("high", 5, "low"),
            ("b", 3, ""),
            ("a", 3, "done"),
            ("orphan", 2, "none"),
        )
        queue = queueing.waiting(self.queue(tmp_path, corpus, *entries), lambda name: name == "done")
        assert [recipe.name for _, recipe in queue] == ["high", "a", "b", "orphan", "low"]
        order, running = [], []
        while item := queueing.next_ready(queue, running):
            queue.remove(item)
            running = [item[1].name]
            order.append(item[1].name)
            if item[1].name == "low":
                assert queueing.next_ready(queue, running) is None, "high waits for low"
                running = []
        assert order == ["a", "b", "orphan", "low", "high"]

    def test_circle_does_not_wait_for_ever(self, tmp_path: Path, corpus: Path):
        queue = self.queue(tmp_path, corpus, ("a", 1, "b"), ("b", 1, "a"))
        assert queueing.next_ready(queue, []) is not None

    def test_failure_does_not_stop_the_others(self, built: Path, tmp_path: Path, corpus: Path, capfd):
        """`tiny` is there, `broken` fails, `other` is built; two at once."""
        recipes = tmp_path / "recipes"
        recipes.mkdir()
        write_recipe(recipes / "tiny.toml", corpus)
        write_recipe(
            recipes / "broken.toml", tmp_path / "no-corpus", ('"tiny"', '"broken"'), ("seed = 3", "priority = 9")
        )
        write_recipe(recipes / "other.toml", corpus, ('"tiny"', '"other"'), ("epochs = 2", "epochs = 1"))
        before = (built / "out" / "tiny" / "metrics.json").stat()
        arguments = ["--queue", "--jobs", "2", "--recipes", str(recipes), *options(built)]
        assert build.main(arguments) == 1
        printed = capfd.readouterr()
        assert "broken: FAILED with exit status 2" in printed.out and "other: done" in printed.out
        assert "tiny" not in [line.partition(":")[0] for line in printed.out.splitlines()]
        assert "failed: broken" in printed.err
        assert "no corpus, folder or file" in (built / "runs" / "broken" / "output.log").read_text()
        assert (built / "out" / "other" / "model.safetensors").is_file()
        assert not (built / "out" / "broken").exists()
        assert (built / "out" / "tiny" / "metrics.json").stat() == before


def test_terminated_queue_saves_its_runs(tmp_path: Path, corpus: Path):
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    write_recipe(recipes / "tiny.toml", corpus, ("epochs = 2", "epochs = 1000"))
    command = [sys.executable, "-m", "conversion.build", "--queue", "--recipes", str(recipes), *options(tmp_path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    path = tmp_path / "runs" / "tiny" / "state.pt"
    while not path.exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "to go on type: python -m conversion.build --queue" in error
    assert load_state(path)["position"]["updates"] > 0
    assert not (tmp_path / "out").exists()


def test_a_queue_on_a_processor_leaves_out_what_needs_a_gpu(tmp_path, corpus, capsys):
    write_recipe(tmp_path / "tiny.toml", corpus, ("seed = 3", "seed = 3\ngpu_only = true"))
    assert build.main(["--queue", "--recipes", str(tmp_path), *options(tmp_path)]) == 0
    assert "left out, as they need a GPU: tiny" in capsys.readouterr().out
    assert not (tmp_path / "out" / "tiny").exists()
