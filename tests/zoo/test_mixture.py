"""Mixture of softmaxes: against plain formulas, steps, gradients, files, the step without torch, scores, refusals."""

import math

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from torch.nn import functional as F

from zoo import RnnLmConfig, RnnLmForCausalLM, RnnLmForSequenceClassification
from zoo.counts import count, parameters_of, total
from zoo.errors import CheckpointError, ZooError
from zoo.layout import layout_of, read_layout
from zoo.neural_cache import NeuralCache, score_cached
from zoo.runtime import NumpyModel
from zoo.scoring import score_stream

from .folders import write_checkpoint
from .models import MIXED, VOCABULARY, model_of, name_of
from .test_modeling import ids_of

mixed = pytest.mark.parametrize("variant", MIXED, ids=name_of)


def plain_logits(model, hidden):
    """Hidden [T, O] -> [T, V], Yang et al. 2018, section 3, word by word and softmax by softmax."""
    config, rows = model.config, []
    latent, prior = model.latent.to_dense(), model.prior.to_dense()
    for h in hidden:
        shares, p = torch.softmax(prior @ h, 0), 0.0
        for share, W in zip(shares, latent.chunk(config.num_softmaxes), strict=True):
            p = p + share * torch.softmax(model.lm_head(torch.tanh(W @ h)), 0)
        rows.append(p.log())
    return torch.stack(rows)


@mixed
@torch.no_grad()
def test_logits_are_those_of_the_equations_by_steps_and_as_a_whole(variant):
    model, ids = model_of(**variant), ids_of(2, 6)
    logits, states = model(ids).logits, None
    hidden = model.model(ids).last_hidden_state
    for row in range(2):
        torch.testing.assert_close(logits[row], plain_logits(model, hidden[row]), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits.exp().sum(-1), torch.ones(2, 6))
    torch.testing.assert_close(model(ids, logits_to_keep=2).logits, logits[:, -2:])
    for t in range(6):
        stepped, states = model.step(ids[:, t], states)
        torch.testing.assert_close(stepped, logits[:, t], atol=1e-5, rtol=1e-5)
    mask = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]])
    alone = model(ids[:1, 2:]).logits
    torch.testing.assert_close(model(ids, attention_mask=mask).logits[:1, 2:], alone, atol=1e-5, rtol=1e-5)


@mixed
def test_every_number_gets_a_gradient_and_the_loss_is_that_of_the_mixture(variant):
    model, ids = model_of(**variant).train(), ids_of(2, 5)
    logits = model(ids).logits
    loss = model(ids, labels=ids).loss
    torch.testing.assert_close(loss, F.nll_loss(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()))
    loss.backward()
    for name, parameter in model.named_parameters():
        assert not parameter.requires_grad or parameter.grad.abs().sum() > 0, name


@mixed
@torch.no_grad()
def test_files_and_the_step_without_torch(variant, tmp_path):
    model, ids = model_of(**variant), [1, 5, 30, 0, 7]
    model.save_pretrained(tmp_path / "saved")
    loaded, info = RnnLmForCausalLM.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    logits = model(torch.tensor([ids])).logits[0]
    torch.testing.assert_close(loaded(torch.tensor([ids])).logits[0], logits, atol=1e-5, rtol=1e-5)
    folder = write_checkpoint(tmp_path / "tiny", model)
    numpy_model, state = NumpyModel(folder), None
    for token, expected in zip(ids, logits, strict=True):
        found, state = numpy_model.step(token, state)
        assert found.dtype == np.float32 and found.shape == (VOCABULARY,)
        np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-5)
    layout = read_layout(folder)
    assert layout.shapes == model.config.shapes
    assert total(count(folder))["parameters"] == sum(parameters_of(layout).values())
    assert f", {variant['num_softmaxes']} softmaxes, vocabulary" in layout.describe()


@torch.no_grad()
def test_scores_and_temperatures_are_those_of_the_mixture():
    model, tokens = model_of(num_softmaxes=3), ids_of(1, 40).numpy()[0]
    scores = score_stream(model, tokens, 1, temperatures=(0.7,))
    logits = model(torch.tensor([[1, *tokens[:-1]]])).logits[0]
    for temperature, found in ((1, scores.perplexity), (0.7, scores.perplexity_at(0.7))):
        loss = F.cross_entropy(logits / temperature, torch.from_numpy(tokens).long())
        assert found == pytest.approx(math.exp(loss), rel=1e-4)


def test_dropout_acts_on_the_latents_and_not_on_their_shares():
    model = model_of(num_softmaxes=2, output_dropout=0.5)
    hidden = torch.ones(4, 30, 9)
    kept = model.readout(hidden)
    dropped = model.train().readout(hidden)
    assert torch.equal(dropped[..., -2:], kept[..., -2:])
    zero = dropped[..., :-2] == 0
    assert 0.2 < zero.float().mean() < 0.8 and (zero == zero[:, :1]).all()


def test_what_is_refused():
    with pytest.raises(StrictDataclassClassValidationError, match="num_softmaxes is 0; it must be at least 1"):
        RnnLmConfig(num_softmaxes=0)
    for role in ("latent", "prior"):
        with pytest.raises(StrictDataclassClassValidationError, match="not; set num_softmaxes or leave it out"):
            RnnLmConfig(weights={role: {"form": "dense"}})
    with pytest.raises(CheckpointError, match="has 0 as num_softmaxes; it must be a whole number of at least 1"):
        layout_of(RnnLmConfig().to_dict() | {"num_softmaxes": 0})
    with pytest.raises(ValueError, match="a classifier predicts no words"):
        RnnLmForSequenceClassification(RnnLmConfig(num_softmaxes=2))
    with pytest.raises(ZooError, match=r"num_softmaxes 2, and a neural cache .*--dynamic"):
        score_cached(model_of(num_softmaxes=2), np.arange(9), 1, NeuralCache())
