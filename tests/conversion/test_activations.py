"""Second moments and sensitivities against the same sums written out by hand; the model is left as it was."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from conversion.activations import BATCH, measure, second_moments, sensitivities, square_root
from conversion.matrices import matrix_of
from tests.zoo.models import VOCABULARY, model_of
from zoo.corpora import Corpus
from zoo.errors import CorpusError, RecipeError, VocabularyError

STEPS = 41  # more than one window


@pytest.fixture(scope="module")
def data() -> Corpus:
    tokens = np.random.default_rng(0).integers(2, VOCABULARY, BATCH * STEPS + 3).astype(np.int32)
    words = ["a", "<eos>", *(f"w{i}" for i in range(2, VOCABULARY))]
    return Corpus("random", words, {"train": tokens}, {})


def stripes_of(data: Corpus) -> torch.Tensor:
    """Inputs [BATCH, STEPS] by hand."""
    tokens = data.splits["train"]
    before = np.concatenate([[data.eos_id], tokens[:-1]])
    return torch.tensor(before[: BATCH * STEPS].reshape(BATCH, STEPS).astype(np.int64))


def test_moments_are_those_of_the_inputs_of_every_matrix(data):
    model = model_of()
    found = second_moments(model, data)
    assert set(found) == {*model.config.shapes, "head"}
    with torch.no_grad():
        output = model.model(stripes_of(data), output_hidden_states=True)
    embedded, first, last = output.hidden_states
    before = F.pad(first, (0, 0, 1, 0))[:, :-1]  # the state before each token
    for name, x in (("input.0", embedded), ("input.1", first), ("recurrent.0", before), ("output_projection", last),
                    ("head", model.readout(last))):  # fmt: skip
        x = x.flatten(0, 1).double()
        torch.testing.assert_close(found[name], x.T @ x / len(x), rtol=1e-4, atol=1e-6, msg=name)
    counts = np.bincount(data.splits["train"], minlength=VOCABULARY)
    np.testing.assert_allclose(found["embed"].numpy(), counts / counts.sum())


def test_every_matrix_of_every_cell_is_measured(data):
    for cell in ("lstm", "cifg", "gru", "rnn"):
        for projected in (False, True):
            model = model_of(cell=cell, projected=projected, tied=False, form="low_rank")
            found = measure(model, data)
            for name, (rows, columns) in model.config.shapes.items():
                assert found.inputs[name].shape == ((columns, columns) if name != "embed" else (rows,)), name
                assert found.outputs[name].shape == (rows,), name
                assert (found.outputs[name] >= 0).all() and found.outputs[name].any(), name


def test_sensitivities_are_the_mean_squares_of_the_gradient(data):
    model = model_of(cell="rnn", layers=1, tied=False)
    found = sensitivities(model, data, positions=BATCH * 7)["input.0"]
    tokens = torch.from_numpy(data.splits["train"].astype(np.int64))[: BATCH * STEPS].view(BATCH, STEPS)[:, :7]
    layer, x = model.model.layers[0], model.model.embed(stripes_of(data)[:, :7])
    added = (layer.input(x) + layer.bias).detach().requires_grad_()  # [B, T, H]
    h, hidden = torch.zeros(BATCH, model.config.hidden_size), []
    for step in added.unbind(1):
        h = torch.tanh(step + layer.recurrent(h))
        hidden.append(h)
    logits = model.lm_head(torch.stack(hidden, 1))
    loss = F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="sum")
    (gradient,) = torch.autograd.grad(loss, added)
    torch.testing.assert_close(found, gradient.double().square().mean((0, 1)), rtol=1e-4, atol=1e-9)


def test_positions_bound_the_work_and_short_texts_are_enough(data):
    model = model_of()
    seen = []
    hook = model.model.embed_tokens.register_forward_hook(lambda _, given, __: seen.append(given[0].numel()))
    second_moments(model, data, positions=BATCH * 3)
    hook.remove()
    assert sum(seen) == BATCH * 3
    short = Corpus("short", data.vocabulary, {"train": data.splits["train"][:5]}, {})
    assert all(torch.isfinite(moments).all() for moments in second_moments(model, short).values())


@pytest.mark.parametrize("function", [second_moments, sensitivities])
def test_the_model_stays_as_it_was_also_after_an_error(data, function):
    model = model_of().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def check():
        assert model.training
        assert all(not matrix_of(model, name)._forward_hooks for name in model.config.shapes)
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
        assert all(p.grad is None and p.requires_grad for p in model.parameters())

    function(model, data)
    check()

    def fail(*_):
        raise KeyboardInterrupt

    hook = model.model.layers[1].register_forward_hook(fail)
    with pytest.raises(KeyboardInterrupt):
        function(model, data)
    hook.remove()
    check()


@pytest.mark.parametrize("function", [second_moments, sensitivities])
def test_data_of_no_use_are_refused(data, function):
    model = model_of()
    with pytest.raises(RecipeError, match="give a corpus"):
        function(model, None)
    with pytest.raises(CorpusError, match=r"train\.txt"):
        function(model, Corpus("test only", data.vocabulary, {"test": data.splits["train"]}, {}))
    foreign = Corpus("foreign", data.vocabulary, {"train": data.splits["train"] + VOCABULARY}, {})
    with pytest.raises(VocabularyError, match="own tokenizer"):
        function(model, foreign)


def test_square_root_and_its_inverse_also_of_deficient_moments():
    x = torch.randn(30, 7).double()
    root, inverse = square_root(x.T @ x)
    torch.testing.assert_close(root @ root, x.T @ x, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(root @ inverse, torch.eye(7).double())
    root, inverse = square_root(x[:3].T @ x[:3])
    torch.testing.assert_close(root @ inverse, torch.eye(7).double(), atol=1e-6, rtol=0)
    assert torch.equal(square_root(torch.zeros(4, 4))[0], torch.eye(4).double())
