"""Corpora: streams against the tokenizer, the cache, and what is said of wrong files; the texts are invented."""

import gzip
import hashlib
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from zoo import cached_files, corpora, sources
from zoo.corpora import load_corpus
from zoo.errors import CorpusError, VocabularyError
from zoo.tokenization import EOS, UNK, build_tokenizer

REAL = os.environ.get("ZOO_DATA")
TRAIN = " the cat sat on the <unk> \n the dog ran \n\n a cat ran "
VALID = "the bird ran\r\nthe\tcat\x1csat<eos>\n"
TEST = "a dog \n\n zebra"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ZOO_DATA", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "train.txt.gz").write_bytes(gzip.compress(TRAIN.encode()))
    (folder / "valid.txt").write_bytes(VALID.encode())
    (folder / "test.txt").write_bytes(TEST.encode())
    return folder


@pytest.fixture
def public(tmp_path, monkeypatch):
    """A public corpus with invented texts, in the folder `ptb` of a data folder."""
    texts = {"train": TRAIN, "valid": VALID, "test": TEST}
    facts = {"train": (15, TRAIN), "valid": (9, VALID), "test": (5, TEST)}
    known = sources.Known(
        "ptb.{split}.txt",
        ("", "ptb"),
        {split: (count, hashlib.sha256(text.encode()).hexdigest()) for split, (count, text) in facts.items()},
    )
    monkeypatch.setitem(sources.KNOWN, "ptb", known)
    folder = tmp_path / "data" / "ptb"
    folder.mkdir(parents=True)
    for split, text in texts.items():
        (folder / f"ptb.{split}.txt").write_bytes(text.encode())
    return folder


def test_streams_are_what_the_tokenizer_makes_of_the_texts(folder):
    corpus = load_corpus(folder)
    assert list(corpus.splits) == ["train", "valid", "test"]
    for split, text in {"train": TRAIN, "valid": VALID, "test": TEST}.items():
        tokens = corpus.splits[split]
        assert tokens.tolist() == corpus.tokenizer(text).input_ids
        assert isinstance(tokens, np.memmap) and tokens.dtype == np.int32 and not tokens.flags.writeable
        assert corpus.sha256[split] == hashlib.sha256(text.encode()).hexdigest()
    assert corpus.vocabulary == [EOS, "the", "cat", "ran", UNK, "a", "dog", "on", "sat"]
    assert corpus.vocab_size == len(corpus.tokenizer) and corpus.eos_id == corpus.tokenizer.eos_token_id


def test_a_given_tokenizer_gives_the_vocabulary(folder):
    tokenizer = build_tokenizer(["zebra", EOS, UNK, "dog"])
    corpus = load_corpus(folder, tokenizer=tokenizer, splits=("test",))
    assert corpus.tokenizer is tokenizer and list(corpus.splits) == ["test"]
    assert corpus.splits["test"].tolist() == [2, 3, 1, 1, 0]


def test_unknown_word_and_no_unk(folder, cache):
    tokenizer = build_tokenizer(["a", "dog", EOS])
    with pytest.raises(VocabularyError, match=r"test\.txt has the word 'zebra'.*<unk>"):
        load_corpus(folder, tokenizer=tokenizer, splits=["test"])
    assert not list(cache.iterdir()), "an unfinished file is left behind"


def test_one_file_is_the_test_split(folder):
    corpus = load_corpus(folder / "test.txt")
    assert list(corpus.splits) == ["test"] and "zebra" in corpus.vocabulary


def test_names_are_looked_up_in_the_data_folder(folder, monkeypatch):
    assert load_corpus("own", data_dir=folder.parent).vocab_size == load_corpus(folder).vocab_size
    monkeypatch.setenv("ZOO_DATA", str(folder.parent))
    assert load_corpus("own").vocab_size == load_corpus(folder).vocab_size


def test_max_vocabulary(folder):
    corpus = load_corpus(folder, max_vocabulary=4)
    assert corpus.vocabulary == [EOS, "the", "cat", UNK]
    assert load_corpus(folder).vocab_size > 4


def test_second_load_only_reads(folder, cache, monkeypatch):
    first = load_corpus(folder)
    before = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    monkeypatch.setattr(corpora, "vocabulary_of", lambda *_: pytest.fail("counted again"))
    second = load_corpus(folder)
    assert before == {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert first.vocabulary == second.vocabulary
    assert all((first.splits[split] == second.splits[split]).all() for split in first.splits)


def test_changed_text_and_damaged_cache_are_made_again(folder, cache):
    first = {split: tokens.tolist() for split, tokens in load_corpus(folder).splits.items()}
    for path in cache.iterdir():
        path.write_bytes(path.read_bytes()[:-3])
    assert {split: tokens.tolist() for split, tokens in load_corpus(folder).splits.items()} == first
    (folder / "test.txt").write_text("the the\n", encoding="utf-8")
    assert load_corpus(folder).splits["test"].tolist() != first["test"]


def test_unwritable_cache_falls_back_with_a_warning(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match="set ZOO_CACHE"):
        corpus = load_corpus(folder)
    assert corpus.splits["test"].tolist() == corpus.tokenizer(TEST).input_ids


def test_full_disk_is_a_named_error(folder, cache, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cached_files.os, "fsync", full)
    with pytest.raises(CorpusError, match=r"No space left on device; set ZOO_CACHE"):
        load_corpus(folder)
    assert not list(cache.iterdir())


def _tokens(folder):
    return load_corpus(folder).splits["train"].tolist()


def test_builders_at_the_same_moment(folder, cache):
    (folder / "train.txt.gz").write_bytes(gzip.compress(TRAIN.encode() * 500))
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        results = pool.map(_tokens, [folder] * 6)
    assert all(result == results[0] for result in results) and len(results[0]) > 500
    assert not [path for path in cache.iterdir() if path.name.startswith(".")]


def test_public_corpus_is_checked(public):
    for data_dir in (public, public.parent):
        corpus = load_corpus("ptb", data_dir=data_dir)
        assert {split: len(tokens) for split, tokens in corpus.splits.items()} == {
            split: count for split, (count, _) in sources.KNOWN["ptb"].facts.items()
        }
    path = public / "ptb.valid.txt"
    path.write_text(VALID + "more\n", encoding="utf-8")
    with pytest.raises(CorpusError) as caught:
        load_corpus("ptb", data_dir=public)
    message = str(caught.value)
    assert str(path) in message and "expected 9 tokens" in message and "given 11 tokens" in message
    assert sources.KNOWN["ptb"].facts["valid"][1][:16] in message and "\n" not in message


def test_public_corpus_packed_and_in_part(public, monkeypatch):
    path = public / "ptb.train.txt"
    path.with_name("ptb.train.txt.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    monkeypatch.setenv("ZOO_DATA", str(public))
    assert len(load_corpus("ptb").splits["train"]) == 15
    path.with_name("ptb.train.txt.gz").unlink()
    with pytest.raises(CorpusError, match=r"lacks train; give a folder with ptb\.train\.txt"):
        load_corpus("ptb", splits=["test"])
    tokenizer = build_tokenizer([EOS, UNK])
    assert load_corpus("ptb", splits=["test"], tokenizer=tokenizer).splits["test"].tolist() == [1, 1, 0, 0, 1]


def test_missing_and_unknown_splits(folder):
    (folder / "valid.txt").unlink()
    assert list(load_corpus(folder).splits) == ["train", "test"]
    with pytest.raises(CorpusError, match=r"lacks valid; give a folder with valid\.txt"):
        load_corpus(folder, splits=["valid"])
    with pytest.raises(CorpusError, match="allowed: train, valid, test"):
        load_corpus(folder, splits="test")


@pytest.mark.parametrize(("data", "message"), [(b"", "is empty"), (b"\n\n", "is empty"), (b"a\0b", "is not text")])
def test_empty_and_binary_texts(folder, cache, data, message):
    (folder / "valid.txt").write_bytes(data)
    with pytest.raises(CorpusError, match=message):
        load_corpus(folder)


def test_import_and_load_are_light(folder):
    code = (
        "import sys; from zoo.corpora import load_corpus; load_corpus(sys.argv[1]);"
        "print({'torch', 'transformers', 'datasets'} & set(sys.modules))"
    )
    root = Path(corpora.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", ["ptb", "wikitext-2"])
def test_real_corpus_agrees_with_split(name):
    if not REAL:
        pytest.skip(f"ZOO_DATA is not set to a folder with {name}")
    try:
        texts = sources.texts_of(name, REAL)
    except CorpusError as error:
        pytest.skip(str(error))
    corpus = load_corpus(name, data_dir=REAL)
    for split, text in texts.items():
        plain = b"".join(text.blocks()).decode()
        words = plain.replace("\n", EOS).split()
        assert len(words) == sources.KNOWN[name].facts[split][0]
        assert [corpus.vocabulary[i] for i in corpus.splits[split]] == words
        if name == "ptb":
            assert corpus.tokenizer(plain).input_ids == corpus.splits[split].tolist()
    assert corpus.vocab_size == {"ptb": 10_000, "wikitext-2": 33_278}[name]
