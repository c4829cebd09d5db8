"""Where the texts of a corpus come from, and what is said when they do not; no network."""

import sys

import pytest

from zoo.errors import CorpusError
from zoo.sources import texts_of


@pytest.mark.parametrize(
    ("name", "data_dir", "message"),
    [
        ("ptb", None, "give --data DIR, set ZOO_DATA.*hub:owner/name"),
        ("ptb", "nowhere", "data folder nowhere does not exist; give --data DIR, set ZOO_DATA, or use hub:"),
        ("wikitext-2", ".", r"has no wiki\.train\.tokens"),
        ("nobody", None, "no corpus, folder or file is called 'nobody'; allowed: ptb, wikitext-2, dialogue, russian,"),
        (".", None, r"has none of train\.txt"),
        ("hub:", None, "allowed: hub:owner/name"),
    ],
)
def test_missing_corpora_say_what_to_type(name, data_dir, message, tmp_path, monkeypatch):
    monkeypatch.delenv("ZOO_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CorpusError, match=message) as caught:
        texts_of(name, data_dir)
    assert "\n" not in str(caught.value)


def test_rows_of_a_dataset_are_lines(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    rows = {"train": [" a b ", "", None, "c \n", "d\ne"], "validation": ["b", "z"]}
    (tmp_path / "set").mkdir()
    for split, lines in rows.items():
        table = datasets.Dataset.from_dict({"n": list(range(len(lines))), "sentence": lines})
        table.to_parquet(tmp_path / "set" / f"{split}-00000-of-00001.parquet")
    texts = texts_of(f"hub:{tmp_path / 'set'}")
    assert list(texts) == ["train", "valid"]
    assert b"".join(texts["train"].blocks()) == b" a b \n\n\nc \nd\ne\n"
    assert b"".join(texts["valid"].blocks()) == b"b\nz\n"
    with pytest.raises(CorpusError, match="cannot be had: BuilderConfig 'other' not found"):
        texts_of(f"hub:{tmp_path / 'set'}:other")
    datasets.Dataset.from_dict({"words": ["a"]}).to_parquet(tmp_path / "set" / "train-00000-of-00001.parquet")
    (tmp_path / "set" / "validation-00000-of-00001.parquet").unlink()
    with pytest.raises(CorpusError, match="columns words; allowed: strings in a column text or sentence"):
        texts_of(f"hub:{tmp_path / 'set'}")


def test_name_configuration_and_revision_reach_datasets(monkeypatch):
    datasets = pytest.importorskip("datasets")
    asked = []

    def load(*args, **kwargs):
        asked.append((args, kwargs))
        return datasets.DatasetDict(test=datasets.Dataset.from_dict({"text": ["a b"]}))

    monkeypatch.setattr(datasets, "load_dataset", load)
    texts_of("hub:someone/thing:small@refs/convert/parquet")
    texts_of("hub:someone/thing")
    assert asked[0] == (("someone/thing", "small"), {"revision": "refs/convert/parquet"})
    assert asked[1] == (("someone/thing", None), {"revision": None})


def test_without_datasets_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(CorpusError, match=r"pip install 'rnnlm-zoo\[train\]'"):
        texts_of("hub:someone/thing")


def test_a_plain_file_goes_before_a_packed_one(tmp_path):
    (tmp_path / "train.txt").write_text("plain", encoding="utf-8")
    (tmp_path / "train.txt.gz").write_text("packed", encoding="utf-8")
    (tmp_path / "test.txt.gz").write_text("not packed, whatever its name", encoding="utf-8")
    texts = texts_of(str(tmp_path))
    assert list(texts) == ["train", "test"]
    assert b"".join(texts["train"].blocks()) == b"plain"
    assert list(texts["test"].words())[-1] == ["name"]
