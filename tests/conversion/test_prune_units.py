"""Hidden units that go: the smaller model computes what the large one does when nothing reads them."""

import itertools

import numpy as np
import pytest
import torch

from conversion.activations import BATCH
from conversion.matrices import matrix_of, untied
from conversion.prune_units import Spec, compress, plan, units_that_stay
from tests.zoo.models import EMBEDDING, HIDDEN, PROJECTION, VOCABULARY, model_of
from zoo import RnnLmForCausalLM
from zoo.corpora import Corpus
from zoo.errors import RecipeError

IDS = torch.randint(0, VOCABULARY, (2, 11), generator=torch.Generator().manual_seed(1))
KINDS = [
    dict(cell=cell, projected=projected, tied=tied, **more)
    for cell, projected, (tied, more) in itertools.product(
        ("lstm", "cifg", "gru", "rnn"),
        (False, True),
        (
            (True, {}),
            (False, {}),
            (False, {"output_projection_size": 4}),
            (True, {"same": True}),  # tied without a map between
        ),
    )
]


def made(same: bool = False, **options) -> RnnLmForCausalLM:
    if same:
        width = PROJECTION if options["projected"] else HIDDEN
        options |= {"embedding_size": width, "output_projection_size": None}
    return model_of(**options)


@pytest.fixture(scope="module")
def data() -> Corpus:
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, BATCH * 20).astype(np.int32)
    words = ["a", "<eos>", *(f"w{i}" for i in range(2, VOCABULARY))]
    return Corpus("random", words, {"train": tokens}, {})


@torch.no_grad()
def silence(model: RnnLmForCausalLM, stay: list[torch.Tensor]) -> RnnLmForCausalLM:
    """Zeros in all that reads a unit that goes; a head tied to the embedding is untied for it."""
    config = model.config
    if config.tie_word_embeddings and config.output_projection_size is None and config.projection_size is None:
        model = untied(model)
    for layer, units in enumerate(stay):
        gone = torch.ones(config.hidden_size, dtype=torch.bool)
        gone[units] = False
        last = layer + 1 == config.num_hidden_layers
        if config.projection_size is not None:
            readers = [f"projection.{layer}"]
        elif not last:
            readers = [f"recurrent.{layer}", f"input.{layer + 1}"]
        else:
            readers = [f"recurrent.{layer}", "head" if config.output_projection_size is None else "output_projection"]
        for name in readers:
            matrix_of(model, name).weight[:, gone] = 0
    return model


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind.values())))
@pytest.mark.parametrize("keep", [1, 6])
@torch.no_grad()
def test_smaller_equals_silenced(kind: dict, keep: int):
    spec = Spec(keep=keep, criterion="norm")
    model = made(**kind)
    small = compress(model, spec)
    assert small.config.hidden_size == keep
    assert small.config.to_dict() == plan(model.config, spec).to_dict()
    assert small.num_parameters() < model.num_parameters()
    large = silence(made(**kind), units_that_stay(model, spec))
    torch.testing.assert_close(small(IDS).logits, large(IDS).logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(small(IDS[:, :1]).logits, large(IDS[:, :1]).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind.values())))
@torch.no_grad()
def test_all_units_are_the_model(kind: dict):
    model = made(**kind)
    for spec in (Spec(keep=HIDDEN), Spec(share=1.0), Spec(share=0.99, criterion="norm")):
        same = compress(model, spec)
        assert same.config.to_dict() == model.config.to_dict()
        assert torch.equal(same(IDS).logits, model(IDS).logits)
        assert same is not model


@pytest.mark.parametrize("criterion", ["norm", "activation", "curvature"])
@pytest.mark.parametrize("kind", KINDS[::2], ids=lambda kind: "-".join(map(str, kind.values())))
@torch.no_grad()
def test_units_that_do_nothing_go_first(kind: dict, criterion: str, data):
    model = made(**kind)
    busy = [torch.tensor([0, 2, 3, 5, 8]), torch.tensor([1, 2, 4, 6, 7])]
    model = silence(model, busy)
    if criterion == "norm":  # what comes in counts as well
        for layer, units in enumerate(busy):
            idle = torch.ones(HIDDEN, dtype=torch.bool)
            idle[units] = False
            for name in (f"input.{layer}", f"recurrent.{layer}", f"candidate.{layer}"):
                if name in model.config.shapes:
                    W = matrix_of(model, name).weight
                    if len(W) == 2 * PROJECTION:  # gates of a projected GRU, which are no units
                        continue
                    W[len(W) % HIDDEN :].view(-1, HIDDEN, W.shape[1])[:, idle] = 0
    stay = units_that_stay(model, Spec(keep=5, criterion=criterion), data)
    assert [units.tolist() for units in stay] == [units.tolist() for units in busy]
    small = compress(model, Spec(share=5 / 9, criterion=criterion), data)
    torch.testing.assert_close(small(IDS).logits, model(IDS).logits, rtol=1e-4, atol=1e-5)


def test_a_tied_head_gets_a_map_before_it():
    model = made(same=True, cell="lstm", projected=False, tied=True)
    small = compress(model, Spec(keep=6, criterion="norm"))
    assert small.config.tie_word_embeddings and small.config.output_projection_size == HIDDEN
    assert torch.equal(small.model.embed_tokens.weight, model.model.embed_tokens.weight)
    again = compress(small, Spec(keep=4, criterion="norm"))
    assert again.config.output_projection_size == HIDDEN and again.output_projection.weight.shape == (HIDDEN, 4)


@torch.no_grad()
def test_it_learns_saves_and_goes_on(tmp_path):
    small = compress(model_of(cell="gru", projected=True), Spec(keep=4, criterion="norm"))
    small(IDS, labels=IDS).loss.requires_grad_()
    small.save_pretrained(tmp_path)
    back = RnnLmForCausalLM.from_pretrained(tmp_path).eval()
    assert torch.equal(back(IDS).logits, small(IDS).logits)
    first = small(IDS[:, :5], use_cache=True)
    rest = small(IDS[:, 5:], past_key_values=first.past_key_values)
    torch.testing.assert_close(rest.logits, small(IDS).logits[:, 5:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fields", [{}, {"keep": 3, "share": 0.5}])
def test_exactly_one_number(fields: dict):
    with pytest.raises(RecipeError, match=r"exactly one, e.g. share = 0.75"):
        Spec(**fields)


def test_what_cannot_be_done_is_refused():
    with pytest.raises(RecipeError, match=f"{HIDDEN + 1} of {HIDDEN} hidden units.*keep = {HIDDEN} at most"):
        plan(model_of().config, Spec(keep=HIDDEN + 1))
    with pytest.raises(RecipeError, match=r"input.0 is stored as low_rank.*first step"):
        plan(model_of(form="low_rank").config, Spec(keep=4))
    with pytest.raises(RecipeError, match=r"criterion = 'curvature' needs training text.*'norm'"):
        compress(model_of(), Spec(keep=4))
    assert plan(model_of(form="low_rank").config, Spec(keep=HIDDEN)).hidden_size == HIDDEN


def test_an_embedding_in_another_form_stays_as_it_is():
    model = model_of(weights={"embed": {"form": "low_rank", "rank": 3}})
    small = compress(model, Spec(keep=4, criterion="norm"))
    assert small.config.form_of("embed") == {"form": "low_rank", "rank": 3}
    assert small.config.embedding_size == EMBEDDING
