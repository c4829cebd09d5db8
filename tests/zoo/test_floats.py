"""Integers as floats again: the same model, which learns."""

from __future__ import annotations

import pytest
import torch

from zoo.configuration_rnnlm import RnnLmConfig
from zoo.floats import float_config, float_tensors
from zoo.modeling_rnnlm import RnnLmForCausalLM

INT4, INT8, RANGE = {"form": "int4", "group": 4}, {"form": "int8", "scheme": "row"}, {"form": "int8", "scheme": "range"}
FORMS = {
    "int4": INT4,
    "int8": INT8,
    "range": RANGE,
    "low_rank": {"form": "low_rank", "rank": 3, "values": INT8},
    "tensor_train": {"form": "tensor_train", "row_modes": [4, 8], "column_modes": [2, 4], "ranks": [3], "values": INT8},
    "sparse": {"form": "sparse", "nonzeros": 40, "values": {"form": "int8"}},
}


def model_of(form: dict) -> RnnLmForCausalLM:
    torch.manual_seed(0)
    sizes = dict(vocab_size=19, embedding_size=8, hidden_size=8, num_hidden_layers=1)
    return RnnLmForCausalLM(RnnLmConfig(**sizes, weights={"recurrent.0": form, "embed": INT4}))


@pytest.mark.parametrize("name", FORMS)
def test_floats_are_what_the_integers_stand_for_and_learn(name: str):
    model = model_of(FORMS[name]).eval()
    config = float_config(model.config)
    floats = RnnLmForCausalLM(config).eval()
    floats.load_state_dict(float_tensors(model))
    ids = torch.arange(19)[None]
    torch.testing.assert_close(floats(ids).logits, model(ids).logits, rtol=1e-4, atol=1e-5)
    assert model.config.weights["recurrent.0"] == FORMS[name]
    assert not any("int" in str(spec) for spec in config.weights.values())
    assert (kept := config.weights.get("recurrent.0", {"form": "dense"})["form"]) in (name, "dense")
    assert (kept == "dense") == (name in ("int4", "int8", "range"))
    floats(ids, labels=ids).loss.backward()
    assert all(tensor.grad is not None for tensor in floats.parameters() if tensor.is_floating_point())
