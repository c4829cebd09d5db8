"""The loss of a window against the model's own logits, with every kind of head."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from conversion.fused_loss import distillation
from conversion.objective import Objective, keep_states, mean_loss, product_dtype
from conversion.recipe import Training
from conversion.streams import Stripes
from zoo.configuration_rnnlm import RnnLmConfig
from zoo.modeling_rnnlm import RnnLmForCausalLM
from zoo.scoring import score_stream

V, K = 23, 4
HEADS = {
    "dense": None,
    "low_rank": {"embed": {"form": "low_rank", "rank": 3}},
    "int8": {"embed": {"form": "int8", "scheme": "row"}},
    "3 softmaxes": None,
    "2 softmaxes, low_rank": {"embed": {"form": "low_rank", "rank": 3}, "latent": {"form": "low_rank", "rank": 2}},
}


def model(head: str = "dense") -> RnnLmForCausalLM:
    torch.manual_seed(2)
    softmaxes = int(head[0]) if head[0].isdigit() else 1
    sizes = {"vocab_size": V, "embedding_size": 6, "hidden_size": 6, "num_softmaxes": softmaxes}
    return RnnLmForCausalLM(RnnLmConfig(**sizes, weights=HEADS[head]))


def window() -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(0, V, (3, 8), generator=torch.Generator().manual_seed(3))
    return ids[:, :-1], ids[:, 1:]


def soft() -> tuple[torch.Tensor, torch.Tensor]:
    teacher = torch.randn(3, 7, V, generator=torch.Generator().manual_seed(4)).softmax(dim=-1)
    shares, words = teacher.topk(K)
    return words, torch.cat([shares, 1 - shares.sum(dim=-1, keepdim=True)], dim=-1)


def gradients(loss: torch.Tensor, learned: nn.Module) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, [p for p in learned.parameters() if p.requires_grad]))


@pytest.mark.parametrize("head", HEADS)
def test_without_teachers_it_is_the_models_own_loss(head: str):
    learned, (inputs, targets) = model(head), window()
    loss, entropy, states = Objective(learned)(inputs, targets, [])
    output = learned(inputs, use_cache=True)
    plain = F.cross_entropy(output.logits.flatten(0, 1), targets.flatten())
    assert loss.item() == entropy.item() == pytest.approx(plain.item(), abs=1e-5)
    assert not any(tensor.requires_grad for layer in states for tensor in layer)
    for gradient, twin in zip(gradients(loss, learned), gradients(plain, learned), strict=True):
        torch.testing.assert_close(gradient, twin, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_with_teachers(head: str, temperature: float):
    learned, (inputs, targets), (words, shares) = model(head), window(), soft()
    options = Training(ar=0.5, tar=0.25, teacher_weight=0.3, teacher_temperature=temperature)
    loss, entropy, _ = Objective(learned, options)(inputs, targets, [], (words, shares))
    hidden = learned.model(inputs).last_hidden_state
    features = learned.readout(hidden)
    logits = learned.logits(features).flatten(0, 1)
    targets, words, shares = (each.flatten(0, 1) for each in (targets, words, shares))
    plain, plain_entropy = distillation(logits, targets, words, shares, 0.3, temperature)
    plain = plain + 0.5 * features.square().mean() + 0.25 * (hidden[:, 1:] - hidden[:, :-1]).square().mean()
    assert loss.item() == pytest.approx(plain.item(), abs=1e-5)
    assert entropy.item() == pytest.approx(plain_entropy.item(), abs=1e-5)
    for gradient, twin in zip(gradients(loss, learned), gradients(plain, learned), strict=True):
        torch.testing.assert_close(gradient, twin, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("head", ["dense", "low_rank"])
def test_bfloat16_is_near(head: str):
    learned, (inputs, targets) = model(head), window()
    exact = Objective(learned)(inputs, targets, [], soft())[0]
    try:
        near = Objective(learned, dtype=torch.bfloat16)(inputs, targets, [], soft())[0]
    except RuntimeError as error:
        if "could not create a primitive" not in str(error):
            raise
        pytest.skip("this processor has no LSTM in bfloat16")
    assert near.dtype == torch.float32
    assert near.item() == pytest.approx(exact.item(), rel=0.01)
    for gradient, twin in zip(gradients(near, learned), gradients(exact, learned), strict=True):
        assert (gradient - twin).norm() < 0.05 * twin.norm()


def test_states_are_carried():
    learned, (inputs, targets) = model(), window()
    objective = Objective(learned)
    whole = objective(inputs, targets, [])[1]
    _, first, states = None, *objective(inputs[:, :3], targets[:, :3], [])[1:]
    second = objective(inputs[:, 3:], targets[:, 3:], states)[1]
    assert ((3 * first + 4 * second) / 7).item() == pytest.approx(whole.item(), abs=1e-6)


def test_kept_states_are_zeroed_by_row():
    states = [(torch.ones(3, 2), torch.ones(3, 0))]
    (h, c), *_ = keep_states(states, torch.tensor([True, False, True]))
    assert h.tolist() == [[1, 1], [0, 0], [1, 1]] and c.shape == (3, 0)


def test_validation_is_that_of_the_published_protocol_at_one_stripe():
    tokens = np.random.default_rng(0).integers(0, V, 150).astype(np.int32)
    loss = mean_loss(model().train(), Stripes(tokens, 0, 1), window=40)
    assert loss == pytest.approx(np.log(score_stream(model(), tokens, 0).perplexity), abs=1e-5)


def test_precision():
    assert product_dtype("no", torch.device("cpu")) == torch.float32
    assert product_dtype("bf16", torch.device("cpu")) == torch.bfloat16
    assert product_dtype("auto", torch.device("cpu")) in (torch.float32, torch.bfloat16)
