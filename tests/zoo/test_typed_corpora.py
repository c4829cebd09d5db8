import gzip
import re

import pytest

from zoo import sources
from zoo.corpora import _sha256, load_corpus
from zoo.errors import CorpusError
from zoo.typed_corpora import DIALOGUE

LINES = {
    "train": "I like Anna.\n\nThe sea, the sea… don’t you like it?\nwe and I like anna",
    "valid": "ANNA likes the sea\n",
    "test": "Like it!\n",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    for source in DIALOGUE:
        for split, text in LINES.items():
            written = text if source == "selfdialogue" else "hm\n"
            (tmp_path / f"{source}.{split}.txt.gz").write_bytes(gzip.compress(written.encode()))
    return tmp_path


def test_messages_become_words_in_their_case(folder):
    texts = sources.texts_of("dialogue", folder)
    train = b"".join(texts["train"].blocks()).decode().splitlines()
    assert train == [
        "I like Anna .", "the sea , the sea ... don't you like it ?", "we and I like Anna",
        *["hm"] * (len(DIALOGUE) - 1),
    ]  # fmt: skip
    assert b"".join(texts["valid"].blocks()).decode().splitlines()[0] == "Anna likes the sea"


def test_corpus(folder, monkeypatch):
    known = sources.KNOWN["dialogue"]
    with pytest.raises(CorpusError, match="is not the train text of dialogue"):
        load_corpus("dialogue", folder)
    texts = sources.texts_of("dialogue", folder)

    facts = {split: (0, _sha256(text)) for split, text in texts.items()}
    monkeypatch.setitem(sources.KNOWN, "dialogue", sources.Known(known.file, known.folders, facts, known.typed))
    corpus = load_corpus("dialogue", folder, max_vocabulary=8)
    assert corpus.vocabulary[0] == "<eos>" and "like" in corpus.vocabulary and corpus.vocab_size == 8
    assert len(corpus.splits["valid"]) == 4 + 1 + 2 * (len(DIALOGUE) - 1)


def test_a_source_that_is_missing_is_named(folder):
    (folder / "tatoeba.valid.txt.gz").unlink()
    with pytest.raises(CorpusError, match=re.escape("lacks tatoeba.valid.txt.gz")):
        sources.texts_of("dialogue", folder)
