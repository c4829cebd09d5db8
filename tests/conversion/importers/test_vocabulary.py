"""Words in the order of their ids, from lists and from texts."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from conversion.importers import import_checkpoint
from conversion.importers.vocabulary import LIST, read_words, renamed, words_of_corpus
from zoo.errors import CorpusError, VocabularyError
from zoo.loading import load
from zoo.tokenization import words_by_id

from .originals import WORDS, WordLanguageModel, random, vocabulary_file

# What the training code does, as it would be in their data.py.
DATA = """
import os
class Dictionary:
    def __init__(self):
        self.word2idx, self.idx2word = {}, []
class Corpus:
    def __init__(self, path):
        self.dictionary = d = Dictionary()
        for split in ("train", "valid", "test"):
            with open(os.path.join(path, split + ".txt"), encoding="utf8") as file:
                for line in file:
                    for word in line.split() + ["<eos>"]:
                        if word not in d.word2idx:
                            d.word2idx[word] = len(d.idx2word)
                            d.idx2word.append(word)
"""


def write_texts(folder: Path) -> Path:
    folder.mkdir()
    (folder / "train.txt").write_bytes("\ufeff the cat\x0bsat\r\n\r\n on\u00a0a mat".encode())
    (folder / "valid.txt").write_bytes("a <unk> dög\n".encode())
    (folder / "test.txt").write_bytes(b"the end\n")
    return folder


def test_words_of_a_corpus_as_the_training_code_has_them(tmp_path: Path):
    folder = write_texts(tmp_path / "DIR")
    words = words_of_corpus(folder)
    assert words == "\ufeff the cat sat <eos> on a mat <unk> dög end".split()
    (tmp_path / "data.py").write_text(DATA)
    subprocess.run([sys.executable, "-c", LIST], cwd=tmp_path, check=True)  # the line that the errors tell
    assert (tmp_path / "vocabulary.txt").read_text(encoding="utf-8").split("\n")[:-1] == words
    (folder / "valid.txt.gz").write_bytes(gzip.compress((folder / "valid.txt").read_bytes()))
    (folder / "valid.txt").unlink()
    assert words_of_corpus(folder) == words


def test_texts_that_are_missing_or_no_text(tmp_path: Path):
    folder = write_texts(tmp_path / "DIR")
    (folder / "test.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(CorpusError, match=r"cannot read .*test.txt as UTF-8"):
        words_of_corpus(folder)
    (folder / "test.txt").unlink()
    with pytest.raises(CorpusError, match=r"has no test.txt \(or .gz\).* --vocabulary FILE"):
        words_of_corpus(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("v.txt", "b\na\n<eos>\n"),
        ("v.txt", "\ufeffb\r\na\r\n<eos>"),
        ("v.json", json.dumps(["b", "a", "<eos>"])),
        ("v.json", json.dumps({"a": 1, "b": 0, "<eos>": 2})),
        ("v.json", json.dumps({"0": "b", "2": "<eos>", "1": "a"})),
    ],
)
def test_lists_of_words(tmp_path: Path, name: str, content: str):
    (tmp_path / name).write_bytes(content.encode())
    assert read_words(tmp_path / name) == ["b", "a", "<eos>"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v.txt", "a\n\nb\n", r"no word for id 1 \(line 2\)"),
        ("v.txt", b"\x80\x02", "give words, one a line in UTF-8"),
        ("v.json", "{", "cannot read"),
        ("v.json", "3", "holds no words; allowed in JSON"),
        ("v.json", '{"a": 0, "b": 2}', "2 words and their ids are not 0 to 1"),
        ("v.json", '{"a": 0, "b": 0}', "2 words and their ids are not 0 to 1"),
        ("v.json", '{"a": "b"}', "1 words and their ids are not 0 to 0"),
    ],
)
def test_lists_that_are_none(tmp_path: Path, name: str, content: str | bytes, message: str):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(VocabularyError, match=message):
        read_words(tmp_path / name)


def test_their_names_for_special_words():
    assert renamed(["a", "</s>", "UNK"], "list", "</s>", "UNK") == ["a", "<eos>", "<unk>"]
    assert renamed(["a", "<eos>"], "list", "<eos>", None) == ["a", "<eos>"]
    with pytest.raises(VocabularyError, match="no word '<eos>'; perhaps --eos '</s>'; name the one that ends a line"):
        renamed(["a", "</s>"], "list", "<eos>", None)
    with pytest.raises(VocabularyError, match="no word 'UNK'; name the one that stands for unknown words: --unk WORD"):
        renamed(["a", "<eos>"], "list", "<eos>", "UNK")
    with pytest.raises(VocabularyError, match="has <eos> beside '</s>'"):
        renamed(["<eos>", "</s>"], "list", "</s>", None)


def test_import_with_a_corpus(tmp_path: Path):
    """The ids of the tokenizer are those of the training, `</s>` for the end of a line as `<eos>`."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for split, line in (("train", " ".join(WORDS[3:20])), ("valid", "the"), ("test", "<unk> w20 w21 w22")):
        (folder / f"{split}.txt").write_text(f"{line}\n")
    state = random(WordLanguageModel("GRU", 4, 4, 1, True)).state_dict()
    torch.save(state, tmp_path / "theirs.pt")
    made = import_checkpoint(tmp_path / "theirs.pt", tmp_path / "ours", corpus=folder, eos="</s>")
    model, tokenizer = load(made)
    words = [*WORDS[3:20], "<eos>", "the", "<unk>", "w20", "w21", "w22"]
    assert words_by_id(tokenizer) == words
    assert model.config.eos_token_id == model.config.bos_token_id == words.index("<eos>")
    assert 'corpus = "texts"' in (made / "recipe.toml").read_text()


def test_a_word_that_no_text_can_have(tmp_path: Path):
    torch.save(random(WordLanguageModel("LSTM", 4, 4, 1, True)).state_dict(), tmp_path / "theirs.pt")
    words = vocabulary_file(tmp_path, [*WORDS[:-1], "two words"])
    with pytest.raises(VocabularyError, match=r"vocabulary.txt: 'two words' cannot be a word of a text"):
        import_checkpoint(tmp_path / "theirs.pt", tmp_path / "ours", vocabulary=words)
