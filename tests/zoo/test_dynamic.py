"""Dynamic evaluation against a plain loop, that nothing looks ahead, and that the model is as it was."""

import copy
import math

import numpy as np
import pytest
import torch

from zoo.dynamic import Dynamic, learning, predictions, score_dynamic, usual_gradients
from zoo.errors import CheckpointError, ZooError
from zoo.scoring import score_stream

from .models import VOCABULARY, model_of

EOS = 1
HOW = Dynamic(lr=0.01, decay=0.05, floor=0.5, window=5)
VARIANTS = [{}, {"projected": True}, {"cell": "gru", "tied": False}, {"cell": "rnn", "form": "low_rank"},
            {"form": "sparse"}, {"form": "tensor_train"}]  # fmt: skip


def stream(length=43, seed=3):
    return np.random.default_rng(seed).integers(0, VOCABULARY, length, dtype=np.int32)


def rows(model, tokens, usual, how=HOW):
    """Log probabilities [N, V] that each token was predicted by."""
    return torch.cat([logits.log_softmax(1) for logits, _ in predictions(model, tokens, EOS, usual, how)])


@pytest.fixture
def usual():
    return lambda model: usual_gradients(model, stream(200, 5), EOS, HOW.window)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_no_target_changes_its_own_prediction_or_an_earlier_one(variant, usual):
    model, tokens = model_of(**variant), stream()
    statistics = usual(model)
    before = rows(model, tokens, statistics)
    for place in (0, 4, 5, 17, 42):
        changed = tokens.copy()
        changed[place] = (changed[place] + 1) % VOCABULARY
        after = rows(model, changed, statistics)
        assert torch.equal(before[: place + 1], after[: place + 1])
        assert place == 42 or not torch.equal(before[place + 1 :], after[place + 1 :])


def test_equal_to_a_plain_loop(usual):
    model, tokens = model_of(cell="gru", tied=False), stream()
    statistics = usual(model)
    twin, trained = copy.deepcopy(model), dict(copy.deepcopy(model).named_parameters())
    by_name = dict(zip([name for name, _ in twin.named_parameters()], statistics, strict=True))
    mean = sum(part.mean() for part in statistics) / len(statistics)
    total, state, inputs = 0.0, None, [EOS, *tokens[:-1].tolist()]
    for first in range(0, len(tokens), HOW.window):
        output = twin(torch.tensor([inputs[first : first + HOW.window]]), past_key_values=state, use_cache=True)
        state = output.past_key_values.detach()
        targets = torch.tensor(tokens[first : first + HOW.window].astype(np.int64))
        loss = torch.nn.functional.cross_entropy(output.logits[0], targets)
        total += loss.item() * len(targets)
        twin.zero_grad()
        loss.backward()
        with torch.no_grad():
            for name, part in twin.named_parameters():
                share = torch.clamp(HOW.decay * by_name[name] / mean, max=1)
                step = HOW.lr * part.grad / (by_name[name] + HOW.floor * mean)
                part += share * (trained[name] - part) - step
    found = score_dynamic(model, tokens, EOS, statistics, HOW)
    assert found.targets == len(tokens) and found.nll == pytest.approx(total, rel=1e-4)


def test_without_a_step_it_is_static_and_the_model_is_always_as_it_was(usual):
    model, tokens = model_of(projected=True).train(), stream()
    before = copy.deepcopy(model.state_dict())
    statistics, seen = usual(model), []
    still = score_dynamic(model, tokens, EOS, statistics, Dynamic(lr=0, decay=0.1, window=7), seen.append)
    assert still.nll == pytest.approx(score_stream(model, tokens, EOS).nll, rel=1e-5) and sum(seen) == len(tokens)
    assert score_dynamic(model, tokens, EOS, statistics, HOW).nll != pytest.approx(still.nll, rel=1e-3)
    next(predictions(model, tokens, EOS, statistics, HOW))  # left in the middle
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_it_learns_a_text_that_repeats_itself(usual):
    model, tokens = model_of(), np.tile(stream(4), 60)
    assert score_dynamic(model, tokens, EOS, usual(model), HOW).nll < 0.8 * score_stream(model, tokens, EOS).nll


def test_usual_gradients_are_those_of_a_plain_loop():
    model, tokens = model_of(), stream(20)
    found = usual_gradients(model, tokens, EOS, 1, most=20)  # one stripe per token
    before = torch.tensor([EOS, *tokens[:-1].tolist()])[:, None]
    loss = torch.nn.functional.cross_entropy(model(before).logits[:, 0], torch.tensor(tokens.astype(np.int64)))
    expected = torch.autograd.grad(loss, learning(model))
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs.abs(), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("form", ["int8", "int4", "low_rank-int8", "tensor_train-int4", "sparse-int8"])
def test_integers_do_not_learn(form):
    with pytest.raises(CheckpointError, match=r"all matrices are stored in integers, .* give zoo.floats.in_floats"):
        learning(model_of(form=form))


def test_what_is_in_floats_learns_beside_integers(usual):
    weights = {"embed": {"form": "int8", "scheme": "row"}}
    model = model_of(tied=False, weights=weights)
    assert not any(part is model.model.embed_tokens.scale for part in learning(model))
    before = model.model.embed_tokens.weight.clone()
    assert math.isfinite(score_dynamic(model, stream(), EOS, usual(model), HOW).nll)
    assert torch.equal(before, model.model.embed_tokens.weight)


@pytest.mark.parametrize("wrong", [{"lr": -1.0}, {"decay": 1.5}, {"floor": 0.0}, {"lr": math.nan}])
def test_settings_out_of_range(wrong, usual):
    model = model_of()
    with pytest.raises(ZooError, match="allowed: any finite lr from 0, decay from 0 to 1"):
        score_dynamic(model, stream(), EOS, usual(model), Dynamic(**wrong))


def test_a_step_out_of_all_bounds_is_told(usual):
    model = model_of()
    with pytest.raises(CheckpointError, match="no finite probabilities"):
        score_dynamic(model, stream(200), EOS, usual(model), Dynamic(lr=1e30, window=5))
    assert score_stream(model, stream(), EOS).nll > 0
