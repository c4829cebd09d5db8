"""Scores of a stream against a plain sum over single steps."""

import itertools
import math

import numpy as np
import pytest
import torch

from zoo.errors import CheckpointError, CorpusError, VocabularyError, ZooError
from zoo.scoring import TEMPERATURES, best_temperature, score_stream

from .models import VARIANTS, VOCABULARY, model_of, name_of

EOS = 1


def stream(length=61, seed=3):
    return np.random.default_rng(seed).integers(0, VOCABULARY, length, dtype=np.int32)


def plain_losses(model, tokens, first=EOS, temperature=1.0):
    """(loss of each token, rank of each token from 0), in one forward over the whole stream."""
    inputs = torch.tensor([[first, *tokens[:-1].tolist()]])
    with torch.no_grad():
        log_probs = (model(inputs).logits[0] / temperature).log_softmax(-1)
    targets = torch.from_numpy(tokens.astype(np.int64))[:, None]
    own = log_probs.gather(1, targets)
    return -own[:, 0].double().numpy(), (log_probs > own).sum(1).numpy()


@pytest.mark.parametrize("window", [1, 7, 61, 256])
@pytest.mark.parametrize("variant", VARIANTS[::5], ids=name_of)
def test_one_stream_in_windows_equals_one_forward(variant, window):
    model, tokens = model_of(**variant), stream()
    losses, ranks = plain_losses(model, tokens)
    scores = score_stream(model, tokens, EOS, window=window)
    assert scores.targets == len(tokens)
    assert scores.nll == pytest.approx(losses.sum(), rel=1e-5)
    assert scores.perplexity == pytest.approx(math.exp(losses.mean()), rel=1e-5)
    assert scores.reciprocal_perplexity == pytest.approx(1 / scores.perplexity)
    error = scores.perplexity * losses.std(ddof=1) / math.sqrt(len(tokens))
    assert scores.standard_error == pytest.approx(error, rel=1e-4)
    assert scores.top1 == (ranks < 1).mean()
    assert scores.top3 == (ranks < 3).mean()
    assert scores.ms_per_token > 0


def test_a_model_without_knowledge_has_the_perplexity_of_its_vocabulary():
    model = model_of()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    scores = score_stream(model, stream(), EOS)
    assert scores.perplexity == pytest.approx(VOCABULARY, rel=1e-5)
    assert scores.standard_error == pytest.approx(0, abs=1e-3)
    assert scores.top3 < 0.5  # equals are not all counted as the best


@pytest.mark.parametrize("batch_size", [2, 3, 10, 60, 61, 1000])
def test_stripes_leave_no_token_out(batch_size):
    model, tokens = model_of(), stream()
    stripes = min(batch_size, len(tokens))
    bounds = [place * len(tokens) // stripes for place in range(stripes + 1)]
    expected = sum(
        plain_losses(model, tokens[first:last], EOS if first == 0 else tokens[first - 1])[0].sum()
        for first, last in itertools.pairwise(bounds)
    )
    seen = []
    scores = score_stream(model, tokens, EOS, window=14, batch_size=batch_size, on_tokens=seen.append)
    assert scores.targets == sum(seen) == len(tokens)
    assert scores.nll == pytest.approx(expected, rel=1e-5)


def test_several_temperatures_in_one_pass():
    model, tokens = model_of(), stream()
    scores = score_stream(model, tokens, EOS, window=9, temperatures=(0.5, 1.0, 2.0))
    assert scores.perplexity_at(1.0) == scores.perplexity
    for temperature in (0.5, 2.0):
        losses, _ = plain_losses(model, tokens, temperature=temperature)
        assert scores.nll_at[temperature] == pytest.approx(losses.sum(), rel=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_the_model_is_kept_and_dropout_is_off(training):
    model = model_of(input_dropout=0.5, output_dropout=0.5, weight_drop=0.5).train(training)
    scores = score_stream(model, stream(), EOS)
    assert model.training is training
    assert scores.nll == score_stream(model, stream(), EOS).nll


def test_tokens_mapped_from_a_file(tmp_path):
    np.save(tmp_path / "tokens.npy", stream())
    mapped = np.load(tmp_path / "tokens.npy", mmap_mode="r")
    model = model_of()
    assert score_stream(model, mapped, EOS).nll == score_stream(model, stream(), EOS).nll


def test_a_single_token():
    scores = score_stream(model_of(), stream(1), EOS)
    assert scores.targets == 1 and scores.standard_error == 0


@pytest.mark.parametrize("tokens", [stream(0), np.zeros((2, 3), np.int32), np.zeros(3), np.array("text")])
def test_what_is_no_stream(tokens):
    with pytest.raises(CorpusError):
        score_stream(model_of(), tokens, EOS)


@pytest.mark.parametrize("bad", [-1, VOCABULARY])
def test_ids_outside_the_vocabulary(bad):
    tokens = stream()
    tokens[40] = bad
    with pytest.raises(VocabularyError, match=rf"token 40 of the stream is the id {bad}; .* ids 0 to 30"):
        score_stream(model_of(), tokens, EOS)
    with pytest.raises(VocabularyError, match="eos_id"):
        score_stream(model_of(), stream(), bad)


@pytest.mark.parametrize(
    "wrong", [{"window": 0}, {"batch_size": 0}, {"temperatures": (0.0,)}, {"temperatures": (-1.0,)}]
)
def test_arguments_out_of_range(wrong):
    with pytest.raises(ZooError):
        score_stream(model_of(), stream(), EOS, **wrong)


def test_a_model_that_gives_no_numbers():
    model = model_of()
    with torch.no_grad():
        model.lm_head.bias[4] = math.nan
    with pytest.raises(CheckpointError, match="no finite probabilities"):
        score_stream(model, stream(), EOS)


def test_best_temperature_is_that_of_the_least_loss():
    model = model_of()
    scores = score_stream(model, stream(), EOS, temperatures=TEMPERATURES)
    best = best_temperature(scores)
    assert scores.perplexity_at(best) == min(scores.perplexity_at(t) for t in TEMPERATURES) <= scores.perplexity
