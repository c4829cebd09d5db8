"""Cards as they go to the Hub: rendered from results, with a picture, and without numbers that nobody measured."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from model_cards import pareto, render
from model_cards.facts import gather
from model_cards.publishing import files_of
from zoo import published
from zoo.errors import CheckpointError

from .test_render import root  # noqa: F401  a fixture


def metadata(text: str) -> dict:
    return yaml.safe_load(text.split("---")[1])


@pytest.fixture(autouse=True)
def _no_catalog(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("model_cards.publishing.entries", dict)


@pytest.fixture
def tiny(root: Path) -> Path:  # noqa: F811
    render.main([], root)
    return root / "zoo" / "checkpoints" / "tiny"


def test_a_measured_checkpoint(root: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    found = files_of(tiny, "org/tiny", root)
    assert set(found) == {"README.md", "size-against-perplexity.svg", "results.json"}
    text = found["README.md"]
    assert 'from_pretrained("org/tiny", trust_remote_code=True)' in text and "path/to/tiny" not in text
    assert "![Size against quality, this checkpoint marked](size-against-perplexity.svg)" in text
    assert "base_model" not in metadata(text)  # big is on no Hub
    big = published.Version("v1", {}, "somebody/big", "0" * 40)
    monkeypatch.setattr("model_cards.publishing.versions", lambda name: [big] if name == "big" else [])
    assert metadata(files_of(tiny, "org/tiny", root)["README.md"])["base_model"] == "somebody/big"
    assert "| torch | 2.500 | 2.250 |" in text and metadata(text)["model-index"][0]["name"] == "tiny"


def test_the_picture_marks_one_checkpoint(root: Path, tiny: Path):  # noqa: F811
    facts = gather(root, "tiny")
    plain, marked = pareto.picture([facts]), pareto.picture([facts], "tiny")
    assert pareto.MARK not in plain and marked.count(pareto.MARK) == 2 and "; ringed: tiny<" in marked
    assert files_of(tiny, "org/tiny", root)["size-against-perplexity.svg"] == marked


@pytest.mark.parametrize(("number", "other"), [("value: 87.1235", "value: 67.1235"), ("| 87.12 |", "| 67.12 |")])
def test_a_card_with_foreign_numbers_is_refused(root: Path, tiny: Path, number: str, other: str):  # noqa: F811
    card = tiny / "README.md"
    card.write_text(card.read_text().replace(number, other))
    with pytest.raises(CheckpointError, match=r"is not what the results say.*python -m model_cards\.render"):
        files_of(tiny, "org/tiny", root)


def test_a_card_without_its_results_is_refused(root: Path, tiny: Path, tmp_path: Path):  # noqa: F811
    elsewhere = tmp_path / "elsewhere" / "mine"
    elsewhere.parent.mkdir()
    tiny.rename(elsewhere)
    with pytest.raises(CheckpointError, match=r"says perplexity 91\.256 on Penn Treebank .*no results file"):
        files_of(elsewhere, "org/mine", root)
    measured = {"valid": {"perplexity": 91.2560001, "top1": 0.2512, "top3": 0.4012}, "test": {"perplexity": 87.12346}}
    (elsewhere / "metrics.json").write_text(json.dumps(measured | {"bytes": 5_309_000}))
    assert set(files_of(elsewhere, "org/mine", root)) == {"README.md"}
    (elsewhere / "README.md").write_text("---\nmodel-index: [\n---\n")
    with pytest.raises(CheckpointError, match="metadata that cannot be read"):
        files_of(elsewhere, "org/mine", root)


def test_a_copy_of_what_was_published_may_be_published(root: Path, tiny: Path, tmp_path: Path):  # noqa: F811
    found = files_of(tiny, "org/tiny", root)
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(tiny, copy)
    for name, text in found.items():
        (copy / name).write_text(text)
    assert files_of(copy, "me/copy", root) == {"README.md": found["README.md"]}
    results = json.loads(found["results.json"])
    (copy / "results.json").write_text(json.dumps(results | {"sha256": "0" * 64}))
    with pytest.raises(CheckpointError, match="no results file of these weights has that number"):
        files_of(copy, "me/copy", root)


def test_results_of_other_weights_are_refused(root: Path, tiny: Path):  # noqa: F811
    (tiny / "model.safetensors").write_bytes(b"others")
    with pytest.raises(CheckpointError, match="measured on other weights; measure again"):
        files_of(tiny, "org/tiny", root)


def test_without_card_and_results_one_is_made_without_numbers(root: Path, tiny: Path, tmp_path: Path):  # noqa: F811
    elsewhere = tmp_path / "elsewhere" / "mine"
    elsewhere.parent.mkdir()
    tiny.rename(elsewhere)
    (elsewhere / "README.md").unlink()
    (text,) = files_of(elsewhere, "org/mine", root).values()
    assert "model-index" not in metadata(text) and metadata(text)["library_name"] == "transformers"
    assert "Nothing was measured" in text and 'from_pretrained("org/mine", trust_remote_code=True)' in text
    assert "$" not in text
