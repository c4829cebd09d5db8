"""The model classes: cells against plain formulas, state, masks, generation, save and load, training."""

import copy

import pytest
import torch

from zoo import RnnLmCache, RnnLmConfig, RnnLmForCausalLM, RnnLmForSequenceClassification, RnnLmModel
from zoo.cells_rnnlm import LONG

from .models import VARIANTS, VOCABULARY, config_of, fill, model_of, name_of, spec_of

every_variant = pytest.mark.parametrize("variant", VARIANTS, ids=name_of)


def ids_of(batch, time, seed=0):
    return torch.randint(2, VOCABULARY, (batch, time), generator=torch.Generator().manual_seed(seed))


def plain_step(layer, x, h, c):
    """Grachev et al. 2019, eq. 2-3, 11-15, 16-21 written out over dense matrices."""
    W, U, b = layer.input.to_dense(), layer.recurrent.to_dense(), layer.bias
    P = None if layer.projection is None else layer.projection.to_dense()
    a = W @ x + b
    if layer.cell == "lstm":
        i, f, g, o = (a + U @ h).chunk(4)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        out = o.sigmoid() * c.tanh()
        return (out if P is None else P @ out), c
    if layer.cell == "cifg":
        i, g, o = (a + U @ h).chunk(3)
        c = (1 - i.sigmoid()) * c + i.sigmoid() * g.tanh()
        out = o.sigmoid() * c.tanh()
        return (out if P is None else P @ out), c
    if layer.cell == "rnn":
        out = (a + U @ h).tanh()
        return (out if P is None else P @ out), c
    if P is None:
        ar, az, an = a.chunk(3)
        ur, uz, un = (U @ h).chunk(3)
        r, z = (ar + ur).sigmoid(), (az + uz).sigmoid()
        n = (an + r * (un + layer.candidate_bias)).tanh()
    else:
        size = P.shape[0]
        r, z = (a[: 2 * size] + U @ h).sigmoid().chunk(2)
        n = P @ (a[2 * size :] + layer.candidate.to_dense() @ (r * h)).tanh()
    return (1 - z) * n + z * h, c


def plain_logits(model, ids):
    """Logits [T, V] of one sequence, one word and one matrix at a time."""
    config = model.config
    O = config.layer_output_size
    states = [(torch.zeros(O), torch.zeros(config.hidden_size)) for _ in model.model.layers]
    rows = []
    for word in ids.tolist():
        x = model.model.embed_tokens.to_dense()[word]
        for number, layer in enumerate(model.model.layers):
            states[number] = plain_step(layer, x, *states[number])
            x = states[number][0]
        if model.output_projection is not None:
            x = model.output_projection.to_dense() @ x
        rows.append(model.lm_head.to_dense() @ x + model.lm_head.bias)
    return torch.stack(rows)


@every_variant
@torch.no_grad()
def test_logits_are_those_of_the_equations(variant):
    model, ids = model_of(**variant), ids_of(2, 6)
    logits = model(ids).logits
    for row in range(2):
        torch.testing.assert_close(logits[row], plain_logits(model, ids[row]), atol=1e-5, rtol=1e-5)


@every_variant
@torch.no_grad()
def test_state_carries_over_calls(variant):
    model, ids = model_of(**variant), ids_of(3, 7)
    whole = model(ids).logits
    cache, parts = None, []
    for piece in (ids[:, :3], ids[:, 3:4], ids[:, 4:]):
        out = model(piece, past_key_values=cache)
        cache = out.past_key_values
        parts.append(out.logits)
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=1e-5)
    assert cache.get_seq_length() == 7


@every_variant
@torch.no_grad()
def test_step_equals_forward_and_leaves_the_states_given(variant):
    model, ids = model_of(**variant), ids_of(3, 5)
    whole, states = model(ids).logits, None
    for t in range(5):
        logits, after = model.step(ids[:, t], states)
        torch.testing.assert_close(logits, whole[:, t], atol=1e-5, rtol=1e-5)
        again, _ = model.step(ids[:, t], states)
        assert torch.equal(again, logits)
        states = after


@every_variant
@pytest.mark.parametrize("use_cache", [True, False])
@torch.no_grad()
def test_padding_changes_nothing_on_either_side_or_within(variant, use_cache):
    model, ids = model_of(**variant), ids_of(3, 6)
    mask = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [1, 0, 1, 0, 1, 1]])
    out = model(ids, attention_mask=mask, use_cache=use_cache)
    for row in range(3):
        keep = mask[row].bool()
        alone = model(ids[row][keep][None])
        torch.testing.assert_close(out.logits[row][keep], alone.logits[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(out.logits[row, -1], alone.logits[0, -1], atol=1e-5, rtol=1e-5)
        if use_cache:
            for (h, c), (h1, c1) in zip(out.past_key_values.states(), alone.past_key_values.states(), strict=True):
                torch.testing.assert_close(h[row], h1[0], atol=1e-5, rtol=1e-5)
                torch.testing.assert_close(c[row], c1[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("use_cache", [True, False])
@torch.no_grad()
def test_a_pad_before_the_first_word_knows_nothing_of_it(use_cache):
    model, mask = model_of(), torch.tensor([[0, 0, 1, 1], [0, 0, 0, 0]])
    one = model(torch.tensor([[1, 1, 5, 6], [1, 1, 1, 1]]), attention_mask=mask, use_cache=use_cache).logits
    other = model(torch.tensor([[1, 1, 9, 6], [1, 1, 1, 1]]), attention_mask=mask, use_cache=use_cache).logits
    nothing = model.lm_head(torch.zeros(model.config.feature_size))
    assert torch.equal(one[0, :2], other[0, :2])
    torch.testing.assert_close(one[0, :2], nothing.expand(2, -1))
    torch.testing.assert_close(one[1], nothing.expand(4, -1))


@torch.no_grad()
def test_hooks_on_a_matrix_act_on_whole_texts_too():
    model, ids = model_of(), ids_of(2, 5)
    before = model(ids).logits
    handle = model.model.layers[0].input.register_forward_hook(lambda module, args, output: output + 1)
    assert not torch.allclose(model(ids).logits, before)
    handle.remove()
    assert torch.equal(model(ids).logits, before)


@torch.no_grad()
def test_fused_kernel_and_unrolled_loop_agree_in_training_mode():
    for variant in ({"cell": "lstm", "projected": True}, {"cell": "gru"}, {"cell": "rnn"}):
        model, ids = model_of(**variant).train(), ids_of(2, 5)
        fused = model(ids).logits
        for layer in model.model.layers:
            assert layer.has_kernel
            layer.has_kernel = False
        torch.testing.assert_close(model(ids).logits, fused, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_use_cache_false_reads_a_state_but_returns_none_and_leaves_it():
    model, ids = model_of(), ids_of(2, 5)
    cache = model(ids[:, :3]).past_key_values
    before = copy.deepcopy(cache.states())
    out = model(ids[:, 3:], past_key_values=cache, use_cache=False)
    assert out.past_key_values is None
    torch.testing.assert_close(out.logits, model(ids).logits[:, 3:], atol=1e-5, rtol=1e-5)
    for (h, c), (h0, c0) in zip(cache.states(), before, strict=True):
        assert torch.equal(h, h0) and torch.equal(c, c0)


@torch.no_grad()
def test_logits_to_keep_and_hidden_states_and_tuples():
    model, ids = model_of(), ids_of(2, 5)
    full = model(ids, output_hidden_states=True)
    torch.testing.assert_close(model(ids, logits_to_keep=2).logits, full.logits[:, -2:])
    torch.testing.assert_close(model(ids, logits_to_keep=torch.tensor([0, 3])).logits, full.logits[:, [0, 3]])
    assert len(full.hidden_states) == 3
    assert torch.equal(model(ids, return_dict=False)[0], full.logits)
    embeds = model.get_input_embeddings()(ids)
    assert torch.equal(model(inputs_embeds=embeds).logits, full.logits)


@pytest.mark.parametrize("variant", VARIANTS[::4], ids=name_of)
@torch.no_grad()
def test_generate_continues_as_repeated_full_passes_do(variant):
    model, ids = model_of(**variant), ids_of(2, 4)
    model.generation_config.eos_token_id = None
    text = ids
    for _ in range(5):
        text = torch.cat([text, model(text, use_cache=False).logits[:, -1:].argmax(-1)], 1)
    assert torch.equal(model.generate(ids, max_new_tokens=5, do_sample=False), text)
    assert torch.equal(model.generate(ids, max_new_tokens=5, do_sample=False, use_cache=False), text)
    mask = torch.ones(2, 6, dtype=torch.long)
    mask[:, :2] = 0
    left = torch.cat([torch.ones(2, 2, dtype=torch.long), ids], 1)
    assert torch.equal(model.generate(left, attention_mask=mask, max_new_tokens=5, do_sample=False)[:, 2:], text)
    right, mask = torch.cat([ids, torch.ones(2, 2, dtype=torch.long)], 1), mask.flip(1)
    continued = model.generate(right, attention_mask=mask, max_new_tokens=5, do_sample=False)
    assert torch.equal(continued[:, 6:], text[:, 4:])
    cache = RnnLmCache(model.config)
    model(ids[:, :-1], past_key_values=cache)
    assert torch.equal(model.generate(ids, past_key_values=cache, max_new_tokens=5, do_sample=False), text)


@torch.no_grad()
def test_a_state_goes_on_and_can_be_copied_but_not_back():
    model = model_of(cell="lstm").eval()
    ids = torch.tensor([[2, 5, 3, 7]])
    cache = model(ids).past_key_values  # with a graph behind it
    kept = copy.deepcopy(cache)
    assert kept.get_seq_length() == 4 and not kept.states()[0][0].requires_grad
    with pytest.raises(ValueError, match="has read 4 tokens and input_ids has 4; a recurrent state cannot go back"):
        model.generate(ids, past_key_values=cache, max_new_tokens=1)
    longer = torch.cat([ids, torch.tensor([[9]])], dim=1)
    how = {"max_new_tokens": 3, "do_sample": False, "pad_token_id": 0}
    assert model.generate(longer, past_key_values=kept, **how).equal(model.generate(longer, **how))


def test_beam_search_with_state_equals_without_and_sampling_runs():
    model, ids = model_of(), ids_of(2, 4)
    model.generation_config.eos_token_id = None
    beams = {"max_new_tokens": 6, "num_beams": 4, "num_return_sequences": 4, "do_sample": False}
    assert torch.equal(model.generate(ids, **beams), model.generate(ids, use_cache=False, **beams))
    torch.manual_seed(0)
    assert model.generate(ids, max_new_tokens=3, do_sample=True, num_return_sequences=3).shape == (6, 7)
    with pytest.raises(ValueError, match="cache_implementation"):
        model.generate(ids, max_new_tokens=3, cache_implementation="static")


@every_variant
@torch.no_grad()
def test_save_and_load_is_exact_and_keeps_ties(variant, tmp_path):
    model, ids = model_of(**variant), ids_of(2, 4)
    model.save_pretrained(tmp_path)
    loaded, info = RnnLmForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    own = model.state_dict()
    assert all(torch.equal(tensor, own[name]) for name, tensor in loaded.state_dict().items())
    # Sums may be added up in another order where the memory of two equal matrices is aligned differently.
    torch.testing.assert_close(loaded(ids).logits, model(ids).logits, atol=1e-6, rtol=1e-5)
    head, table = dict(loaded.lm_head.named_parameters()), dict(loaded.model.embed_tokens.named_parameters())
    assert all((head[name] is table[name]) == variant["tied"] for name in table)
    assert loaded.num_parameters() == model.num_parameters()
    base = RnnLmModel.from_pretrained(tmp_path)
    features = model.model(ids).last_hidden_state
    torch.testing.assert_close(base(ids).last_hidden_state, features, atol=1e-6, rtol=1e-5)


def test_half_precision_file_loads_in_the_dtype_of_the_config(tmp_path):
    model = model_of()
    model.config.dtype = "float32"
    model.save_pretrained(tmp_path, state_dict={name: t.half() for name, t in model.state_dict().items()})
    loaded = RnnLmForCausalLM.from_pretrained(tmp_path)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}


def test_every_parameter_gets_a_gradient_and_no_tensor_is_left_uninitialised():
    for variant in VARIANTS:
        config = config_of(**variant, layer_dropout=0.1, weight_drop=0.2, embedding_dropout=0.1)
        model = RnnLmForCausalLM(config).train()
        ids = ids_of(3, 6)
        loss = model(ids, labels=ids).loss
        loss.backward()
        for name, parameter in model.named_parameters():
            assert torch.isfinite(parameter).all(), name
            if parameter.requires_grad:
                assert parameter.abs().max() < 5 and parameter.grad is not None, name


@pytest.mark.parametrize("variant", VARIANTS, ids=name_of)
def test_long_texts_through_the_kernel_equal_single_steps(variant):
    model, ids = model_of(**variant), ids_of(2, LONG + 3)
    with torch.no_grad():
        states, stepped = None, []
        for column in ids.T:
            logits, states = model.step(column, states)
            stepped.append(logits)
        torch.testing.assert_close(model(ids).logits, torch.stack(stepped, dim=1), atol=1e-4, rtol=1e-4)


def test_dropouts_act_in_training_only():
    ids = ids_of(2, 6)
    for name in ("input_dropout", "layer_dropout", "output_dropout", "embedding_dropout", "weight_drop"):
        for form in ("dense", "low_rank"):
            model = fill(RnnLmForCausalLM(config_of(form=form, **{name: 0.5})))
            assert torch.equal(model(ids).logits, model(ids).logits)
            model.train()
            assert not torch.equal(model(ids).logits, model(ids).logits), (name, form)


def test_variational_dropout_uses_one_mask_per_sequence():
    for variational in (True, False):
        model = RnnLmForCausalLM(config_of(output_dropout=0.5, variational=variational)).train()
        model.output_projection = None
        dropped = model.readout(torch.ones(4, 50, 9)).eq(0)
        same = (dropped == dropped[:, :1]).all()
        assert bool(same) is variational


def test_truncated_bptt_detaches_and_gradient_checkpointing_equals_plain():
    model, ids = model_of().train(), ids_of(2, 6)
    cache = model.model(ids).past_key_values
    assert cache.states()[0][0].requires_grad
    assert not cache.detach().states()[0][0].requires_grad
    model(ids, labels=ids, use_cache=False).loss.backward()
    plain = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    model.gradient_checkpointing_enable()
    model(ids, labels=ids).loss.backward()
    for a, p in zip(plain, model.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad)
    cache = RnnLmCache.from_states(model.config, [(h.detach(), c.detach()) for h, c in cache.states()])
    carried = model(ids, past_key_values=cache).logits
    model.gradient_checkpointing_disable()
    torch.testing.assert_close(carried, model(ids, past_key_values=cache, use_cache=False).logits)


@torch.no_grad()
def test_reset_forgets_the_state_and_leaves_outputs_alone():
    model, ids = model_of(), ids_of(2, 1)
    out = model(ids, output_hidden_states=True)
    kept = out.hidden_states[-1].clone()
    out.past_key_values.reset()
    assert torch.equal(out.hidden_states[-1], kept)
    torch.testing.assert_close(model(ids, past_key_values=out.past_key_values).logits, out.logits)


def test_classification_reads_the_last_word_on_any_padding_side():
    torch.manual_seed(0)
    model = fill(RnnLmForSequenceClassification(config_of(num_labels=3)))
    ids = ids_of(1, 4)
    pad = torch.full((1, 2), 1)
    alone = model(ids).logits
    for text, mask in (
        (torch.cat([pad, ids], 1), [[0, 0, 1, 1, 1, 1]]),
        (torch.cat([ids, pad], 1), [[1, 1, 1, 1, 0, 0]]),
    ):
        torch.testing.assert_close(model(text, attention_mask=torch.tensor(mask)).logits, alone)
    assert model(ids, labels=torch.tensor([2])).loss.item() > 0
    regression = fill(RnnLmForSequenceClassification(config_of(num_labels=1)))
    torch.testing.assert_close(
        regression(ids, labels=torch.tensor([0.5])).loss, (regression(ids).logits[0, 0] - 0.5) ** 2
    )


KINDS = [
    "dense",
    "low_rank",
    "tensor_train",
    "sparse",
    "int8",
    "int8-range",
    "int4",
    "tensor_train-int4",
    "sparse-int8",
]


@pytest.mark.parametrize("form", KINDS)
def test_ids_outside_the_vocabulary_and_empty_inputs_in_every_form(form):
    model = model_of(form=form).eval()
    for bad in (-1, -2, -100, 31, 32):
        for call in (lambda ids: model(ids), lambda ids: model.step(ids[:, 1])):
            with pytest.raises(IndexError, match=rf"holds the id {bad}; this vocabulary of 31 words"):
                call(torch.tensor([[3, bad]]))
    with pytest.raises(ValueError, match=r"shape \(2, 0\).*give at least one word"):
        model(torch.zeros(2, 0, dtype=torch.long))
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        model(torch.tensor([1, 2, 3]))
    assert model(torch.zeros(0, 3, dtype=torch.long)).logits.shape == (0, 3, 31)
    with pytest.raises(TypeError, match="ids are whole numbers"):
        model(torch.tensor([[3.0, 4.0]]))


@pytest.mark.parametrize("form", KINDS)
def test_no_storage_is_needed_to_build_a_model(form):
    with torch.device("meta"):
        model = RnnLmForCausalLM(config_of(form=form))
    assert all(parameter.is_meta for parameter in model.parameters())


@pytest.mark.parametrize("form", KINDS[1:6])
def test_only_dense_words_are_resized(form):
    head = config_of(tied=False, weights={"head": spec_of(form, 31, 9)})
    for model in (model_of(form=form), RnnLmForCausalLM(head)):
        words = model.get_input_embeddings()
        for options in ({"new_num_tokens": 55}, {"pad_to_multiple_of": 64}):
            with pytest.raises(
                ValueError, match=f"stored as {form.partition('-')[0]}; only a dense one can be resized"
            ):
                model.resize_token_embeddings(**options)
        assert model.get_input_embeddings() is words


def test_errors_name_what_is_wrong():
    model, ids = model_of(), ids_of(2, 4)
    with pytest.raises(IndexError, match="id 31; this vocabulary of 31 words has ids 0 to 30"):
        model(torch.tensor([[3, 31]]))
    with pytest.raises(IndexError, match="id -1"):
        model(torch.tensor([[-1]]))
    with pytest.raises(ValueError, match="past_key_values holds a state of shape"):
        model(ids[:1], past_key_values=model(ids).past_key_values)
    with pytest.raises(TypeError, match="RnnLmCache"):
        model(ids, past_key_values=((1, 2),))
    with pytest.raises(ValueError, match="attention_mask has shape"):
        model(ids, attention_mask=torch.ones(2, 3))
    with pytest.raises(ValueError, match="exactly one"):
        model()
    with pytest.raises(ValueError, match="has 1 layers, the model 2"):
        model(ids, past_key_values=RnnLmCache(config_of(layers=1)))
    with pytest.raises(ValueError, match="holds a state of shapes"):
        model(ids, past_key_values=model_of(cell="gru")(ids).past_key_values)
    with pytest.raises(ValueError, match="give at least one word"):
        model(ids[:, :0])
    with pytest.raises(ValueError, match="stored as low_rank"):
        model_of(form="low_rank").resize_token_embeddings(50)
    with pytest.raises(NotImplementedError, match="cannot be cropped"):
        model(ids).past_key_values.crop(2)


def test_resize_token_embeddings_keeps_the_tie():
    model = model_of()
    model.resize_token_embeddings(VOCABULARY + 4)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert model(ids_of(1, 3)).logits.shape[-1] == VOCABULARY + 4


def test_parameter_count_of_the_papers_tied_200():
    config = RnnLmConfig(vocab_size=10000, embedding_size=200, hidden_size=200)
    assert RnnLmForCausalLM(config).num_parameters() == 10000 * 200 + 10000 + 2 * (800 * 400 + 800)
