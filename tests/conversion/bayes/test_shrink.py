"""Models with zeros made small: they give the same outputs, and what does nothing is gone."""

import pytest
import torch

from conversion.bayes.needed import CANDIDATE
from conversion.bayes.shrink import shrink, structure_of
from conversion.matrices import spec_of, with_forms
from tests.zoo.models import HIDDEN, VOCABULARY
from zoo import RnnLmForCausalLM
from zoo.errors import VocabularyError
from zoo.weights_rnnlm import FORMS

from .sparsified import IDS, KINDS, check_same, made, real, sparsify, weight


@pytest.mark.parametrize("share", [0.2, 0.5])
@pytest.mark.parametrize(("cell", "projected", "head"), KINDS)
def test_outputs_stay_the_same(cell: str, projected: bool, head: str, share: float):
    seed = KINDS.index((cell, projected, head))
    model = sparsify(made(cell, projected, head, layers=1 + seed % 3), share, seed)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    shrunk = shrink(model)
    check_same(model, shrunk)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert type(shrunk.model) is type(model) and not shrunk.model.training
    assert shrunk.model.config.num_labels == model.config.num_labels
    counts, same = structure_of(model), shrunk.structure
    assert same == structure_of(shrunk.model)
    added = same["matrices"].keys() - counts["matrices"].keys()
    assert added == ({"output_projection"} if shrunk.model.config.output_projection_size and added else set())
    extra = sum(same["matrices"][name]["nonzeros"] for name in added)
    for count in ("words", "input", "hidden", "gates"):
        assert same[count] == counts[count], count
    assert same["weights"] == counts["weights"] + extra
    again = shrink(shrunk.model).model
    assert again.config.shapes == shrunk.model.config.shapes


@pytest.mark.parametrize(("cell", "projected", "head"), KINDS)
def test_without_zeros_nothing_changes(cell: str, projected: bool, head: str):
    model = made(cell, projected, head)
    shrunk = shrink(model)
    assert shrunk.words is None and shrunk.zero_word is None
    assert shrunk.model is not model and shrunk.model.config.shapes == model.config.shapes
    assert all(spec_of(shrunk.model.config, name) == {"form": "dense"} for name in model.config.shapes)
    tensors = shrunk.model.state_dict()
    assert tensors.keys() == model.state_dict().keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(("cell", "projected", "head"), KINDS)
@torch.no_grad()
def test_of_zeros_a_constant_is_left(cell: str, projected: bool, head: str):
    model = made(cell, projected, head)
    for name in real(model):
        weight(model, name).zero_()
    shrunk = shrink(model, keep_words=[3])
    check_same(model, shrunk)
    config = shrunk.model.config
    assert config.hidden_size == config.embedding_size == 1
    assert config.projection_size == (1 if projected else None)
    assert config.output_projection_size in (1, None)
    if hasattr(model, "score"):
        assert shrunk.words == [0, 1, 3] and shrunk.zero_word == 0 and config.eos_token_id == 1
    assert shrunk.structure["weights"] == shrunk.structure["words"] == shrunk.structure["input"] == 0
    assert shrunk.structure["hidden"] == shrunk.structure["gates"] == [0, 0]


@torch.no_grad()
def test_units_that_only_read_each_other_go():
    model = made(layers=1)
    head, recurrent = model.lm_head.weight, model.model.layers[0].recurrent.weight
    head[:, 4:] = 0
    recurrent.view(4, HIDDEN, HIDDEN)[:, :4, 4:] = 0  # 4 to 8 read all, and are read by themselves
    shrunk = shrink(model)
    check_same(model, shrunk)
    assert shrunk.model.config.hidden_size == 4 and shrunk.structure["hidden"] == 4
    assert shrunk.structure["gates"] == 16


@torch.no_grad()
def test_layers_of_different_width_are_filled_up():
    model = made(layers=2)
    recurrent, above = model.model.layers[0].recurrent.weight, model.model.layers[1].input.weight
    recurrent[:, 3:] = 0
    above[:, 3:] = 0
    model.lm_head.weight[:, 6:] = 0
    model.model.layers[1].recurrent.weight[:, 6:] = 0
    shrunk = shrink(model)
    check_same(model, shrunk)
    assert shrunk.model.config.hidden_size == 6
    assert shrunk.structure["hidden"] == [3, 6] and shrunk.structure["gates"] == [12, 24]
    assert spec_of(shrunk.model.config, "recurrent.0")["form"] == "sparse"


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@torch.no_grad()
def test_only_what_is_provably_zero_goes(cell: str):
    model = made(cell, layers=1)
    layer, row = model.model.layers[0], CANDIDATE[cell] * HIDDEN + 2
    layer.input.weight[row] = layer.recurrent.weight[row] = 0
    assert shrink(model).structure["hidden"] == HIDDEN  # it has a bias
    layer.bias[row] = 0
    if cell == "gru":
        assert shrink(model).structure["hidden"] == HIDDEN  # it has another one
        layer.candidate_bias[2] = 0
    shrunk = shrink(model)
    check_same(model, shrunk)
    assert shrunk.model.config.hidden_size == HIDDEN - 1


@torch.no_grad()
def test_a_tied_head_gets_a_map_only_where_it_needs_one():
    model = made(head="tied without a map", layers=2)
    model.model.layers[0].recurrent.weight[:, 5:] = 0
    model.model.layers[1].input.weight[:, 5:] = 0
    assert shrink(model).model.config.output_projection_size is None  # the last layer is as wide as ever
    model.model.embed_tokens.weight[:, 7:] = 0
    model.model.layers[1].recurrent.weight[:, 7:] = 0
    shrunk = shrink(model)  # units and elements go together
    check_same(model, shrunk)
    config = shrunk.model.config
    assert config.output_projection_size is None and config.hidden_size == config.embedding_size == 7
    model = made(head="tied without a map", layers=1)
    model.model.embed_tokens.weight[:, 7:] = 0  # the recurrence still reads these units
    shrunk = shrink(model)
    check_same(model, shrunk)
    config = shrunk.model.config
    assert config.output_projection_size == config.embedding_size == 7 and config.hidden_size == HIDDEN
    assert shrunk.model.lm_head.weight is shrunk.model.model.embed_tokens.weight


@torch.no_grad()
def test_words_become_one_whose_vector_is_zero():
    model = made(head="classifier", layers=1)
    table = model.model.embed_tokens.weight
    table[4:20] = 0
    shrunk = shrink(model, keep_words=[5, 30])
    check_same(model, shrunk)
    assert shrunk.words == [0, 1, 2, 3, 4, 5, *range(20, VOCABULARY)] and shrunk.zero_word == 4
    assert shrunk.structure["words"] == VOCABULARY - 16
    assert len(shrunk.words) == shrunk.model.config.vocab_size
    shrunk = shrink(model, unknown=7)  # its own vector is zero
    check_same(model, shrunk)
    assert shrunk.words == [0, 1, 2, 3, 7, *range(20, VOCABULARY)] and shrunk.zero_word == 4
    shrunk = shrink(model, unknown=2)  # its own vector says something
    check_same(model, shrunk)
    assert shrunk.words[shrunk.zero_word] == 4
    with pytest.raises(VocabularyError, match=f"word {VOCABULARY} .* 0 to {VOCABULARY - 1}"):
        shrink(model, keep_words=[VOCABULARY])


@torch.no_grad()
def test_special_words_keep_their_ids():
    model = made(head="classifier", layers=1, eos_token_id=[9, 20], pad_token_id=30, bos_token_id=25)
    model.model.embed_tokens.weight[5:] = 0
    shrunk = shrink(model)
    check_same(model, shrunk)
    config = shrunk.model.config
    assert shrunk.words == [0, 1, 2, 3, 4, 5, 9, 20, 25, 30] and shrunk.zero_word == 5
    assert (config.eos_token_id, config.bos_token_id, config.pad_token_id) == ([6, 7], 8, 9)


@torch.no_grad()
def test_gates_and_numbers_are_counted():
    model = made(head="classifier", layers=1)
    layer = model.model.layers[0]
    for tensor in (layer.input.weight, layer.recurrent.weight, model.score.weight):
        tensor.zero_()
    model.score.weight[1, :2] = 1.0
    layer.input.weight[2 * HIDDEN, 3] = 1.0  # g of unit 0 reads an element, g of unit 1 reads unit 0
    layer.recurrent.weight[2 * HIDDEN + 1, 0] = 1.0
    layer.recurrent.weight[3 * HIDDEN + 5, 0] = 1.0  # o of a unit that nobody reads
    found = structure_of(model)
    assert found.pop("matrices")["recurrent.0"] == {"rows": 4 * HIDDEN, "columns": HIDDEN, "nonzeros": 1}
    words = VOCABULARY
    assert found == {"words": words, "input": 1, "hidden": 2, "gates": 2, "weights": words + 4}
    shrunk = shrink(model)
    check_same(model, shrunk)
    assert shrunk.model.config.shapes["input.0"] == (8, 1)


@torch.no_grad()
def test_zeros_are_stored_sparsely_where_that_is_smaller():
    model = made(layers=1, hidden_size=20)
    torch.manual_seed(0)
    few, many = model.model.layers[0].recurrent.weight, model.lm_head.weight
    few[torch.rand(few.shape) < 0.6] = 0
    many[torch.rand(many.shape) < 0.2] = 0
    shrunk = shrink(model)
    check_same(model, shrunk, IDS.repeat(1, 4))
    config = shrunk.model.config
    assert spec_of(config, "recurrent.0") == {"form": "sparse", "nonzeros": int(few.count_nonzero())}
    assert spec_of(config, "head") == spec_of(config, "input.0") == {"form": "dense"}


@pytest.mark.parametrize("whole", ["embed", "head", "recurrent.0", "output_projection"])
@pytest.mark.parametrize("head", ["tied", "tied without a map", "untied", "classifier", "classifier, tied"])
def test_matrices_in_other_forms_stay_as_they_are(whole: str, head: str):
    model = sparsify(made(head=head), 0.5, seed=3)
    if whole not in real(model):
        return
    spec = {"form": "low_rank", "rank": 3}
    model = with_forms(model, {whole: (spec, FORMS["low_rank"].from_dense(weight(model, whole), spec))}).eval()
    shrunk = shrink(model)
    check_same(model, shrunk)
    assert spec_of(shrunk.model.config, whole) == spec
    assert shrunk.model.config.shapes[whole] == model.config.shapes[whole]
    if whole == "embed":
        assert shrunk.model.config.hidden_size < HIDDEN


def test_sparse_matrices_shrink_too_and_all_is_saved(tmp_path):
    model = sparsify(made(), 0.5, seed=2)
    changes = {}
    for name in ("recurrent.0", "input.1", "head"):
        W = weight(model, name)
        spec = {"form": "sparse", "nonzeros": int(W.count_nonzero())}
        changes[name] = spec, FORMS["sparse"].from_dense(W, spec)
    shrunk, other = shrink(with_forms(model, changes)), shrink(model)
    check_same(model, shrunk)
    assert shrunk.model.config.to_dict() == other.model.config.to_dict()
    shrunk.model.save_pretrained(tmp_path)
    back = RnnLmForCausalLM.from_pretrained(tmp_path).eval()
    assert torch.equal(back(IDS).logits, shrunk.model(IDS).logits)
