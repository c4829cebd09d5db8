"""torch.hub: entry points made from the catalog, loaded beside another repository that has a folder `zoo` too."""

from __future__ import annotations

import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.zoo.folders import write_classifier
from zoo.catalog import entries
from zoo.configuration_rnnlm import RnnLmConfig
from zoo.fetching import sha256_of
from zoo.modeling_rnnlm import RnnLmForCausalLM
from zoo.published import IDENTITY
from zoo.tokenization import build_tokenizer

ROOT = Path(__file__).parents[1]
WORDS = ["<eos>", "<unk>", "red", "green", "blue"]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of hubconf.py and zoo/ with a tiny language model and a tiny text classifier in the catalog."""
    root = tmp_path_factory.mktemp("repository")
    shutil.copy(ROOT / "hubconf.py", root)
    shutil.copytree(ROOT / "zoo", root / "zoo", ignore=shutil.ignore_patterns("checkpoints", "__pycache__"))
    folder = root / "zoo" / "checkpoints" / "tiny-test"
    torch.manual_seed(0)
    RnnLmForCausalLM(RnnLmConfig(vocab_size=5, embedding_size=4, hidden_size=4, eos_token_id=0)).save_pretrained(folder)
    build_tokenizer(WORDS).save_pretrained(folder)
    row = {"description": "LSTM", "parent": None, "parameters": 1234, "nonzeros": 1234, "bytes": 2_500_000}
    row |= {"quality": {"ptb": {"test_perplexity": 99.125}}, "sha256": {}}
    write_classifier(root / "zoo" / "checkpoints" / "tiny-classifier")
    classifier = row | {"task": "text-classification", "quality": {"imdb": {"test_accuracy": 0.843}}}
    (root / "zoo" / "catalog.json").write_text(json.dumps({"tiny-test": row, "tiny-classifier": classifier}))
    sha256 = {name: sha256_of(folder / name) for name in IDENTITY}
    (root / "zoo" / "published.json").write_text(json.dumps({"checkpoints": {"tiny-test": {"v1": {"sha256": sha256}}}}))
    return root


def load(repository: Path, name: str, *args, **kwargs):
    return torch.hub.load(str(repository), name, *args, source="local", **kwargs)


def test_model_is_the_trained_one_and_in_eval_mode(repository: Path):
    model = load(repository, "tiny_test")
    assert type(model).__name__ == "RnnLmForCausalLM" and not model.training
    expected = RnnLmForCausalLM.from_pretrained(repository / "zoo/checkpoints/tiny-test")
    for (name, ours), theirs in zip(model.named_parameters(), expected.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_a_version_of_the_weights(repository: Path):
    trained, pinned = load(repository, "tiny_test"), load(repository, "tiny_test", weights="tiny-test@v1")
    assert torch.equal(trained.model.embed_tokens.weight, pinned.model.embed_tokens.weight)


def test_a_keyboard(repository: Path):
    keyboard = load(repository, "keyboard", "tiny-test")
    assert type(keyboard).__name__ == "Keyboard" and keyboard.suggest("red gr")
    with pytest.raises(ValueError, match="did you mean tiny-test"):
        load(repository, "keyboard", "tiny-tset")


def test_a_text_classifier(repository: Path):
    for weights in ("DEFAULT", None):
        model = load(repository, "tiny_classifier", weights=weights)
        assert type(model).__name__ == "RnnLmForSequenceClassification" and not model.training
    assert load(repository, "tokenizer", "tiny-classifier")("good film")["input_ids"] == [3, 2]
    told = entry_points(repository)["tiny_classifier"].__doc__
    assert "imdb test accuracy 0.8430." in told and "RnnLmForSequenceClassification in eval mode" in told


def test_auto_classes_stay_those_of_the_package(repository: Path):
    load(repository, "tiny_test")
    model = AutoModelForCausalLM.from_pretrained(repository / "zoo/checkpoints/tiny-test")
    assert type(model) is RnnLmForCausalLM


def test_untrained_weights_have_the_same_shapes(repository: Path):
    trained, untrained = load(repository, "tiny_test", weights="tiny-test"), load(repository, "tiny_test", weights=None)
    assert [p.shape for p in trained.parameters()] == [p.shape for p in untrained.parameters()]
    assert not torch.equal(trained.model.embed_tokens.weight, untrained.model.embed_tokens.weight)
    assert not untrained.training


def test_tokenizer_belongs_to_the_model(repository: Path):
    tokenizer = load(repository, "tokenizer", "tiny-test")
    assert tokenizer("red blue\n")["input_ids"] == [2, 4, 0]


def test_unknown_names_say_what_is_allowed(repository: Path):
    allowed = (
        r"allowed: 'DEFAULT' or 'tiny-test' \(trained\), 'tiny-test@v1' \(that version of it\), None \(untrained\)"
    )
    for weights in ("v2", "tiny-test@", "other@v1"):
        with pytest.raises(ValueError, match=allowed):
            load(repository, "tiny_test", weights=weights)
    with pytest.raises(ValueError, match="tiny-test has no version 'v2'; it has v1"):
        load(repository, "tiny_test", weights="tiny-test@v2")
    with pytest.raises(ValueError, match="did you mean tiny-test"):
        load(repository, "tokenizer", "tiny-tset")
    with pytest.raises(TypeError, match="unexpected keyword"):
        load(repository, "tiny_test", weight=None)


def entry_points(folder: Path) -> dict:
    """What torch.hub.list counts as entry points of a folder's hubconf.py."""
    hubconf = torch.hub._import_module("hubconf", str(folder / "hubconf.py"))  # type: ignore[attr-defined]
    return {name: value for name, value in vars(hubconf).items() if callable(value) and not name.startswith("_")}


def test_entry_points_are_documented_and_nothing_else_is_public(repository: Path):
    points = entry_points(repository)
    assert set(points) == {"tiny_test", "tiny_classifier", "tokenizer", "keyboard"}
    assert points["tiny_test"].__doc__.startswith("LSTM: 1,234 parameters, 2.5 MB, ptb test perplexity 99.12")
    assert list(inspect.signature(points["tiny_test"]).parameters) == ["weights"]


def test_every_shipped_checkpoint_has_its_entry_point():
    assert set(entry_points(ROOT)) == {name.replace("-", "_") for name in entries()} | {"tokenizer", "keyboard"}


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_beside_another_repository_with_a_folder_zoo(repository: Path, tmp_path: Path, first: str):
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "__init__.py").write_text("origin = 'theirs'\n")
    (tmp_path / "hubconf.py").write_text("import zoo as _zoo\n\ndef origin():\n    return _zoo.origin\n")
    ours = f"torch.hub.load({str(repository)!r}, 'tiny_test', source='local')"
    theirs = f"torch.hub.load({str(tmp_path)!r}, 'origin', source='local')"
    order = f"ours, theirs = {ours}, {theirs}" if first == "ours" else f"theirs, ours = {theirs}, {ours}"
    code = f"import torch\n{order}\nprint(type(ours).__name__, theirs)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path.parent, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["RnnLmForCausalLM", "theirs"], done.stderr


ARCHIVE = """
import sys
for package in ("zoo", "conversion", "bench", "model_cards"):
    sys.modules[package] = None  # importing it raises ImportError
import torch
torch.hub.set_dir(sys.argv[1])
repository = "owner/any-name:main"
options = {"trust_repo": True, "skip_validation": True}
print(torch.hub.list(repository, **options))
print(torch.hub.help(repository, "tiny_test", **options))
model = torch.hub.load(repository, "tiny_test", **options)
tokenizer = torch.hub.load(repository, "tokenizer", "tiny-test", **options)
print(type(model).__name__, tokenizer("red blue")["input_ids"], sorted(name for name in sys.modules if name == "zoo"))
print(sys.modules["zoo"], type(torch.hub.load(repository, "keyboard", "tiny-test", **options)).__name__)
"""


def test_an_archive_of_github_where_the_package_is_not_installed(repository: Path, tmp_path: Path):
    shutil.copytree(repository, tmp_path / "hub" / "owner_any-name_main")  # where torch.hub unpacks it
    command = [sys.executable, "-c", ARCHIVE, str(tmp_path / "hub")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    points, *told, model, keyboard = done.stdout.splitlines()
    assert "'tiny_test'" in points and "'keyboard'" in points and "1,234 parameters" in "".join(told)
    assert model == "RnnLmForCausalLM [2, 4] ['zoo']" and keyboard == "None Keyboard"
