"""Recurrent layers of low rank whose right factor, the projection, serves the recurrence and what comes next.

Grachev et al. 2019, eq. 8-10 (RNN), 20 (LSTM), 21 (GRU), made from a dense parent. Training from scratch needs no
conversion: `projection_size` in a recipe's `[model]`. Letters: V vocabulary, D embedding, H hidden, P projection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from zoo.cache_rnnlm import RnnLmCache
from zoo.configuration_rnnlm import RnnLmConfig
from zoo.corpora import Corpus
from zoo.errors import RecipeError
from zoo.modeling_rnnlm import RnnLmForCausalLM
from zoo.plain_network import check_plain

from .activations import Activations, measure, square_root, training_text, watched, windows
from .matrices import DENSE, config_with, matrix_of, spec_of
from .tables import number

Numbers = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Spec:
    """How far.

    Args:
        rank: P of every layer; the hidden size stays.
        weighted: P keeps what the states are on training text, not directions of the weights alone.
    """

    rank: int = number(least=1)
    weighted: bool = True


def plan(config: RnnLmConfig, spec: Spec) -> RnnLmConfig:
    """The config of the result: `projection_size`, and a map back to the features' width where a head needs it.

    Raises:
        RecipeError: a model that has projections, a rank above the hidden size, layers that are compressed already.
    """
    check_plain(config, "shared_projection", "take low_rank with roles = ['layers']", RecipeError)
    if config.projection_size is not None:
        raise RecipeError(
            f"this model's layers have projections already (projection_size {config.projection_size}); give a model "
            "without them, or method = low_rank with roles = ['layers'] to go on from here"
        )
    if not 1 <= spec.rank <= config.hidden_size:
        nearest = min(max(1, spec.rank), config.hidden_size)
        raise RecipeError(f"rank {spec.rank} for hidden_size {config.hidden_size}; give rank = {nearest}")
    taken = [name for name in config.shapes if "." in name or name == "output_projection"]
    forms = {name: spec_of(config, name)["form"] for name in taken if spec_of(config, name) != DENSE}
    if forms:
        found = ", ".join(f"{name} is {form}" for name, form in forms.items())
        raise RecipeError(f"shared_projection takes dense layers, but {found}; give it as the first step")
    # A dense head of its own is folded with the map; any other keeps its width.
    folds = config.output_projection_size is None and "head" in config.shapes and spec_of(config, "head") == DENSE
    width = None if folds else config.feature_size
    return config_with(config, {}, projection_size=spec.rank, output_projection_size=width)


@torch.no_grad()
def compress(
    model: RnnLmForCausalLM, spec: Spec, data: Corpus | None = None, known: Activations | None = None
) -> RnnLmForCausalLM:
    """A copy of a model whose layers hand on P numbers, h ~ Q (P h), to the next time step and to the next layer.

    LSTM and RNN: the result computes what the parent does with h replaced by Q P h; at P = H it is the parent.

    GRU: never exact, also not at P = H; it needs fine-tuning. Eq. 19 interpolates number by number, so that only a
    choice of units keeps the parent's gates: P picks those from which the others are best told. (A P that mixes units,
    with gates mixed alike, started worse.) The parent's reset gate comes after the recurrent product, that of eq. 18
    before it: with data the candidate's matrix is fitted to what the parent's computes on them, without data it is the
    parent's.

    Args:
        known: what the model does on training text, if it was measured before; else it is when `weighted` asks for it.

    Raises:
        RecipeError: as `plan`; `weighted` without data.
        CorpusError, VocabularyError: the data are of no use.
    """
    config = plan(model.config, spec)
    if not spec.weighted:
        known = Activations()
    elif known is None:
        known = measure(model, data)
    tensors: Numbers = dict(model.state_dict())
    dense = {name: matrix_of(model, name).to_dense() for name in model.config.shapes}  # type: ignore[operator]
    old = {name: matrix.cpu().double() for name, matrix in dense.items()}
    old.setdefault("head", old["embed"])
    lift: torch.Tensor | None = None  # [H, P] of the layer below
    picks: list[torch.Tensor] = []  # [P] per layer of a GRU
    for layer in range(config.num_hidden_layers):
        last = layer + 1 == config.num_hidden_layers
        after = "head" if last else f"input.{layer + 1}"
        readers = {f"recurrent.{layer}": old[f"recurrent.{layer}"], after: old[after]}
        if last and "output_projection" in old:
            readers[after] = old[after] @ old["output_projection"]
        C = torch.eye(config.hidden_size).double()
        if spec.weighted:
            source = after if not last else "output_projection" if "output_projection" in old else "head"
            C = known.inputs[source]
        W = old[f"input.{layer}"] if lift is None else old[f"input.{layer}"] @ lift
        U, importance = old[f"recurrent.{layer}"], importance_of(readers, known.outputs)
        P, lift = (choice if config.cell == "gru" else projection)(importance, C, spec.rank)
        made = {"input.weight": W, "recurrent.weight": U @ lift, "projection.weight": P}
        if config.cell == "gru":
            picks.append(P.argmax(1))
            made = gru(made, picks[-1], model.model.layers[layer])  # type: ignore[index]
        tensors.pop(f"model.layers.{layer}.candidate_bias", None)
        tensors.update({f"model.layers.{layer}.{key}": value.float() for key, value in made.items()})
    if spec.weighted and picks:
        tensors.update(fitted_candidates(model, data, picks))
    assert lift is not None
    if config.output_projection_size is None:
        tensors["lm_head.weight"] = (old["head"] @ lift).float()
    else:
        wide = old["output_projection"] @ lift if "output_projection" in old else lift
        tensors["output_projection.weight"] = wide.float()
    made_model = RnnLmForCausalLM(config)
    made_model.load_state_dict(tensors)
    made_model.generation_config = model.generation_config
    return made_model.train(model.training)


def importance_of(readers: Numbers, outputs: Numbers) -> torch.Tensor:
    """Matrices [M, H] that read a state, by name -> Sᵀ S [H, H]: the growth of the loss with the square of its error.

    Without data every matrix counts alike.
    """
    total = torch.zeros(next(iter(readers.values())).shape[1], dtype=torch.float64)
    for name, matrix in readers.items():
        square = matrix.T @ matrix if not outputs else matrix.T @ (outputs[name][:, None] * matrix)
        total = total + (square if outputs else square / square.trace().clamp_min(1e-300))
    return total


def projection(importance: torch.Tensor, C: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Sᵀ S and second moments C [H, H] -> P [rank, H] and the lift Q [H, rank] with least E||S (h - Q P h)||².

    P = Vᵀ C^-1/2 and Q = C^1/2 V, V the first right singular vectors of S C^1/2; P Q = 1.
    """
    root, inverse = square_root(C)
    _, vectors = torch.linalg.eigh(root @ importance @ root)
    V = vectors.flip(1)[:, :rank]
    P, Q = V.T @ inverse, root @ V
    scale = (Q.norm(dim=0) / P.norm(dim=1)).sqrt()  # both of equal norm, direction by direction
    return P * scale[:, None], Q / scale


def choice(importance: torch.Tensor, C: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The same where P [rank, H] may only pick units: one after the other the one that most lowers the error.

    Q are the coefficients of the regression of all units on those picked, in whose places it is the identity.
    """
    H = len(C)
    rest = C + 1e-6 * C.diagonal().mean().clamp_min(1e-30) * torch.eye(H).double()  # covariance given the picked units
    given, chosen = rest, list[int]()
    for _ in range(rank):
        variance = rest.diagonal().clamp_min(1e-300)
        gain = (rest * (importance @ rest)).sum(0) / variance
        gain[chosen] = -1.0
        unit = int(gain.argmax())
        chosen.append(unit)
        rest = rest - torch.outer(rest[:, unit], rest[unit]) / variance[unit]
    chosen.sort()
    P = F.one_hot(torch.tensor(chosen), H).double()
    Q = torch.linalg.solve(given[chosen][:, chosen], given[chosen]).T
    return P, Q


def gru(made: Numbers, units: torch.Tensor, layer: Any) -> Numbers:
    """The tensors of eq. 18, 19 and 21 from those of a layer with the reset after the product and the units kept [P].

    Gates of units that are not kept go; the bias inside the reset comes out of it, times the gate's value at rest.
    """
    (br, bz, bn), cb = layer.bias.cpu().double().chunk(3), layer.candidate_bias.cpu().double()
    Wr, Wz, Wn = made["input.weight"].chunk(3)
    Ur, Uz, Un = made["recurrent.weight"].chunk(3)
    return {
        "input.weight": torch.cat([Wr[units], Wz[units], Wn]),
        "bias": torch.cat([br[units], bz[units], bn + torch.sigmoid(br) * cb]),
        "recurrent.weight": torch.cat([Ur[units], Uz[units]]),
        "candidate.weight": Un,
        "projection.weight": made["projection.weight"],
    }


def fitted_candidates(model: RnnLmForCausalLM, data: Corpus | None, picks: list[torch.Tensor]) -> Numbers:
    """A GRU's candidate matrices [H, P] and biases [2P+H] for the units kept, by least squares on training text.

    r (U h + b), the reset after the product, is told from the kept units of r h, the reset before it.
    """
    H = model.config.hidden_size
    layers: list[Any] = list(model.model.layers)  # type: ignore[arg-type]
    seen: dict[str, list] = {f"{role}.{layer}": [] for layer in range(len(layers)) for role in ("input", "recurrent")}
    squares, products = ([torch.zeros(()).double()] * len(layers) for _ in range(2))
    state = RnnLmCache(model.config)
    with watched(model, list(seen), lambda name, x, y: seen[name].append((x, y))), torch.inference_mode():
        for inputs, _ in windows(model, training_text(model, data), data, 20_000, "candidates"):
            model.model(inputs, past_key_values=state, use_cache=True)
            for number, (layer, units) in enumerate(zip(layers, picks, strict=True)):
                steps = zip(*seen[f"recurrent.{number}"], strict=True)
                h, hu = (torch.stack(part, dim=1) for part in steps)  # [B, T, H], [B, T, 3H]
                xw = seen[f"input.{number}"][0][1].reshape(hu.shape) + layer.bias
                r = torch.sigmoid(xw[..., :H] + hu[..., :H])
                target = (r * (hu[..., 2 * H :] + layer.candidate_bias)).flatten(0, 1).double()
                known = (r * h)[..., units.to(h.device)].flatten(0, 1).double()
                known = torch.cat([known, torch.ones_like(known[:, :1])], dim=1)  # [B*T, P+1]
                squares[number] = squares[number] + (known.T @ known).cpu()
                products[number] = products[number] + (known.T @ target).cpu()
            for parts in seen.values():
                parts.clear()
    tensors = {}
    for number, (layer, units) in enumerate(zip(layers, picks, strict=True)):
        A = squares[number]
        A = A + 1e-6 * A.diagonal().mean() * torch.eye(len(A)).double()
        fit = torch.linalg.solve(A, products[number]).float()  # [P+1, H]
        br, bz, bn = layer.bias.cpu().chunk(3)
        tensors[f"model.layers.{number}.candidate.weight"] = fit[:-1].T.contiguous()
        tensors[f"model.layers.{number}.bias"] = torch.cat([br[units], bz[units], bn + fit[-1]])
    return tensors
