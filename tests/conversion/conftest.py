from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.zoo.models import VOCABULARY
from zoo.corpora import Corpus

from .tiny import write_corpus, write_recipe


@pytest.fixture(scope="session", autouse=True)
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One thread here and in every process started from here, so that results can be compared bit by bit; own cache."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("ZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def recipe_file(tmp_path: Path, corpus: Path) -> Path:
    return write_recipe(tmp_path / "tiny.toml", corpus)


@pytest.fixture(scope="session")
def data() -> Corpus:
    """A Zipf-like text for `model_of`, so that words and directions differ in weight."""
    shares = 1 / np.arange(1, VOCABULARY - 1)
    tokens = np.random.default_rng(0).choice(np.arange(2, VOCABULARY), 3000, p=shares / shares.sum())
    words = ["a", "<eos>", *(f"w{i}" for i in range(2, VOCABULARY))]
    return Corpus("random", words, {"train": tokens.astype(np.int32)}, {})
