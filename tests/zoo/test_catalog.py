"""Every shipped checkpoint is what the catalog says of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bench.size import measure
from zoo.catalog import CHECKPOINTS, CLASSIFICATION, LANGUAGE, Entry, entries
from zoo.clean_load import compare
from zoo.completion import DIGEST, read_digest
from zoo.configuration_rnnlm import RnnLmConfig
from zoo.digest import digest_of
from zoo.hub import verify
from zoo.integers_rnnlm import Packed
from zoo.layout import read_layout
from zoo.loading import load_any
from zoo.modeling_rnnlm import RnnLmForCausalLM, RnnLmForSequenceClassification
from zoo.sparse_rnnlm import Sparse

ROWS = pytest.mark.parametrize("entry", [pytest.param(entry, id=name) for name, entry in entries().items()])


def test_catalog_and_folders_agree():
    assert set(entries()) == {path.parent.name for path in CHECKPOINTS.glob("[!.]*/config.json")}


def test_parents_are_in_the_catalog_or_can_be_built():
    recipes = {path.stem for path in (CHECKPOINTS.parents[1] / "conversion" / "recipes").glob("*.toml")}
    assert {entry.parent for entry in entries().values()} - {None} <= set(entries()) | recipes


@ROWS
def test_files_are_whole(entry: Entry):
    verify(entry.folder)


@ROWS
def test_counts_are_those_of_the_files(entry: Entry):
    counts = measure(entry.folder)
    assert {count: getattr(entry, count) for count in ("parameters", "nonzeros", "bytes")}.items() <= counts.items()


@ROWS
def test_parameters_are_those_of_the_network(entry: Entry):
    config = RnnLmConfig.from_pretrained(entry.folder)
    with torch.device("meta"):
        classifies = entry.task == CLASSIFICATION
        network = RnnLmForSequenceClassification(config) if classifies else RnnLmForCausalLM(config)
    network.tie_weights()
    found, seen = 0, set()
    for module in network.modules():
        own = {id(p): p for p in module.parameters(recurse=False) if id(p) not in seen}
        seen |= own.keys()
        if isinstance(module, Packed | Sparse):  # in the place of a matrix; scales and indices are no parameters
            numbers = module.weight if isinstance(module, Packed) else module.values
            found += 0 if id(numbers) not in own else module.num_rows * module.num_columns
            own = {key: p for key, p in own.items() if p is module.bias}
        found += sum(p.numel() for p in own.values())
    assert found == entry.parameters


@ROWS
def test_quality_is_in_range(entry: Entry):
    assert entry.quality
    assert entry.task == (LANGUAGE if read_layout(entry.folder).labels is None else CLASSIFICATION)
    for numbers in entry.quality.values():
        if entry.task == CLASSIFICATION:
            assert 0.5 < numbers.get("test_accuracy", 1) <= 1 and 0 <= numbers.get("test_rmse", 0) < 0.2
            continue
        assert 1 < numbers["test_perplexity"] < 10_000
        assert 0 < numbers["test_top1"] < numbers["test_top3"] < 1


@ROWS
def test_shipped_code_is_the_package_s(entry: Entry):
    for path in entry.folder.glob("*_rnnlm.py"):
        assert path.read_bytes() == (CHECKPOINTS.parent / path.name).read_bytes(), path.name


def test_entry_reads_its_json_row():
    row = {"description": "", "parent": None, "parameters": 1, "nonzeros": 1, "bytes": 2, "quality": {}, "sha256": {}}
    entry = Entry(name="x", **json.loads(json.dumps(row)))
    assert entry.folder == Path(CHECKPOINTS, "x") and entry.task == LANGUAGE and entry.headline == ""


@pytest.mark.parametrize(
    ("numbers", "headline"),
    [
        ({"valid_perplexity": 9.0, "test_perplexity": 8.125, "test_top1": 0.2}, "a test perplexity 8.12"),
        ({"test_accuracy": 0.84321}, "a test accuracy 0.8432"),
        ({"test_mse": 0.0233, "test_rmse": 0.15264}, "a test rmse 0.1526"),
    ],
)
def test_headlines(numbers: dict, headline: str):
    assert Entry("x", "", None, 1, 1, 1, {"a": numbers}, {}).headline == headline


@ROWS
def test_outputs_are_those_of_the_stored_digest(entry: Entry):
    if not (entry.folder / DIGEST).is_file():
        pytest.skip(f"none is stored; type: zoo check {entry.name} --write")
    found = digest_of(load_any(entry.folder)[0])
    compare(found, read_digest(entry.folder), entry.name)
