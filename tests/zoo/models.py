"""Small random models for the tests, one per variant; every number of theirs is far from zero."""

import itertools

import torch

from zoo import RnnLmConfig, RnnLmForCausalLM
from zoo.factors_rnnlm import balanced_modes, full_ranks

VOCABULARY, EMBEDDING, HIDDEN, PROJECTION = 31, 7, 9, 5


def spec_of(form: str, rows: int, columns: int) -> dict:
    """A spec of a form for a matrix [rows, columns]: less than full rank, groups that do not divide the columns."""
    if form == "dense":
        return {"form": "dense"}
    kind, _, values = form.partition("-")
    inner = {
        "": {},
        "int8": {"values": {"form": "int8", "scheme": "row"}},
        "range": {"values": {"form": "int8", "scheme": "range"}},
        "int4": {"values": {"form": "int4", "group": 4}},
    }
    if kind == "low_rank":
        return {"form": "low_rank", "rank": min(3, rows, columns), **inner[values]}
    if kind == "tensor_train":
        row_modes, column_modes = balanced_modes(rows, 3), balanced_modes(columns, 3)
        ranks = [min(rank, 4) for rank in full_ranks(row_modes, column_modes)]
        return {"form": kind, "row_modes": row_modes, "column_modes": column_modes, "ranks": ranks, **inner[values]}
    if kind == "sparse":
        return {"form": kind, "nonzeros": rows * columns * 2 // 3, **({"values": {"form": "int8"}} if values else {})}
    if kind == "int8":
        return {"form": kind, "scheme": values or "row"}
    return {"form": "int4", "group": 4}


def config_of(cell="lstm", projected=False, form="dense", tied=True, layers=2, **more) -> RnnLmConfig:
    """A config at odd sizes; `form` is the form of every matrix."""
    fields = dict(
        vocab_size=VOCABULARY,
        embedding_size=EMBEDDING,
        hidden_size=HIDDEN,
        num_hidden_layers=layers,
        cell=cell,
        projection_size=PROJECTION if projected else None,
        output_projection_size=EMBEDDING if tied else None,
        tie_word_embeddings=tied,
        eos_token_id=1,
        pad_token_id=1,
        mogrifier_rounds=more.pop("mogrifier_rounds", 0),
        num_softmaxes=more.pop("num_softmaxes", 1),
    )
    shapes = {} if form == "dense" else RnnLmConfig(**fields).shapes
    weights = {name: spec_of(form, *shape) for name, shape in shapes.items()}
    return RnnLmConfig(**{**fields, "weights": weights, **more})


def fill(model, seed=0):
    """Normal numbers in every parameter, so that an ignored one is seen; integers as a new model has them."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if any(not parameter.is_floating_point() for parameter in module.parameters(recurse=False)):
                module.reset()
        for name, parameter in model.named_parameters():
            if parameter.is_floating_point():
                size = {"scale": 0.01, "step": 0.01}.get(name.rpartition(".")[2], 0.5)
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * size)
    return model.eval()


def model_of(**options) -> RnnLmForCausalLM:
    """A filled causal LM in eval mode; options as in `config_of`."""
    return fill(RnnLmForCausalLM(config_of(**options)))


FORMS = (
    "tensor_train", "sparse", "int8", "int8-range", "int4", "low_rank-int8", "low_rank-int4", "low_rank-range",
    "tensor_train-int8", "tensor_train-int4", "sparse-int8",
)  # fmt: skip
VARIANTS = [
    {"cell": cell, "projected": projected, "form": form, "tied": tied}
    for cell, projected, form, tied in itertools.product(
        ("lstm", "cifg", "gru", "rnn"), (False, True), ("dense", "low_rank"), (True, False)
    )
] + [
    {"cell": cell, "projected": projected, "form": form, "tied": tied}
    for form in FORMS
    for cell, projected, tied in (("lstm", False, True), ("gru", True, False))
]

FEW = [
    {"cell": cell, "projected": projected, "form": form, "tied": tied}
    for cell, projected, form, tied in (
        ("lstm", True, "dense", True), ("lstm", False, "low_rank-int8", False), ("cifg", False, "low_rank", True),
        ("cifg", True, "int8", False), ("gru", False, "dense", True), ("gru", True, "low_rank", False),
        ("rnn", False, "tensor_train", True), ("rnn", True, "sparse", False), ("lstm", True, "int4", True),
    )
]  # fmt: skip
GATED = [{**variant, "mogrifier_rounds": 1 + number % 5} for number, variant in enumerate(FEW)]
MIXED = [{**variant, "num_softmaxes": 2 + number % 2} for number, variant in enumerate(FEW)]


def name_of(variant: dict) -> str:
    """A readable test id."""
    return "-".join(
        [variant["cell"], "projected" if variant["projected"] else "plain", variant["form"]]
        + (["tied"] if variant["tied"] else ["untied"])
        + [f"{key}{variant[key]}" for key in ("mogrifier_rounds", "num_softmaxes") if key in variant]
    )
