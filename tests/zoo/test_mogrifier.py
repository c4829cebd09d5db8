"""Mogrifier gating: against plain formulas, state, masks, gradients, forms, files, the step without torch, refusals."""

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError

from zoo import RnnLmConfig, RnnLmForCausalLM
from zoo.cells_rnnlm import LONG
from zoo.configuration_rnnlm import GATES
from zoo.counts import count, parameters_of, total
from zoo.errors import CheckpointError, ZooError
from zoo.layout import layout_of, prefix_of, read_layout
from zoo.plain_network import check_plain
from zoo.runtime import NumpyModel

from .folders import write_checkpoint
from .models import GATED, VOCABULARY, config_of, fill, model_of, name_of
from .test_modeling import ids_of, plain_step

gated = pytest.mark.parametrize("variant", GATED, ids=name_of)


def plain_logits(model, ids):
    """Logits [T, V] of one sequence: eq. 1-2 of Melis et al. 2020 before the cell, one word and matrix at a time."""
    config = model.config
    states = [(torch.zeros(config.layer_output_size), torch.zeros(config.hidden_size)) for _ in model.model.layers]
    rows = []
    for word in ids.tolist():
        x = model.model.embed_tokens.to_dense()[word]
        for number, layer in enumerate(model.model.layers):
            h, c = states[number]
            for i, form in enumerate(layer.mogrifier, 1):
                if i % 2 == 1:
                    x = 2 * torch.sigmoid(form.to_dense() @ h) * x
                else:
                    h = 2 * torch.sigmoid(form.to_dense() @ x) * h
            states[number] = plain_step(layer, x, h, c)
            x = states[number][0]
        if model.output_projection is not None:
            x = model.output_projection.to_dense() @ x
        rows.append(model.lm_head(x))
    return torch.stack(rows)


@gated
@torch.no_grad()
def test_logits_are_those_of_the_equations_by_steps_and_as_a_whole(variant):
    model, ids = model_of(**variant), ids_of(2, LONG + 2)
    logits, states = model(ids).logits, None
    for row in range(2):
        torch.testing.assert_close(logits[row], plain_logits(model, ids[row]), atol=1e-4, rtol=1e-4)
    for t in range(ids.shape[1]):
        stepped, states = model.step(ids[:, t], states)
        torch.testing.assert_close(stepped, logits[:, t], atol=1e-4, rtol=1e-4)
    cache, parts = None, []
    for piece in (ids[:, :3], ids[:, 3:4], ids[:, 4:]):
        out = model(piece, past_key_values=cache)
        cache = out.past_key_values
        parts.append(out.logits)
    torch.testing.assert_close(torch.cat(parts, 1), logits, atol=1e-4, rtol=1e-4)


@gated
@pytest.mark.parametrize("use_cache", [True, False])
@torch.no_grad()
def test_padding_leaves_the_state_as_it_was(variant, use_cache):
    model, ids = model_of(**variant), ids_of(3, 6)
    mask = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [1, 0, 1, 0, 1, 1]])
    out = model(ids, attention_mask=mask, use_cache=use_cache)
    for row in range(3):
        alone = model(ids[row][mask[row].bool()][None])
        torch.testing.assert_close(out.logits[row, -1], alone.logits[0, -1], atol=1e-5, rtol=1e-5)
        if use_cache:
            for (h, c), (h1, c1) in zip(out.past_key_values.states(), alone.past_key_values.states(), strict=True):
                torch.testing.assert_close(h[row], h1[0], atol=1e-5, rtol=1e-5)
                torch.testing.assert_close(c[row], c1[0], atol=1e-5, rtol=1e-5)


@gated
def test_gradients_reach_every_number_and_are_those_of_the_equations(variant):
    model, ids = model_of(**variant).train(), ids_of(1, 4)
    plain_logits(model, ids[0]).square().sum().backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    model(ids).logits.square().sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad.abs().sum() > 0, name
            torch.testing.assert_close(parameter.grad, expected[name], atol=1e-2, rtol=1e-3)


@pytest.mark.parametrize("form", ["dense", "low_rank"])
def test_autocast_keeps_the_loop_in_the_dtype_of_the_weights(form):
    model, ids = model_of(form=form, mogrifier_rounds=3).train(), ids_of(2, 6)
    for cache in (None, model.model(ids).past_key_values.detach()):
        exact = model(ids, past_key_values=cache, use_cache=False).logits
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = model.model(ids, past_key_values=cache, use_cache=False).last_hidden_state
            near = model(ids, past_key_values=cache, use_cache=False).logits
        assert hidden.dtype == torch.float32
        torch.testing.assert_close(near.float(), exact, atol=0.1, rtol=0.05)


def test_gates_start_near_one_and_nothing_else_changes():
    torch.manual_seed(0)
    model, ids = RnnLmForCausalLM(RnnLmConfig(vocab_size=50, mogrifier_rounds=5)).eval(), torch.arange(20)[None]
    x, h = torch.randn(9, 200), torch.rand(9, 200) * 2 - 1
    with torch.no_grad():
        for before, after in zip((x, h), model.model.layers[1].mogrify(x, h), strict=True):
            torch.testing.assert_close(after, before, atol=0.3, rtol=0.3)
            assert not torch.equal(after, before)
        mine = {name: tensor for name, tensor in model.state_dict().items() if "mogrifier" not in name}
        plain = RnnLmForCausalLM(RnnLmConfig(vocab_size=50)).eval()
        plain.load_state_dict(mine)
        for parameter in model.model.layers.parameters():
            parameter.mul_(0 if parameter.shape == (200, 200) else 1)  # gates of 2 sigmoid(0) = 1
        torch.testing.assert_close(model(ids).logits, plain(ids).logits, atol=1e-5, rtol=1e-5)


@gated
@torch.no_grad()
def test_files_and_the_step_without_torch(variant, tmp_path):
    model, ids = model_of(**variant), [1, 5, 30, 0, 7]
    model.save_pretrained(tmp_path / "saved")
    loaded, info = RnnLmForCausalLM.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    logits = model(torch.tensor([ids])).logits[0]
    torch.testing.assert_close(loaded(torch.tensor([ids])).logits[0], logits, atol=1e-5, rtol=1e-5)
    folder = write_checkpoint(tmp_path / "tiny", model)
    numpy_model, state = NumpyModel(folder), None
    for token, expected in zip(ids, logits.log_softmax(-1), strict=True):
        found, state = numpy_model.step(token, state)
        np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-5)
    layout, parts = read_layout(folder), count(folder)
    assert layout.shapes == model.config.shapes
    for name in layout.shapes:
        role, _, place = name.partition(".")
        assert layout.spec(name) == model.config.form_of(role, place or None)
    rounds = variant["mogrifier_rounds"]
    assert sum(part.role == "mogrifier" for part in parts) == rounds * len(model.model.layers)
    assert total(parts)["parameters"] == sum(parameters_of(layout).values())
    assert f", {rounds} Mogrifier rounds, embedding" in layout.describe()


def test_forms_of_layers_and_rounds():
    low, less = ({"form": "low_rank", "rank": rank} for rank in (3, 2))
    weights = {"mogrifier": low, "mogrifier.1": less, "mogrifier.1.2": {"form": "int8", "scheme": "row"}}
    config = config_of(mogrifier_rounds=3, weights=weights)
    layout = layout_of(config.to_dict())
    assert config.shapes["mogrifier.0.0"] == (7, 9) and config.shapes["mogrifier.0.1"] == (9, 7)
    for name, form in (("0.0", low), ("1.0", less), ("1.2", weights["mogrifier.1.2"])):
        assert config.form_of("mogrifier", name) == layout.spec(f"mogrifier.{name}") == form
    assert prefix_of("mogrifier.1.2") == "model.layers.1.mogrifier.2"
    model = fill(RnnLmForCausalLM(config))
    assert model.get_submodule(prefix_of("mogrifier.1.0")).left.weight.shape == (9, 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mogrifier_rounds": -1}, "mogrifier_rounds .* at least 0"),
        ({"weights": {"mogrifier": {"form": "dense"}}}, "'mogrifier', which this model has not"),
        ({"mogrifier_rounds": 2, "weights": {"mogrifier.0.2": {"form": "dense"}}}, "mogrifier.0.2"),
        ({"mogrifier_rounds": 2, "weights": {"mogrifier.2": {"form": "dense"}}}, "mogrifier.2"),
        ({"mogrifier_rounds": 2, "weights": {"mogrifier": {"form": "low_rank", "rank": 300}}}, "of mogrifier.0.0"),
    ],
)
def test_what_no_model_can_have(wrong, message):
    with pytest.raises(StrictDataclassClassValidationError, match=message):
        RnnLmConfig(**wrong)
    given = RnnLmConfig().to_dict() | wrong
    with pytest.raises(CheckpointError, match="mogrifier"):
        layout_of(given)


def test_configs_from_before_load_and_what_is_not_written_for_it_says_so():
    old = {
        name: value
        for name, value in RnnLmConfig().to_dict().items()
        if name not in ("mogrifier_rounds", "num_softmaxes")
    }
    assert layout_of(old) == layout_of(RnnLmConfig().to_dict())
    check_plain(layout_of(old), "this", "do that")
    config = RnnLmConfig(mogrifier_rounds=2, num_softmaxes=3)
    told = "has mogrifier_rounds 2 and num_softmaxes 3, and this takes mogrifier_rounds 0 and num_softmaxes 1 only; do"
    for network in (config, layout_of(config.to_dict())):
        with pytest.raises(ZooError, match=told):
            check_plain(network, "this", "do that")


def test_it_has_no_kernel_and_one_without_it_keeps_its_own():
    for cell in GATES:
        assert not any(layer.has_kernel for layer in model_of(cell=cell, mogrifier_rounds=1).model.layers)
        assert all(layer.has_kernel for layer in model_of(cell=cell).model.layers)
    assert model_of(mogrifier_rounds=1)(ids_of(1, 2)).logits.shape[-1] == VOCABULARY
