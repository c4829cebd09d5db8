"""The neural cache against a plain loop over all pairs of positions, and its grid."""

import math

import numpy as np
import pytest
import torch

from zoo.errors import ZooError
from zoo.neural_cache import NeuralCache, predictions, score_cached, tune_cache
from zoo.scoring import score_stream

from .models import VOCABULARY, model_of

EOS = 1
VARIANTS = [{}, {"projected": True, "form": "int8"}, {"cell": "gru", "tied": False, "form": "sparse-int8"}]


def stream(length=43, seed=3):
    return np.random.default_rng(seed).integers(0, VOCABULARY, length, dtype=np.int32)


def plain(model, tokens, how):
    """Distributions [N, V]."""
    with torch.no_grad():
        output = model.model(torch.tensor([[EOS, *tokens[:-1].tolist()]]))
        features = model.readout(output.last_hidden_state)[0]
        found = model.lm_head(features).softmax(1).double()
    for t in range(1, len(tokens)):
        cache = torch.zeros(VOCABULARY, dtype=torch.double)
        for i in range(max(0, t - how.size), t):
            cache[tokens[i]] += math.exp(how.theta * (features[t] @ features[i]).item())
        found[t] = (1 - how.weight) * found[t] + how.weight * cache / cache.sum()
    return found


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize(("size", "window"), [(1, 8), (7, 8), (8, 5), (1000, 256)])
def test_equal_to_a_plain_loop(variant, size, window):
    model, tokens, how = model_of(**variant), stream(), NeuralCache(size, 0.7, 0.3)
    expected = plain(model, tokens, how)
    found = torch.cat([rows.exp() for rows, _ in predictions(model, tokens, EOS, how, window)])
    torch.testing.assert_close(found.double(), expected, rtol=2e-3, atol=1e-5)
    torch.testing.assert_close(found.sum(1), torch.ones(len(tokens)), rtol=1e-4, atol=1e-4)


def test_scores_are_of_these_distributions():
    model, tokens, how = model_of(), stream(), NeuralCache(9, 0.4, 0.2)
    own = plain(model, tokens, how)[torch.arange(len(tokens)), torch.from_numpy(tokens.astype(np.int64))]
    seen = []
    scores = score_cached(model, tokens, EOS, how, seen.append)
    assert scores.nll == pytest.approx(-own.log().sum().item(), rel=1e-4)
    assert scores.targets == sum(seen) == len(tokens)
    static = score_stream(model, tokens, EOS)
    none = score_cached(model, tokens, EOS, NeuralCache(9, 0.4, 0.0))
    assert none.nll == pytest.approx(static.nll, rel=1e-5) and none.top3 == static.top3


def test_no_target_changes_its_own_prediction():
    model, tokens, how = model_of(), stream(), NeuralCache(9, 0.4, 0.5)
    before = torch.cat([rows for rows, _ in predictions(model, tokens, EOS, how, 8)])
    for place in (0, 7, 8, 20):
        changed = tokens.copy()
        changed[place] = (changed[place] + 1) % VOCABULARY
        after = torch.cat([rows for rows, _ in predictions(model, changed, EOS, how, 8)])
        assert torch.equal(before[: place + 1], after[: place + 1])
        assert not torch.equal(before[place + 1], after[place + 1])


def test_the_grid_says_what_scoring_says_and_keeps_the_best():
    model, tokens = model_of(), np.tile(stream(30), 4)
    how, trials = tune_cache(model, tokens, EOS)
    assert [row["size"] for row in trials] == [100, 500, 1000, 2000, 4000]
    best = min(trials, key=lambda row: row["perplexity"])
    assert (how.size, how.theta, how.weight) == (best["size"], best["theta"], best["weight"])
    for row in trials[:2]:
        again = NeuralCache(int(row["size"]), row["theta"], row["weight"])
        assert score_cached(model, tokens, EOS, again).perplexity == pytest.approx(row["perplexity"], rel=1e-4)
    assert best["perplexity"] < 0.9 * score_stream(model, tokens, EOS).perplexity


@pytest.mark.parametrize("wrong", [{"size": 0}, {"weight": 1.0}, {"weight": -0.1}, {"theta": math.inf}])
def test_settings_out_of_range(wrong):
    with pytest.raises(ZooError, match="allowed: size from 1"):
        score_cached(model_of(), stream(), EOS, NeuralCache(**wrong))
