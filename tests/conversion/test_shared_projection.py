"""The shared projection from a dense parent: exact at full rank (LSTM, RNN), the best of its rank, honest for a GRU."""

import copy

import pytest
import torch

from conversion.low_rank import Spec as LowRankSpec
from conversion.low_rank import compress as low_rank
from conversion.matrices import matrix_of
from conversion.objective import Objective, mean_loss
from conversion.shared_projection import Spec, choice, compress, plan, projection
from conversion.streams import Stripes
from tests.zoo.models import HIDDEN, VOCABULARY, fill, model_of
from zoo import RnnLmConfig, RnnLmForCausalLM
from zoo.corpora import Corpus, load_corpus
from zoo.errors import RecipeError

HEADS = {
    "tied": dict(embedding_size=HIDDEN),
    "tied-with-map": dict(embedding_size=7, output_projection_size=7),
    "untied": dict(embedding_size=7, tie_word_embeddings=False),
    "untied-with-map": dict(embedding_size=7, tie_word_embeddings=False, output_projection_size=6),
}


def model_with(cell: str, head: str) -> RnnLmForCausalLM:
    """A filled dense model with one of the heads."""
    sizes = dict(vocab_size=VOCABULARY, hidden_size=HIDDEN, eos_token_id=1)
    return fill(RnnLmForCausalLM(RnnLmConfig(cell=cell, **sizes, **HEADS[head])))


def stepwise(model, ids):
    """Logits [B, T, V] by single steps, in float64."""
    model, logits, states = copy.deepcopy(model).double(), [], None
    for tokens in ids.T:
        out, states = model.step(tokens, states)
        logits.append(out)
    return torch.stack(logits, 1)


@pytest.fixture(scope="module")
def text(corpus) -> Corpus:
    return load_corpus(corpus)


def learn(model, text, updates, lr=0.01):
    """A few hundred small updates."""
    stripes, optimizer = Stripes(text.splits["train"], text.eos_id, 8), torch.optim.Adam(model.parameters(), lr)
    objective, column, states = Objective(model.train()), 0, []
    for _ in range(updates):
        loss, _, states = objective(*stripes.window(column, 12), states)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        column += 12
        if column + 12 > stripes.length:
            column, states = 0, []
    return model.eval()


def trained(cell, text, updates=150):
    torch.manual_seed(0)
    sizes = dict(embedding_size=16, hidden_size=16, num_hidden_layers=2, eos_token_id=text.eos_id)
    return learn(RnnLmForCausalLM(RnnLmConfig(vocab_size=text.vocab_size, cell=cell, **sizes)), text, updates)


def loss_of(model, text):
    return mean_loss(model, Stripes(text.splits["valid"], text.eos_id, 4))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_full_rank_is_the_parent(cell, head, text):
    model = model_with(cell, head)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ids = torch.randint(0, VOCABULARY, (3, 9))
    for weighted in (False, True):
        result = compress(model, Spec(HIDDEN, weighted), text)
        assert result.config.projection_size == result.config.layer_output_size == HIDDEN
        torch.testing.assert_close(stepwise(result, ids), stepwise(model, ids), atol=1e-4, rtol=1e-4)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_every_cell_and_head_at_a_lower_rank_survives_its_folder(cell, head, text, tmp_path):
    model = model_with(cell, head).train()
    result = compress(model, Spec(4), text)
    assert result.training and result.config.hidden_size == HIDDEN and result.config.projection_size == 4
    assert result.config.to_dict() == plan(model.config, Spec(4)).to_dict() | {
        "dtype": result.config.to_dict()["dtype"]
    }
    for name, shape in result.config.shapes.items():
        assert tuple(matrix_of(result, name).to_dense().shape) == shape
    wide = {"tied": HIDDEN, "tied-with-map": 7, "untied": None, "untied-with-map": 6}[head]
    assert result.config.output_projection_size == wide
    result.eval().save_pretrained(tmp_path)
    ids = torch.randint(0, VOCABULARY, (2, 6))
    loaded = RnnLmForCausalLM.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(ids).logits, result(ids).logits)
    assert result(ids).logits.isfinite().all()


def test_a_network_whose_states_have_low_rank_is_kept_by_that_rank(text):
    """Matrices that read only three directions of the state need no more, whatever the weighting."""
    model = model_with("lstm", "untied")
    torch.manual_seed(1)
    with torch.no_grad():
        for readers in (["recurrent.0", "input.1"], ["recurrent.1", "head"]):
            right = torch.randn(3, HIDDEN)
            for name in readers:
                weight = matrix_of(model, name).weight
                weight.copy_(0.3 * torch.randn(len(weight), 3) @ right)
    ids = torch.randint(0, VOCABULARY, (3, 9))
    for weighted in (False, True):
        result = compress(model, Spec(3, weighted), text)
        torch.testing.assert_close(result(ids).logits, model(ids).logits, atol=1e-3, rtol=1e-3)


def test_projection_and_lift_are_the_best_of_their_rank():
    torch.manual_seed(0)
    S, x = torch.randn(20, 8).double(), torch.randn(200, 8).double() * torch.arange(1, 9)
    C, importance = x.T @ x / 200, S.T @ S
    P, Q = projection(importance, C, 3)
    torch.testing.assert_close(P @ Q, torch.eye(3).double())
    error = ((x - x @ P.T @ Q.T) @ S.T).square().sum() / 200
    least = torch.linalg.svdvals(x @ S.T)[3:].square().sum() / 200
    torch.testing.assert_close(error, least, rtol=1e-3, atol=0)
    torch.testing.assert_close(P.norm(dim=1), Q.norm(dim=0))


def test_choice_picks_units_and_tells_the_others_from_them():
    torch.manual_seed(0)
    x = torch.randn(300, 3).double() @ torch.randn(3, 8).double()  # eight units that know three things
    P, Q = choice(torch.eye(8).double(), x.T @ x / 300, 3)
    assert ((P == 0) | (P == 1)).all() and P.sum(1).eq(1).all() and P.sum(0).max() == 1
    torch.testing.assert_close(x @ P.T @ Q.T, x, atol=1e-3, rtol=1e-3)
    P, Q = choice(torch.eye(8).double(), torch.eye(8).double(), 8)
    torch.testing.assert_close(P, torch.eye(8).double())
    torch.testing.assert_close(Q, torch.eye(8).double())


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_weighted_beats_plain_on_a_trained_network(cell, text):
    model, losses = trained(cell, text, updates=300), {}
    for weighted in (False, True):
        losses[weighted] = sum(loss_of(compress(model, Spec(rank, weighted), text), text) for rank in (3, 5, 8))
    assert losses[True] < losses[False]


def test_gru_starts_near_its_parent_and_fine_tuning_brings_it_back(text):
    model = trained("gru", text)
    parent = loss_of(model, text)
    unigram = torch.log(torch.tensor(float(text.vocab_size - 1)))
    swapped, fitted = (loss_of(compress(model, Spec(12, by), text), text) for by in (False, True))
    assert parent < fitted < swapped and fitted < unigram
    tuned = loss_of(learn(compress(model, Spec(12), text), text, 60), text)
    assert tuned < fitted and tuned < parent + 0.1


def test_gru_without_recurrence_is_exact_where_its_units_suffice():
    """Gates and interpolation (eq. 16, 17, 19) of kept units are the parent's; only eq. 18's recurrent term is not."""
    model = model_with("gru", "untied")
    with torch.no_grad():
        for layer in range(2):
            matrix_of(model, f"recurrent.{layer}").weight[2 * HIDDEN :] = 0
            model.model.layers[layer].candidate_bias.zero_()
    result = compress(model, Spec(HIDDEN, weighted=False))
    ids = torch.randint(0, VOCABULARY, (3, 9))
    torch.testing.assert_close(result(ids).logits, model(ids).logits, atol=1e-4, rtol=1e-4)


def test_the_other_matrices_are_compressed_next(text):
    made = compress(model_with("lstm", "untied"), Spec(5), text)
    result = low_rank(made, LowRankSpec(("head", "projection"), rank=2), text)
    assert result.config.projection_size == 5 and result(torch.tensor([[1, 2]])).logits.isfinite().all()
    embedded = low_rank(model_with("lstm", "tied"), LowRankSpec(("embed",), rank=3), text)  # in the other order too
    assert compress(embedded, Spec(5), text).config.weights["embed"]["rank"] == 3
    own = low_rank(model_with("lstm", "untied"), LowRankSpec(("head",), rank=3), text)
    after = compress(own, Spec(5), text)
    assert after.config.weights["head"]["rank"] == 3 and after.config.output_projection_size == HIDDEN


@pytest.mark.parametrize(
    ("options", "rank", "message"),
    [
        ({}, 10, "rank 10 for hidden_size 9; give rank = 9"),
        ({}, 0, "give rank = 1"),
        ({"projected": True}, 3, "projections already .* give a model without"),
        ({"form": "low_rank"}, 3, "input.0 is low_rank, .*give it as the first step"),
    ],
)
def test_impossible_specs_are_refused_before_any_work(options, rank, message):
    with pytest.raises(RecipeError, match=message):
        plan(model_of(**options).config, Spec(rank))


def test_weighted_needs_text():
    with pytest.raises(RecipeError, match="weighted = false"):
        compress(model_of(), Spec(3), None)
