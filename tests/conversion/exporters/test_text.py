import numpy as np
import pytest

from conversion.exporters.text import check_text, sample
from tests.zoo.folders import WORDS
from tests.zoo.models import VOCABULARY, model_of
from zoo.errors import CorpusError
from zoo.tokenization import build_tokenizer


@pytest.fixture
def tokenizer():
    return build_tokenizer(WORDS)


def test_sample_is_the_same_each_time_and_of_the_vocabulary():
    model = model_of()
    texts = sample(model, 3, 50)
    assert texts.shape == (3, 50) and texts.min() >= 0 and texts.max() < VOCABULARY
    assert np.array_equal(texts, sample(model, 3, 50)) and not np.array_equal(texts[0], texts[1])


def test_without_a_corpus_the_model_makes_the_text(tokenizer, monkeypatch, tmp_path):
    model = model_of()
    monkeypatch.delenv("ZOO_DATA", raising=False)
    text = check_text(model, tokenizer, None, None, 20)
    assert np.array_equal(text.ids, sample(model, 1, 20)[0]) and text.source == "made by the model itself, seed 0"
    monkeypatch.setenv("ZOO_DATA", str(tmp_path))  # no ptb there
    assert np.array_equal(check_text(model, tokenizer, None, None, 20).ids, text.ids)


def test_a_named_corpus_is_read_or_refused(tokenizer, tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("w5 w6 w7\nw8 other\n")
    text = check_text(model_of(), tokenizer, file, None, 6)
    assert text.ids.tolist() == [5, 6, 7, 1, 8, 0] and "mine.txt" in text.source
    with pytest.raises(CorpusError):
        check_text(model_of(), tokenizer, tmp_path / "none.txt", None)
    with pytest.raises(CorpusError):
        check_text(model_of(), tokenizer, None, tmp_path)
