"""Training under noise: the bound's gradient, one sample per batch, and what stays after thresholds."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from conversion.bayes import Spec, prepare
from conversion.bayes.latents import parameter_of
from conversion.bayes.variational import Variational, local_noise
from conversion.learner import Learner
from conversion.recipe import RATES, Stage
from tests.zoo.models import VOCABULARY, model_of
from zoo.configuration_rnnlm import RnnLmConfig
from zoo.corpora import Corpus
from zoo.errors import RecipeError
from zoo.modeling_rnnlm import RnnLmForSequenceClassification

IDS = torch.randint(2, VOCABULARY, (3, 7), generator=torch.Generator().manual_seed(1))
ALL = dict(roles=("all",), groups=("inputs", "hidden", "gates", "words"), untie=True)


@pytest.fixture(scope="module")
def data() -> Corpus:
    tokens = np.random.default_rng(0).integers(2, VOCABULARY, 500).astype(np.int32)
    words = ["a", "<eos>", *(f"w{i}" for i in range(2, VOCABULARY))]
    return Corpus("random", words, {"train": tokens, "valid": tokens[:100]}, {})


def classifier(num_labels: int = 2, **fields) -> RnnLmForSequenceClassification:
    torch.manual_seed(0)
    sizes = dict(vocab_size=VOCABULARY, embedding_size=5, hidden_size=6, num_hidden_layers=1, tie_word_embeddings=False)
    return RnnLmForSequenceClassification(RnnLmConfig(**{**sizes, "num_labels": num_labels, **fields}))


def loss_of(model) -> torch.Tensor:
    """In the model's own precision; the library's is float32."""
    return F.cross_entropy(model(IDS).logits[:, :-1].flatten(0, 1), IDS[:, 1:].flatten())


def bound(model, constraint, data) -> torch.Tensor:
    """The loss plus the KL divergence of one batch, with the noise of the update to come."""
    with constraint.in_force(model):
        loss = loss_of(model)
    latents = model.variational
    means = {name: parameter_of(model, name) for name in latents.names}
    return loss.detach() + constraint.spec.kl_factor(float(latents.done)) * latents.kl(means).detach() / 500


@pytest.mark.parametrize("tied", (True, False))
@pytest.mark.parametrize("prior", ("log_uniform", "ard", "normal", "none"))
@pytest.mark.parametrize("group_prior", ("log_uniform", "log_normal"))
def test_the_gradient_is_that_of_the_bound(tied: bool, prior: str, group_prior: str, data):
    kinds = ("inputs", "hidden", "gates") if tied else ALL["groups"]
    spec = Spec(roles=("all",), prior=prior, groups=kinds, group_prior=group_prior, log_sigma=-1.0, untie=not tied)
    model = prepare(model_of(cell="lstm", tied=tied), spec, data).double().train()
    for rate in set(RATES) - {"variational"}:
        setattr(model.config, rate, 0)
    for layer in model.model.layers:
        layer.weight_drop = 0.0
    constraint = Variational(spec)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with constraint.in_force(model):
        loss_of(model).backward()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name  # the means are back
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    chance = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        assert gradients[name] is not None, name
        direction = torch.randn(parameter.shape, generator=chance, dtype=torch.float64)
        slopes = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                parameter.add_(direction, alpha=step)
                slopes.append(bound(model, constraint, data))
                parameter.sub_(direction, alpha=step)
        numeric = float(slopes[0] - slopes[1]) / 2e-5
        assert float((gradients[name] * direction).sum()) == pytest.approx(numeric, rel=2e-4, abs=1e-7), name


def test_one_sample_for_a_batch_in_both_places_of_a_tied_matrix(data):
    spec = Spec(roles=("all",), log_sigma=0.0)
    model = prepare(model_of(tied=True), spec, data).train()
    with Variational(spec).in_force(model):
        first = model.lm_head.weight.detach().clone()
        assert torch.equal(first, model.model.embed_tokens.weight)
        assert not torch.equal(first, prepare(model_of(tied=True), spec, data).lm_head.weight)
    with Variational(spec).in_force(model):
        assert torch.equal(first, model.lm_head.weight)  # the same until the update
    Variational(spec).after_update(model, 0.5)
    with Variational(spec).in_force(model):
        assert not torch.equal(first, model.lm_head.weight)


def test_the_score_layer_gets_its_noise_in_the_product():
    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 3, dtype=torch.float64)
    log_sigma = torch.full((3, 4), -0.5, dtype=torch.float64)
    factor = torch.tensor([[1.0, 0.0, 2.0, 1.0]], dtype=torch.float64)
    x = torch.randn(1, 4, dtype=torch.float64).expand(40_000, 4)
    handle = layer.register_forward_hook(local_noise(log_sigma, factor, torch.Generator().manual_seed(1)))
    noisy = layer(x)
    handle.remove()
    variance = F.linear(x[:1].square(), (log_sigma.exp() * factor).square())[0]
    assert torch.allclose(noisy.mean(0), layer(x[0]), atol=0.05)
    assert torch.allclose(noisy.var(0), variance, rtol=0.05)


def test_validation_sees_thresholded_means(data):
    spec = Spec(roles=("all",), groups=("hidden",), thresholds=(3.0,))
    model = prepare(model_of(), spec, data).eval()
    latents = model.variational
    weight = parameter_of(model, "input.0")
    with torch.no_grad():
        latents.scaled["input_0"][0] = 3.0  # noise far above the mean
        latents.mean["hidden_0"][1] = 1e-6
    with Variational(spec).in_force(model):
        assert (weight[0] == 0).all() and (weight[1] != 0).all()
        assert (parameter_of(model, "recurrent.0")[:, 1] == 0).all()
    report = Variational(spec).report(model)
    assert report["groups"]["hidden.0"] == model.config.hidden_size - 1
    assert 0.9 < report["density"]["input.0"] <= 1 - 1 / len(weight)


@pytest.mark.parametrize("criterion, threshold", (("log_alpha", 3.0), ("snr", 0.05), ("prior_variance", 0.01)))
def test_criteria(criterion: str, threshold: float, data):
    spec = Spec(roles=("embed",), prior="ard", criterion=criterion, thresholds=(threshold,))
    model = prepare(model_of(), spec, data)
    theta, log_sigma = torch.randn(50, 40), torch.randn(50, 40) * 2 - 2
    model.variational.scaled["embed"].data = log_sigma
    goes = model.variational.goes("embed", theta, threshold)
    sigma = log_sigma.exp()
    expected = {
        "log_alpha": (sigma.square() / theta.square()).log() > threshold,
        "snr": theta.abs() / sigma < threshold,
        "prior_variance": theta.square() + sigma.square() < threshold,
    }[criterion]
    assert (goes == expected).float().mean() > 0.999 and 0 < goes.float().mean() < 1


def test_training_makes_useless_weights_noisy(data):
    """A likelihood that does not depend on a matrix leaves only the prior, whose best answer is noise."""
    spec = Spec(roles=("input.0",), log_sigma=-2.0, rate=5.0, kl_weight=500.0)
    model = prepare(model_of(), spec, data).train()
    constraint = Variational(spec)
    learner = Learner(model, Stage("adam", lr=0.05, epochs=1), constraint)
    for _ in range(60):
        with constraint.in_force(model):
            (model.lm_head.weight.sum() * 0 + 0 * parameter_of(model, "input.0").sum()).backward()
        learner.descend(0.05, 0.0, 0.5)
    assert constraint.report(model.eval())["density"]["input.0"] < 0.02


def test_bad_specs_are_refused(data):
    with pytest.raises(RecipeError, match="leave words out"):
        prepare(model_of(tied=True), Spec(roles=("all",), groups=("words",)), data)
    with pytest.raises(RecipeError, match="allowed: inputs, hidden"):
        Spec(groups=("neurons",))
    with pytest.raises(RecipeError, match="score"):
        prepare(model_of(), Spec(roles=("score",)), data)
    with pytest.raises(RecipeError, match="none of which is in roles"):
        prepare(model_of(tied=False), Spec(roles=("head",), groups=("inputs",)), data)
    with pytest.raises(RecipeError, match="which has none"):
        prepare(model_of(cell="rnn"), Spec(groups=("gates",)), data)
    with pytest.raises(RecipeError, match="makes no single weight zero"):
        Spec(prior="normal")
    with pytest.raises(RecipeError, match="anneal_end"):
        Spec(anneal_begin=0.5, anneal_end=0.1)


def test_a_classifier_takes_part_with_all_its_matrices():
    spec = Spec(roles=("all",), groups=ALL["groups"])
    latents = prepare(classifier(), spec, _Reviews()).variational
    assert set(latents.names) == {"embed", "input.0", "recurrent.0", "score"}
    assert [(g.name, g.size) for g in latents.groups] == [
        ("words", VOCABULARY), ("inputs", 5), ("hidden.0", 6), ("gates.0", 24)
    ]  # fmt: skip
    assert latents.observations == 4


class _Reviews:
    """Stands for labelled reviews."""

    class train:
        labels = [0, 1, 0, 1]

    splits = {"train": train}
    vocabulary = ["<eos>"]


def test_the_noise_goes_on_after_a_copy(data):
    spec = Spec(roles=("layers",), log_sigma=0.0)
    model = prepare(model_of(), spec, data).train()
    Variational(spec).after_update(model, 0.1)
    again = copy.deepcopy(model)
    with Variational(spec).in_force(model), Variational(spec).in_force(again):
        assert torch.equal(parameter_of(model, "input.0"), parameter_of(again, "input.0"))
