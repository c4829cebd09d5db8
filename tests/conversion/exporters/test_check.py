import numpy as np
import pytest
import torch

from conversion.exporters.check import Agreement, agrees, compare, refuse, same_words
from conversion.exporters.text import CheckText
from tests.zoo.models import VOCABULARY, model_of
from zoo.errors import CheckpointError


def test_best_three_words_are_compared_as_sets():
    reference = np.array([[5.0, 4, 3, 2, 1]] * 4)
    logits = np.array([[5.0, 4, 3, 2, 1], [3, 4, 5, 2, 1], [5, 4, 2, 3, 1], [0, 1, 2, 3, 4]])
    same, tied = same_words(reference, logits)
    assert same.tolist() == tied.tolist() == [True, True, False, False]


def test_a_tie_may_fall_either_way():
    reference = np.array([[5.0, 4, 3.00001, 3, 1], [5, 4, 3.1, 3, 1]])
    logits = np.array([[5.0, 4, 3, 3.1, 1]] * 2)
    same, tied = same_words(reference, logits)
    assert same.tolist() == [False, False] and tied.tolist() == [True, False]


def test_two_words_have_no_third():
    same, _ = same_words(np.array([[1.0, 2.0]]), np.array([[2.0, 1.0]]))
    assert same.all()


def torch_run(model, change=0.0):
    """The model as an exported file; its logits changed by noise."""
    noise = torch.Generator().manual_seed(0)

    @torch.no_grad()
    def run(ids, states):
        h = [torch.from_numpy(state) for state in states]
        pairs, pieces = list(zip(h[::2], h[1::2], strict=True)), []
        for token in ids[0]:
            logits, pairs = model.step(torch.tensor([token]), pairs)
            pieces.append(logits + change * torch.randn(logits.shape, generator=noise))
        return torch.stack(pieces, 1).numpy(), [part.numpy() for pair in pairs for part in pair]

    return run


def test_compare_carries_the_states_and_counts_every_position():
    model = model_of()
    text = CheckText(np.random.default_rng(0).integers(0, VOCABULARY, 333), "random")
    zeros = [np.zeros((1, size), np.float32) for layer in model.model.layers for size in layer.state_sizes]
    runs = {"step": torch_run(model), "sequence": torch_run(model), "noisy": torch_run(model, 1.0)}

    def forgets(ids, states):
        return torch_run(model)(ids, zeros)

    found = compare(model, text, {**runs, "forgetful": forgets}, zeros, {"step"})
    assert {one.positions for one in found.values()} == {333}
    for name in ("step", "sequence"):
        assert found[name].same_top3 == 1 and found[name].max_logit_difference == 0 and agrees(found[name], exact=True)
    for name in ("noisy", "forgetful"):
        assert found[name].same_top3 < 0.99 and not agrees(found[name], exact=False)
        with pytest.raises(
            CheckpointError, match=rf"{name} gives the same best three .* of 333 .* nothing was written"
        ):
            refuse(name, found[name], exact=True)


def test_numbers_that_are_none_are_refused():
    broken = Agreement()
    broken.add(np.zeros((2, 4)), np.full((2, 4), np.nan))
    assert not agrees(broken, exact=False)
