from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from conversion.constraint import Constraint
from conversion.learner import Learner, copy_of
from conversion.recipe import Stage
from zoo.configuration_rnnlm import RnnLmConfig
from zoo.modeling_rnnlm import RnnLmForCausalLM

from .tiny import same_tensors

SGD = Stage(optimizer="sgd", lr=1.0, epochs=1)
ADAM = Stage(optimizer="adam", lr=1.0, epochs=1, average="ema", decay=0.5)


def model() -> RnnLmForCausalLM:
    torch.manual_seed(1)
    return RnnLmForCausalLM(RnnLmConfig(vocab_size=7, embedding_size=4, hidden_size=4, num_hidden_layers=1))


def backward(model: nn.Module) -> None:
    ids = torch.arange(6)[None]
    model(ids, labels=ids).loss.backward()


@pytest.mark.parametrize("clip", [0.0, 0.1])
def test_one_step_along_the_clipped_gradient(clip: float):
    learned = model()
    learner = Learner(learned, SGD)
    backward(learned)
    weights = {name: tensor.detach().clone() for name, tensor in learned.named_parameters()}
    gradients = {name: tensor.grad.clone() for name, tensor in learned.named_parameters()}
    norm = math.sqrt(sum(gradient.square().sum().item() for gradient in gradients.values()))
    assert norm > 0.1
    assert learner.descend(0.3, clip).item() == pytest.approx(norm, rel=1e-5)
    scale = 0.3 * (min(1, clip / norm) if clip else 1)
    for name, tensor in learned.named_parameters():
        torch.testing.assert_close(tensor.detach(), weights[name] - scale * gradients[name], atol=1e-6, rtol=1e-4)
        assert tensor.grad is None


def test_model_and_average_are_constrained_after_the_step():
    calls = []

    class Halves(Constraint):
        def after_update(self, model, done):
            calls.append((model, done))
            with torch.no_grad():
                model.lm_head.bias.fill_(len(calls))

    learned = model()
    learner = Learner(learned, ADAM, Halves())
    backward(learned)
    learner.descend(0.1, 0, 0.25)
    assert calls == [(learned, 0.25), (learner.average.module, 0.25)]
    assert (learned.lm_head.bias == 1).all() and (learner.evaluated.lm_head.bias == 2).all()


def test_restored_learner_goes_on_alike():
    one, other = model(), model()
    learners = [Learner(one, ADAM), Learner(other, ADAM)]
    for number in range(4):
        if number == 2:
            learners[1].restore(copy.deepcopy(learners[0].state()))
        for learned, learner in zip((one, other), learners, strict=True):
            if number >= 2 or learner is learners[0]:
                backward(learned)
                learner.descend(0.1, 1.0)
    assert same_tensors(learners[0].state(), learners[1].state())


def test_copies_are_apart_and_tied_ones_one():
    learned = model()
    weights = copy_of(learned)
    assert weights["lm_head.weight"] is weights["model.embed_tokens.weight"]
    with torch.no_grad():
        learned.lm_head.weight.zero_()
    assert weights["lm_head.weight"].abs().sum() > 0
