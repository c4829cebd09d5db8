"""From a model trained under noise to an ordinary smaller one with the same outputs."""

import math

import numpy as np
import pytest
import torch

from conversion.bayes import Spec, compress, plan, prepare
from conversion.bayes.latents import parameter_of
from conversion.bayes.method import choose, kept
from conversion.bayes.variational import Variational, exchange
from conversion.matrices import spec_of
from tests.conversion.test_classification import WORDS, invented
from tests.zoo.models import VOCABULARY, model_of
from zoo.configuration_rnnlm import RnnLmConfig
from zoo.corpora import Corpus
from zoo.errors import RecipeError
from zoo.modeling_rnnlm import RnnLmForSequenceClassification

IDS = torch.randint(2, VOCABULARY, (3, 7), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    tokens = np.random.default_rng(0).integers(2, VOCABULARY, 500).astype(np.int32)
    words = ["a", "<eos>", *(f"w{i}" for i in range(2, VOCABULARY))]
    return Corpus("random", words, {"train": tokens, "valid": tokens[:100]}, {})


def loosen(latents, share: float) -> None:
    """Makes a share of all numbers and group variables mere noise."""
    chance = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for spread in (*latents.scaled.values(), *latents.group_scaled.values()):
            idle = torch.rand(spread.shape, generator=chance) < share
            spread.copy_(torch.where(idle, 3.0, -9.0))


@pytest.mark.parametrize("tied", (True, False))
@pytest.mark.parametrize("cell, projected", (("lstm", False), ("lstm", True), ("gru", False), ("rnn", False)))
def test_language_models_keep_their_outputs(tied: bool, cell: str, projected: bool, corpus):
    kinds = ("inputs", "hidden") if cell == "rnn" else ("inputs", "hidden", "gates")
    spec = Spec(roles=("all",), groups=kinds)
    model = prepare(model_of(cell=cell, projected=projected, tied=tied), spec, corpus).eval()
    loosen(model.variational, 0.4)
    parameters = {name: parameter_of(model, name) for name in model.variational.names}
    means = {name: parameter.detach() for name, parameter in parameters.items()}
    with torch.no_grad(), exchange(parameters, kept(model.variational, means, 3.0, None)):
        expected = model(IDS).logits
    made = compress(model, spec, corpus)
    assert not any(name.startswith("variational") for name in made.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(made(IDS).logits, expected, rtol=0, atol=1e-5)
    assert sum(p.numel() for p in made.parameters()) < sum(p.numel() for p in parameters.values())
    assert made.report["threshold"] == 3.0 and made.report["structure"]["weights"] > 0


@pytest.mark.parametrize("rated", (False, True))
def test_text_classifiers_lose_words_too(rated: bool):
    reviews = invented(rated)
    torch.manual_seed(0)
    sizes = dict(vocab_size=len(WORDS), embedding_size=4, hidden_size=5, num_hidden_layers=1, tie_word_embeddings=False)
    config = RnnLmConfig(**sizes, num_labels=reviews.num_labels, problem_type=reviews.problem_type, pad_token_id=0)
    spec = Spec(roles=("all",), groups=("words", "inputs", "hidden", "gates"))
    model = prepare(RnnLmForSequenceClassification(config), spec, reviews).eval()
    loosen(model.variational, 0.3)
    parameters = {name: parameter_of(model, name) for name in model.variational.names}
    means = {name: parameter.detach() for name, parameter in parameters.items()}
    ids = torch.randint(2, len(WORDS), (6, 9), generator=torch.Generator().manual_seed(2))
    with torch.no_grad(), exchange(parameters, kept(model.variational, means, 3.0, 1)):
        expected = model(ids).logits
    made = compress(model, spec, reviews)
    words = made.report["words"]
    assert {0, 1} < set(words) and len(words) == made.config.vocab_size < len(WORDS)
    table = torch.tensor([words.index(i) if i in words else words.index(1) for i in range(len(WORDS))])
    with torch.no_grad():
        torch.testing.assert_close(made(table[ids]).logits, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("share", (0.0, 1.0), ids=["nothing goes", "everything goes"])
def test_degenerate_cases_are_valid_models(share: float, corpus):
    spec = Spec(roles=("all",), groups=("hidden",))
    model = prepare(model_of(), spec, corpus).eval()
    loosen(model.variational, share)
    made = compress(model, spec, corpus)
    with torch.no_grad():
        logits = made(IDS).logits
    assert torch.isfinite(logits).all()
    if share == 1:
        assert made.report["structure"]["weights"] == 0
        assert torch.allclose(logits, logits[:1, :1].expand_as(logits))  # what is left is the bias
    else:
        assert {name: spec_of(made.config, name)["form"] for name in made.config.shapes} == dict.fromkeys(
            made.config.shapes, "dense"
        )


def test_thresholds_are_chosen_on_validation(corpus):
    rows = [
        {"threshold": 3.0, "nonzeros": 100, "valid_loss": 2.0},
        {"threshold": 1.0, "nonzeros": 60, "valid_loss": 2.01},
        {"threshold": 0.0, "nonzeros": 30, "valid_loss": 2.5},
        {"threshold": -1.0, "nonzeros": 10, "valid_loss": math.nan},
    ]
    assert choose(rows, 0.0)["threshold"] == 3.0
    assert choose(rows, 0.01)["threshold"] == 1.0
    assert choose(rows, 0.5)["threshold"] == 0.0
    assert choose(rows, 0.0, most=50)["threshold"] == 0.0
    assert choose(rows, 0.0, most=5)["threshold"] == 0.0  # none is so sparse: the sparsest that is a number
    with pytest.raises(RecipeError, match="diverged"):
        choose(rows[3:], 0.0)
    spec = Spec(roles=("layers",), thresholds=(3.0, -20.0), tolerance=10.0)
    model = prepare(model_of(), spec, corpus).eval()
    report = compress(model, spec, corpus).report
    assert [row["threshold"] for row in report["thresholds"]] == [3.0, -20.0] and report["threshold"] == -20.0


@pytest.mark.parametrize("tied", (True, False))
def test_group_lasso_removes_whole_units(tied: bool, corpus):
    spec = Spec(roles=("all",), prior="group_lasso", groups=("inputs", "hidden"), kl_weight=0.01, thresholds=(0.02,))
    model = prepare(model_of(tied=tied, layers=1), spec, corpus).train()
    latents, constraint = model.variational, Variational(spec)
    assert not list(latents.parameters())
    with torch.no_grad():
        for group in latents.groups:
            for name in group.columns:
                parameter_of(model, name)[:, : 1 if group.name == "inputs" else 2] *= 1e-4
        H = model.config.hidden_size
        for name in ("input.0", "recurrent.0"):
            parameter_of(model, name).view(4, H, -1)[:, :2] *= 1e-4
    with constraint.in_force(model):
        loss = model(IDS).logits.square().mean()
        loss.backward()
    name, step = "recurrent.0", 1e-4
    weight, gradient = parameter_of(model, name), parameter_of(model, name).grad[5, 4].item()
    means = {each: parameter_of(model, each).detach().double() for each in latents.names}
    slopes = []
    for sign in (1, -1):
        means[name] = weight.detach().double().clone()
        means[name][5, 4] += sign * step
        slopes.append(float(latents.kl(means)) / latents.observations * spec.kl_weight)
    plain = prepare(model_of(tied=tied, layers=1), spec, corpus).train()
    plain.load_state_dict(model.state_dict())
    plain(IDS).logits.square().mean().backward()
    own = parameter_of(plain, name).grad[5, 4].item()
    assert gradient - own == pytest.approx((slopes[0] - slopes[1]) / (2 * step), rel=1e-2, abs=1e-5)
    made = compress(model, spec, corpus)
    assert made.config.hidden_size == H - 2
    with torch.no_grad():
        torch.testing.assert_close(made(IDS).logits, model.eval()(IDS).logits, rtol=0, atol=2e-2)


def test_without_training_there_is_nothing_to_sparsify(corpus):
    with pytest.raises(RecipeError, match=r"\[\[compress.stage\]\]"):
        compress(model_of(), Spec(), corpus)
    with pytest.raises(RecipeError, match="learns from data"):
        prepare(model_of(), Spec())
    with pytest.raises(RecipeError, match="put bayes first"):
        plan(model_of(form="int8").config, Spec(roles=("all",)))


@pytest.mark.parametrize("form", ("low_rank", "tensor_train"))
def test_factors_are_sparsified_where_they_are_dense(form: str, corpus):
    spec = Spec(roles=("all",))
    model = prepare(model_of(form=form), spec, corpus).train()
    names = model.variational.names
    assert any("/" in name for name in names)
    with Variational(spec).in_force(model):
        model(IDS).logits.square().mean().backward()
    assert all(parameter_of(model, name).grad is not None for name in names)
    loosen(model.variational, 0.4)
    parameters = {name: parameter_of(model, name) for name in names}
    means = {name: parameter.detach() for name, parameter in parameters.items()}
    model.eval()
    with torch.no_grad(), exchange(parameters, kept(model.variational, means, 3.0, None)):
        expected = model(IDS).logits
    made = compress(model, spec, corpus)
    with torch.no_grad():
        torch.testing.assert_close(made(IDS).logits, expected, rtol=0, atol=1e-5)
    assert sum(int((p == 0).sum()) for p in made.parameters()) > 0.2 * sum(p.numel() for p in made.parameters())
