"""Filled models of all kinds with zeros at random, and the comparison of one with what it was shrunk to."""

import itertools

import torch

from conversion.bayes.needed import CANDIDATE, places_of
from conversion.matrices import matrix_of
from tests.zoo.models import HIDDEN, PROJECTION, VOCABULARY, config_of, fill
from zoo import RnnLmForCausalLM, RnnLmForSequenceClassification

IDS = torch.randint(0, VOCABULARY, (3, 11), generator=torch.Generator().manual_seed(1))
HEADS = {
    "tied": {"tied": True},
    "tied without a map": {"tied": True, "output_projection_size": None},
    "untied": {"tied": False},
    "untied with a map": {"tied": False, "output_projection_size": 4},
    "classifier": {"tied": False, "num_labels": 3},
    "classifier, tied": {"tied": True, "num_labels": 3},
}
KINDS = list(itertools.product(("lstm", "cifg", "gru", "rnn"), (False, True), HEADS))


def made(cell="lstm", projected=False, head="untied", layers=2, seed=0, **more):
    """A filled model with the head of one of HEADS."""
    options = {"cell": cell, "projected": projected, "layers": layers, **HEADS[head], **more}
    if head == "tied without a map":
        options["embedding_size"] = PROJECTION if projected else HIDDEN
    kind = RnnLmForSequenceClassification if "num_labels" in options else RnnLmForCausalLM
    return fill(kind(config_of(**options)), seed)


def weight(model, name: str) -> torch.Tensor:
    return model.score.weight if name == "score" else matrix_of(model, name).weight


@torch.no_grad()
def sparsify(model, share: float, seed: int):
    """Zeros at random: single numbers, rows of gates, whole axes that nobody reads or that are always zero, words."""
    generator = torch.Generator().manual_seed(seed)
    places = places_of(model)
    sizes = {place.columns: weight(model, name).shape[1] for name, place in places.items() if name in real(model)}
    idle = {axis: torch.rand(size, generator=generator) < share for axis, size in sizes.items()}
    silent = {axis: torch.rand(size, generator=generator) < share / 2 for axis, size in sizes.items()}
    for name in real(model):
        W, place = weight(model, name), places[name]
        W[torch.rand(W.shape, generator=generator) < share / 2] = 0
        W[torch.rand(len(W), generator=generator) < share / 2] = 0
        if name != "embed" and not (name == "head" and model.config.tie_word_embeddings):
            W[:, idle[place.columns]] = 0
    for number, layer in enumerate(model.model.layers):
        constant = torch.rand(len(layer.bias), generator=generator) < share
        if len(layer.input.weight) == len(layer.recurrent.weight):
            layer.input.weight[constant] = 0
            layer.recurrent.weight[constant] = 0
        hidden, H = silent.get(f"hidden.{number}"), model.config.hidden_size
        if hidden is None:
            continue
        start = len(layer.bias) - H if layer.candidate is not None else CANDIDATE[layer.cell] * H
        rows = start + hidden.nonzero()[:, 0]
        for tensor in (layer.input.weight, layer.bias):
            tensor[rows] = 0
        if layer.candidate is not None:
            layer.candidate.weight[hidden] = 0
        else:
            layer.recurrent.weight[rows] = 0
        if layer.candidate_bias is not None:
            layer.candidate_bias[hidden] = 0
    model.model.embed_tokens.weight[:, silent["element"]] = 0
    return model


def real(model) -> list[str]:
    """The names of the matrices that a model has."""
    return [name for name in places_of(model) if name in model.config.shapes or name == "score"]


@torch.no_grad()
def check_same(large, shrunk, ids=IDS):
    """Equal logits at once, step by step and with padding."""
    small, exact = shrunk.model, {"atol": 1e-5, "rtol": 1e-5}
    new = shrunk.translated(ids)
    torch.testing.assert_close(small(new).logits, large(ids).logits, **exact)
    mask = torch.ones_like(ids)
    mask[0, :4] = mask[1, 6:] = 0
    torch.testing.assert_close(small(new, mask).logits, large(ids, mask).logits, **exact)
    states = [None, None]
    for t, width in ((0, 1), (1, 1), (2, 7), (9, 1)):
        now = slice(t, t + width)
        outs = [
            model(words[:, now], past_key_values=state, use_cache=True)
            for model, words, state in zip((large, small), (ids, new), states, strict=True)
        ]
        torch.testing.assert_close(outs[1].logits, outs[0].logits, **exact)
        states = [out.past_key_values for out in outs]
    if hasattr(large, "step"):
        after = [None, None]
        for t in range(3):
            logits, after = zip(
                *(m.step(ids[:, t], s) for m, s in zip((large, small), after, strict=True)), strict=True
            )
            torch.testing.assert_close(logits[1], logits[0], **exact)
