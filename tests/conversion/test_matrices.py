"""Matrices by name, and models with some of them in other forms."""

import pytest
import torch

from conversion.matrices import config_with, matrix_of, prefix_of, select, spec_of, untied, with_forms
from zoo.errors import RecipeError
from zoo.weights_rnnlm import FORMS

from ..zoo.models import FORMS as FORM_NAMES

from ..zoo.models import config_of, model_of, spec_of as form_spec  # isort: skip

IDS = torch.tensor([[3, 5, 7, 2]])


def test_names_are_the_models_own():
    for cell, projected, tied in (("lstm", True, True), ("gru", True, False), ("rnn", False, True)):
        model = model_of(cell=cell, projected=projected, tied=tied)
        names = list(model.config.shapes)
        assert ("head" in names) != tied and ("candidate.1" in names) == (cell == "gru" and projected)
        for name, shape in model.config.shapes.items():
            assert matrix_of(model, name).to_dense().shape == shape
            assert f"{prefix_of(name)}.weight" in model.state_dict()
        held = {f"{prefix_of(name)}.weight" for name in names} | ({"lm_head.weight"} if tied else set())
        assert held == {name for name, p in model.state_dict().items() if p.dim() == 2}


def test_roles_stand_for_matrices():
    config = config_of(projected=True, tied=False)
    assert select(config, ["recurrent", "head"]) == ["recurrent.0", "recurrent.1", "head"]
    assert select(config, ["input.1"]) == ["input.1"]
    assert select(config, ["layers"]) == [name for name in config.shapes if "." in name]
    assert select(config, ["all", "embed"]) == list(config.shapes)


@pytest.mark.parametrize(
    ("role", "message"),
    [
        ("head", "tied to the embedding.*untie"),
        ("recurent", "did you mean recurrent"),
        ("input.2", "allowed: all, layers, embed"),
        ("projection", "no matrix"),
    ],
)
def test_unknown_roles_are_refused(role, message):
    with pytest.raises(RecipeError, match=message):
        select(config_of(), [role])


@pytest.mark.parametrize("form", FORM_NAMES)
@pytest.mark.parametrize("tied", [True, False])
def test_a_matrix_in_another_form_changes_nothing_else(form, tied):
    model = model_of(tied=tied)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for name in ("embed", "recurrent.1"):
        spec = form_spec(form, *model.config.shapes[name])
        tensors = FORMS[spec["form"]].from_dense(matrix_of(model, name).to_dense(), spec)
        made = with_forms(model, {name: (spec, tensors)})
        assert spec_of(made.config, name) == spec and not made.training
        assert {n: s for n in made.config.shapes if (s := spec_of(made.config, n)) != {"form": "dense"}} == {name: spec}
        twin = model_of(tied=tied)  # the same numbers, stored whole
        with torch.no_grad():
            matrix_of(twin, name).weight.copy_(matrix_of(made, name).to_dense())
            torch.testing.assert_close(made(IDS).logits, twin(IDS).logits, atol=1e-4, rtol=1e-4)
        assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


def test_forms_are_kept_when_others_change_and_candidates_are_their_own():
    model = model_of(cell="gru", projected=True)
    low = {"form": "low_rank", "rank": 2}
    tensors = FORMS["low_rank"].from_dense(matrix_of(model, "recurrent.0").to_dense(), low)
    made = with_forms(model, {"recurrent.0": (low, tensors)})
    assert spec_of(made.config, "candidate.0") == {"form": "dense"}
    row = {"form": "int8", "scheme": "row"}
    again = with_forms(made, {"embed": (row, FORMS["int8"].from_dense(matrix_of(made, "embed").to_dense(), row))})
    assert spec_of(again.config, "recurrent.0") == low and spec_of(again.config, "embed") == row
    assert again.lm_head.weight is again.model.embed_tokens.weight


def test_untying_keeps_the_function_and_parts_the_matrices():
    model = model_of(tied=True)
    own = untied(model)
    assert untied(own) is own
    assert torch.equal(own(IDS).logits, model(IDS).logits)
    with torch.no_grad():
        own.lm_head.weight.zero_()
    assert own.model.embed_tokens.weight.abs().sum() > 0
    assert model.lm_head.weight is model.model.embed_tokens.weight


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"form": "low_rank", "rank": 20}, r"^weights of embed of form low_rank: rank 20 .* at most 7$"),
        ({"form": "int8", "scheme": "column"}, "^weights of embed"),
    ],
)
def test_impossible_forms_are_refused_in_one_line(spec, message):
    with pytest.raises(RecipeError, match=message):
        config_with(config_of(), {"embed": spec})
