"""Small random models for the tests, one per variant; every number of theirs is far from zero."""

import itertools

import torch

from zoo import RnnLmConfig, RnnLmForCausalLM

VOCABULARY, EMBEDDING, HIDDEN, PROJECTION = 31, 7, 9, 5


def config_of(cell="lstm", projected=False, form="dense", tied=True, layers=2, **more) -> RnnLmConfig:
    """A config at odd sizes; `form` is the form of every matrix."""
    roles = ["embed", "input", "recurrent", "output_projection" if tied else "head"]
    roles += ["projection"] if projected else []
    return RnnLmConfig(
        vocab_size=VOCABULARY,
        embedding_size=EMBEDDING,
        hidden_size=HIDDEN,
        num_hidden_layers=layers,
        cell=cell,
        projection_size=PROJECTION if projected else None,
        output_projection_size=EMBEDDING if tied else None,
        tie_word_embeddings=tied,
        weights={} if form == "dense" else {role: {"form": form, "rank": 3} for role in roles},
        eos_token_id=1,
        pad_token_id=1,
        **more,
    )


def fill(model, seed=0):
    """Normal numbers in every parameter, so that an ignored one is seen."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return model.eval()


def model_of(**options) -> RnnLmForCausalLM:
    """A filled causal LM in eval mode; options as in `config_of`."""
    return fill(RnnLmForCausalLM(config_of(**options)))


VARIANTS = [
    {"cell": cell, "projected": projected, "form": form, "tied": tied}
    for cell, projected, form, tied in itertools.product(
        ("lstm", "gru", "rnn"), (False, True), ("dense", "low_rank"), (True, False)
    )
]


def name_of(variant: dict) -> str:
    """A readable test id."""
    return "-".join(
        [variant["cell"], "projected" if variant["projected"] else "plain", variant["form"]]
        + (["tied"] if variant["tied"] else ["untied"])
    )
