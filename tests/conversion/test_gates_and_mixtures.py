"""What compression and engines make of Mogrifier gating and of several softmaxes: it works or is refused."""

import dataclasses

import numpy as np
import pytest
import torch

from conversion import low_rank, narrow_embedding, prune, prune_units, quantize, shared_projection
from conversion.bayes import method as bayes
from conversion.bayes.shrink import shrink
from conversion.distillation import Teacher
from conversion.exporters.c_file import file_of
from conversion.exporters.torch_step import Step
from conversion.matrices import config_with, matrix_of, select, spec_of
from conversion.recipe import parse_recipe
from tests.zoo.folders import write_checkpoint
from tests.zoo.models import VOCABULARY, fill, model_of
from zoo import RnnLmForCausalLM
from zoo.corpora import Corpus
from zoo.errors import RecipeError, ZooError

IDS = torch.tensor([[1, 5, 9, 30, 2, 2]])
BOTH = [{"mogrifier_rounds": 3}, {"num_softmaxes": 2}]


@pytest.fixture(scope="module")
def data():
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, 600).astype(np.int32)
    return Corpus("tiny", ["<unk>", "<eos>", *(f"w{n}" for n in range(2, VOCABULARY))], {"train": tokens}, {})


def recipe(extra: str, model: str = "") -> str:
    return f'name = "x"\n[model]\n{extra}{model}\n[[stage]]\noptimizer = "adam"\nlr = 0.1\nepochs = 1\n'


def test_recipes_have_the_fields():
    read = parse_recipe(recipe("mogrifier_rounds = 2\nnum_softmaxes = 3\n"), "here")
    assert read.config(50, 0).mogrifier_rounds == 2 and read.config(50, 0).num_softmaxes == 3
    with pytest.raises(RecipeError, match="mogrifier_rounds is -1; it must be at least 0"):
        parse_recipe(recipe("mogrifier_rounds = -1\n"), "here")


@torch.no_grad()
def test_matrices_are_compressed_one_by_one(data):
    model = model_of(projected=True, mogrifier_rounds=2, num_softmaxes=2)
    assert select(model.config, ["mogrifier", "latent"]) == [
        *(f"mogrifier.{layer}.{number}" for layer in (0, 1) for number in (0, 1)), "latent",
    ]  # fmt: skip
    before = model(IDS).logits
    full = low_rank.compress(model, low_rank.Spec(roles=("mogrifier",), rank=5, weighted=False))
    torch.testing.assert_close(full(IDS).logits, before, atol=1e-4, rtol=1e-4)
    one = low_rank.compress(model, low_rank.Spec(roles=("mogrifier.1.0", "prior"), rank=2, weighted=False))
    assert [name for name in one.config.shapes if spec_of(one.config, name)["form"] == "low_rank"] == [
        "mogrifier.1.0", "prior",
    ]  # fmt: skip
    small = quantize.compress(
        low_rank.compress(full, low_rank.Spec(("mogrifier",), 3, weighted=False)), quantize.Spec()
    )
    assert {
        spec_of(small.config, name).get("values", spec_of(small.config, name))["form"] for name in small.config.shapes
    } == {"int8"}
    assert (small(IDS).logits.argmax(-1) == full(IDS).logits.argmax(-1)).float().mean() > 0.4
    pruned = prune.compress(model, prune.Spec(roles=("mogrifier",), sparsity=0.5, criterion="magnitude", refit=False))
    assert matrix_of(pruned, "mogrifier.0.1").to_dense().eq(0).float().mean() == pytest.approx(0.5, abs=0.02)


def test_activations_of_a_mogrifier_weight_its_matrices(data):
    model = model_of(projected=True, mogrifier_rounds=2)
    made = low_rank.compress(model, low_rank.Spec(roles=("mogrifier",), rank=5), data)
    torch.testing.assert_close(made(IDS).logits, model(IDS).logits, atol=1e-3, rtol=1e-3)
    with pytest.raises(RecipeError, match=r"num_softmaxes 2, and activations .* weighted = false"):
        low_rank.compress(model_of(num_softmaxes=2), low_rank.Spec(roles=("layers",), rank=2), data)


@pytest.mark.parametrize("more", BOTH, ids=str)
def test_methods_that_know_the_plain_network_only(more):
    model, told = model_of(**more), rf"this model has {'.*'.join(map(str, *more.items()))}, and"
    calls = [
        lambda: shared_projection.plan(model.config, shared_projection.Spec(rank=3)),
        lambda: prune_units.plan(model.config, prune_units.Spec(keep=3)),
        lambda: narrow_embedding.plan(model.config, narrow_embedding.Spec(size=3, untie=True)),
        lambda: bayes.plan(model.config, bayes.Spec()),
        lambda: shrink(model),
    ]
    for call in calls:
        with pytest.raises(RecipeError, match=told):
            call()


@pytest.mark.parametrize("more", BOTH, ids=str)
def test_engines_that_know_the_plain_network_only(more, tmp_path):
    from bench.opencl.network import plan_of
    from bench.opencl.settings import Settings
    from bench.peers.network import one_step
    from bench.peers.pytorch import by_hand
    from zoo.runtime import NumpyModel

    model = model_of(projected=True, tied=False, **more)
    folder, (name, value) = write_checkpoint(tmp_path / "tiny", model), *more.items()
    calls = [
        lambda: plan_of(NumpyModel(folder), Settings(4, 1), False, 3),
        lambda: file_of(folder),
        lambda: one_step(folder),
        lambda: by_hand(model),
    ]
    for call in calls:
        with pytest.raises(
            ZooError, match=f"has {name} {value}, and .* takes {name} [01] only; take .*numpy, torch or"
        ):
            call()


@pytest.mark.parametrize("more", [*BOTH, {"mogrifier_rounds": 4, "num_softmaxes": 3, "form": "int8"}], ids=str)
@torch.no_grad()
def test_the_step_that_is_exported_and_a_teacher(more):
    model = model_of(**more)
    step = torch.export.export(Step(model), Step(model).example()).module()
    states = [torch.zeros(1, size) for layer in model.model.layers for size in layer.state_sizes]
    for t in range(IDS.shape[1]):
        logits, *states = step(IDS[:, t : t + 1], *states)
    torch.testing.assert_close(logits, model(IDS).logits[:, -1:], atol=1e-4, rtol=1e-4)
    read = parse_recipe(recipe(""), "here")
    options = dataclasses.replace(read.training, teacher_temperature=2.0, precision="no")
    teacher = Teacher(model, dataclasses.replace(read, training=options))
    expected = (model(IDS).logits[0] / 2).softmax(-1)
    torch.testing.assert_close(teacher.probabilities(teacher.features(IDS)), expected, atol=1e-4, rtol=1e-4)


def test_configs_with_other_fields_keep_them():
    config = config_with(model_of(mogrifier_rounds=2, num_softmaxes=3).config, {}, tie_word_embeddings=False)
    assert (config.mogrifier_rounds, config.num_softmaxes) == (2, 3)
    fill(RnnLmForCausalLM(config))
