"""Reviews: ids against the tokenizer, splits, the cache, and what is said of wrong files; the texts are invented."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from zoo import review_sources, reviews
from zoo.errors import CorpusError, VocabularyError
from zoo.review_tokenization import PAD
from zoo.reviews import load_reviews
from zoo.tokenization import UNK

from .invented_reviews import write_reviews

REAL = os.environ.get("ZOO_DATA")


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    return write_reviews(tmp_path, monkeypatch)


def test_ids_are_what_a_saved_tokenizer_makes_of_the_raw_texts(root, tmp_path):
    for name in ("imdb", "movie-reviews"):
        found = load_reviews(name, root)
        found.tokenizer.save_pretrained(tmp_path / name)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(tmp_path / name)
        source = review_sources.Files(name, ("train", "valid", "test"), root)
        for split, part in found.splits.items():
            rows = source.rows(split)
            assert tokenizer([row["text"] for row in rows]).input_ids == [ids.tolist() for ids in part.texts]
            assert part.labels.tolist() == pytest.approx([row[source.source.label] for row in rows])
            assert len(part) == len(part.labels) > 0 and part.texts[0].dtype == np.int32
            assert not part.texts[0].flags.writeable and found.sha256[split] in source.source.files.values()
        again = load_reviews(name, root, tokenizer=tokenizer, splits=["test"])
        assert list(again.splits) == ["test"] and again.tokenizer is tokenizer and again.pad_id == found.pad_id
        assert [ids.tolist() for ids in again.splits["test"].texts] == [
            ids.tolist() for ids in found.splits["test"].texts
        ]
        assert again.vocabulary == found.vocabulary and found.vocab_size == len(tokenizer)


def test_what_the_labels_are(root):
    imdb, rated = load_reviews("imdb", root), load_reviews("movie-reviews", root)
    assert (imdb.num_labels, imdb.problem_type) == (2, "single_label_classification")
    assert imdb.id2label == {0: "negative", 1: "positive"} and rated.id2label == {0: "rating"}
    assert (rated.num_labels, rated.problem_type) == (1, "regression")
    assert imdb.splits["test"].labels.dtype == np.int64 and rated.splits["test"].labels.dtype == np.float32


def test_films_and_texts_of_imdb_are_in_one_split(root):
    files = review_sources.Files("imdb", ("train",), root)
    train, valid, test = (files.rows(split) for split in ("train", "valid", "test"))
    assert len(test) == 20 and not {row["movie"] for row in train} & {row["movie"] for row in valid}
    for one, other in ((train, valid), (train, test), (valid, test)):
        assert not {row["text"] for row in one} & {row["text"] for row in other}
    assert 20 <= len(valid) <= 30 and len(train) >= 130
    assert [row["id"] for row in train] == sorted((row["id"] for row in train), key=lambda name: int(name[1:]))


def test_rated_reviews_are_all_there_and_each_text_is_in_one_split(root):
    files = review_sources.Files("movie-reviews", ("train",), root)
    parts = {split: files.rows(split) for split in ("train", "valid", "test")}
    assert sum(map(len, parts.values())) == 300
    assert len({row["text"] for part in parts.values() for row in part}) == sum(
        len({row["text"] for row in part}) for part in parts.values()
    )
    assert 0.12 < len(parts["test"]) / 300 < 0.28 and 0.03 < len(parts["valid"]) / 300 < 0.14


def test_draws_never_change():
    assert review_sources.draw("tt0064354") == pytest.approx(0.42356292, abs=1e-8)


def test_words_by_frequency_then_alphabet(root):
    found = load_reviews("imdb", root, max_vocabulary=9)
    assert found.vocabulary[:2] == [PAD, UNK] and found.vocab_size == 9
    counts = np.bincount(np.concatenate(found.splits["train"].texts), minlength=9)[2:]
    assert list(counts) == sorted(counts, reverse=True)
    word = found.vocabulary[2]
    assert found.tokenizer(f"{word.upper()} nobody").input_ids == [2, found.unk_id]
    with pytest.raises(VocabularyError, match="a vocabulary of at most 2 words"):
        load_reviews("imdb", root, max_vocabulary=2)


def test_second_load_only_reads(root, monkeypatch):
    first = load_reviews("imdb", root)
    monkeypatch.setattr(reviews, "review_vocabulary", lambda *_: pytest.fail("counted again"))
    monkeypatch.setattr(review_sources.Files, "rows", lambda *_: pytest.fail("parsed again"))
    second = load_reviews("imdb", root)
    assert first.vocabulary == second.vocabulary
    for split, part in first.splits.items():
        assert all((a == b).all() for a, b in zip(part.texts, second.splits[split].texts, strict=True))
        assert (part.labels == second.splits[split].labels).all()


def test_where_the_files_may_lie(root, monkeypatch):
    expected = load_reviews("movie-reviews", root).splits["test"].labels.tolist()
    for place in (root / "movie_reviews", root / "ptb"):
        assert load_reviews("movie-reviews", place).splits["test"].labels.tolist() == expected
    monkeypatch.setenv("ZOO_DATA", str(root / "ptb"))
    packed = root / "movie_reviews" / "scale.jsonl.gz"
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    assert load_reviews("movie-reviews").splits["test"].labels.tolist() == expected


@pytest.mark.parametrize(
    ("name", "data_dir", "splits", "message"),
    [
        ("ptb", ".", None, "no reviews are called 'ptb'; allowed: imdb, movie-reviews"),
        ("imdb", ".", ["dev"], "allowed: some of train, valid, test"),
        ("imdb", None, None, r"imdb needs its files \(imdb.train.jsonl, imdb.test.jsonl\); give --data DIR or set"),
        ("imdb", "nowhere", None, "the data folder nowhere does not exist; give --data DIR"),
        ("movie-reviews", ".", None, r"has no scale\.jsonl\[\.gz\], nor has .*give --data DIR or set ZOO_DATA"),
    ],
)
def test_mistakes_say_what_to_type(name, data_dir, splits, message, tmp_path, monkeypatch):
    (tmp_path / "elsewhere" / "empty").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere" / "empty")
    with pytest.raises(CorpusError, match=message) as caught:
        load_reviews(name, data_dir, splits=splits)
    assert "\n" not in str(caught.value)


def test_other_files_are_refused(root):
    path = root / "imdb" / "imdb.test.jsonl.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + b"{}\n"))
    with pytest.raises(CorpusError, match=r"imdb\.test\.jsonl\.gz is not imdb\.test\.jsonl of imdb: expected sha256"):
        load_reviews("imdb", root)


def test_import_and_load_are_light(root):
    code = (
        "import sys; from zoo.reviews import load_reviews;"
        "print({'torch', 'transformers', 'datasets', 'tokenizers'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(reviews.__file__).parents[1], check=True
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", ["imdb", "movie-reviews"])
def test_real_reviews(name, monkeypatch):
    monkeypatch.undo()
    if not REAL:
        pytest.skip(f"ZOO_DATA is not set to a folder with {name}")
    try:
        found = load_reviews(name)
    except CorpusError as error:
        pytest.skip(str(error))
    sizes = {split: len(part) for split, part in found.splits.items()}
    assert sizes == SIZES[name] and found.vocab_size == 20_000
    raw = [row["text"] for row in review_sources.Files(name, ["test"]).rows("test")[::50]]
    assert found.tokenizer(raw).input_ids == [ids.tolist() for ids in found.splits["test"].texts[::50]]
    ratings = np.concatenate([part.labels for part in found.splits.values()])
    assert name == "imdb" or ratings.var() == pytest.approx(0.0330, abs=1e-4)


SIZES = {
    "imdb": {"train": 21_126, "valid": 3_736, "test": 25_000},
    "movie-reviews": {"train": 3_604, "valid": 388, "test": 1_014},
}
