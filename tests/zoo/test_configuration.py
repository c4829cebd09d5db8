"""The config: every misspelt, wrong-typed or impossible argument is refused by name; a round trip keeps all of it."""

import json

import pytest
from huggingface_hub.errors import StrictDataclassClassValidationError, StrictDataclassFieldValidationError

from zoo import RnnLmConfig

from .models import VARIANTS, config_of, name_of


def test_misspelt_argument_is_refused_and_the_right_names_are_listed():
    with pytest.raises(TypeError, match=r"no argument hiden_size; it takes: .*hidden_size"):
        RnnLmConfig(hiden_size=3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"hidden_size": "200"},
        {"hidden_size": 200.0},
        {"vocab_size": True},
        {"cell": "lstms"},
        {"weights": [1]},
        {"input_dropout": "0.1"},
        {"projection_size": "none"},
        {"variational": 1},
    ],
    ids=str,
)
def test_wrong_types_are_refused_at_construction_and_on_setting(wrong):
    name, value = next(iter(wrong.items()))
    with pytest.raises(StrictDataclassFieldValidationError, match=name):
        RnnLmConfig(**wrong)
    with pytest.raises(StrictDataclassFieldValidationError, match=name):
        setattr(RnnLmConfig(), name, value)


@pytest.mark.parametrize(
    ("impossible", "message"),
    [
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0; it must be at least 1"),
        ({"projection_size": 0}, "projection_size is 0"),
        ({"output_dropout": 1.0}, "below 1"),
        ({"embedding_size": 100}, "set output_projection_size=100 or tie_word_embeddings=False"),
        ({"weights": {"embedding": {"form": "dense"}}}, "roles are embed, input"),
        ({"weights": {"input.2": {"form": "dense"}}}, "layers are 0 to 1"),
        ({"weights": {"embed.0": {"form": "dense"}}}, "roles are"),
        ({"weights": {"input.00": {"form": "dense"}}}, "layers are 0 to 1"),
        ({"weights": {"recurrent.": {"form": "dense"}}}, "layers are 0 to 1"),
        ({"weights": {"projection": {"form": "dense"}}}, "set projection_size or leave it out"),
        ({"weights": {"head": {"form": "dense"}}}, "tied to 'embed'"),
        ({"weights": {"input": {"form": "lowrank"}}}, "dense, int8, int4, low_rank"),
        ({"weights": {"input": {"form": "low_rank"}}}, r"takes \['rank'\]"),
        ({"weights": {"input": {"form": "low_rank", "rank": 0}}}, "positive whole number"),
        ({"weights": {"input": {"form": "dense", "rank": 2}}}, "has the fields"),
    ],
    ids=str,
)
def test_impossible_sizes_and_forms_are_refused(impossible, message):
    with pytest.raises(StrictDataclassClassValidationError, match=message):
        RnnLmConfig(**impossible)


@pytest.mark.parametrize("variant", VARIANTS, ids=name_of)
def test_round_trip_through_a_file(variant, tmp_path):
    config = config_of(**variant, weight_drop=0.25)
    config.save_pretrained(tmp_path)
    loaded = RnnLmConfig.from_pretrained(tmp_path)
    assert loaded.to_dict() == config.to_dict()
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "rnnlm"


def test_a_layers_own_form_comes_before_the_roles():
    low = {"form": "low_rank", "rank": 4}
    config = RnnLmConfig(weights={"recurrent": low, "recurrent.1": {"form": "dense"}})
    assert config.form_of("recurrent", 0) == low
    assert config.form_of("recurrent", 1) == config.form_of("input", 0) == {"form": "dense"}


def test_the_tied_heads_form_is_the_embeddings():
    low = {"form": "low_rank", "rank": 4}
    assert RnnLmConfig(weights={"embed": low}).form_of("head") == low
    assert RnnLmConfig(weights={"embed": low}, tie_word_embeddings=False).form_of("head") == {"form": "dense"}
