"""One recurrent layer: LSTM, CIFG, GRU or RNN over matrices of any weight form, as a fused kernel or step by step.

Letters: B batch, T time, H hidden, P projection, O layer output (P if projected, else H), G*H rows of the matrices
(4H LSTM, 3H CIFG and GRU, H RNN, 2P+H projected GRU), N width of the input. Equations: Grachev et al. 2019.
"""

import warnings

import torch
from torch import _VF, nn
from torch.nn import functional as F
from transformers.modeling_layers import GradientCheckpointingLayer

from .configuration_rnnlm import RnnLmConfig
from .weights_rnnlm import MATRICES, build

warnings.filterwarnings("ignore", message="LSTM with projections is not supported with oneDNN")

LONG = 32  # steps from which the kernel is worth multiplying out compressed matrices


def dropout(x: torch.Tensor, p: float, variational: bool) -> torch.Tensor:
    """Dropout of x [B, T, N]; variational: one mask [B, 1, N] for all time steps (Gal and Ghahramani 2016)."""
    if p == 0:
        return x
    if not variational:
        return F.dropout(x, p)
    return x * F.dropout(x.new_ones(x.shape[0], 1, x.shape[2]), p)


def lstm_step(gates: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """gates [B, 4H] before activation, c [B, H] -> h [B, H], c (eq. 11-15)."""
    i, f, g, o = gates.chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def cifg_step(gates: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """gates [B, 3H] before activation (i, g, o), c [B, H] -> h [B, H], c: f = 1 - i (Greff et al. 2015)."""
    i, g, o = gates.chunk(3, dim=-1)
    c = c + torch.sigmoid(i) * (torch.tanh(g) - c)
    return torch.sigmoid(o) * torch.tanh(c), c


def with_forget_gate(rows: torch.Tensor) -> torch.Tensor:
    """rows [3H, ...] of i, g, o -> [4H, ...] of an LSTM's i, f, g, o: 1 - sigmoid(x) is sigmoid(-x)."""
    i, g, o = rows.chunk(3)
    return torch.cat([i, -i, g, o])


class RnnLmLayer(GradientCheckpointingLayer):
    """One recurrent layer; its matrices are weight forms, its state comes from and goes to the cache."""

    def __init__(self, config: RnnLmConfig, layer: int):
        super().__init__()
        H, P, O = config.hidden_size, config.projection_size, config.layer_output_size
        self.layer, self.cell, self.projection_size, self.weight_drop = layer, config.cell, P, float(config.weight_drop)
        shapes = config.shapes
        forms: set[str] = set()

        def matrix(role: str, bound: float | None = None, place: str = str(layer)) -> nn.Module | None:
            if (shape := shapes.get(f"{role}.{place}")) is None:
                return None
            spec = config.form_of(role, place)
            forms.add(spec["form"])
            return build(spec, *shape, shape[1] ** -0.5 if bound is None else bound)

        self.input = matrix("input")
        self.recurrent = matrix("recurrent")
        self.bias = nn.Parameter(torch.zeros(shapes[f"input.{layer}"][0]))
        self.projection = matrix("projection", (3 / H) ** 0.5)
        # The projected GRU resets the state before the product, the plain one (cuDNN's) after it and adds a bias there.
        self.candidate = matrix("candidate")
        self.candidate_bias = nn.Parameter(torch.zeros(H)) if config.cell == "gru" and P is None else None
        self.rounds = config.mogrifier_rounds
        if self.rounds:  # small numbers: the gates start near 1
            names = [f"{layer}.{number}" for number in range(self.rounds)]
            self.mogrifier = nn.ModuleList(matrix("mogrifier", 0.1 * O**-0.5, name) for name in names)
        self.is_dense = forms == {"dense"}
        # It knows a projection by its width, and multiplies the input of all steps before the first.
        self.has_kernel = not self.rounds and (P is None or (config.cell_size > 0 and P != H))
        self.state_sizes = (O, config.cell_size)

    def forward(self, hidden_states, h, c, mask=None, past_key_values=None):
        """hidden_states [B, T, in], state h [B, O] and c [B, H or 0], mask [B, T] bool or None -> [B, T, O].

        Where the mask is False the state stays. The state comes as an argument of its own, because the library takes
        the cache away under gradient checkpointing; the new one goes into the cache.
        """
        x, T = hidden_states, hidden_states.shape[1]
        # A CPU runs a single step faster in plain operations than through the kernel's set-up. A compressed matrix is
        # multiplied out for the kernel in training and for long texts, once for all their steps; otherwise it never is.
        fused = self.has_kernel and mask is None and (T > 1 or x.is_cuda)
        fused = fused and (self.is_dense or self.training or T >= LONG)
        if fused and not torch.compiler.is_compiling() and self.matrices_are_bare():
            y, h, c = self.kernel(x, h, c)
        elif self.rounds and torch.is_autocast_enabled(x.device.type):  # its casts cost more than its small products
            with torch.autocast(x.device.type, enabled=False):
                x, h, c = (s.to(self.bias.dtype) for s in (x, h, c))
                y, h, c = self.unroll(x, mask, h, c)
        else:
            y, h, c = self.unroll(x, mask, h, c)
        if past_key_values is not None:
            past_key_values.layers[self.layer].update(h, c, seen=T)
        return y

    def matrices_are_bare(self) -> bool:
        """Whether the kernel may read the matrices directly: nobody wrapped or hooked them (adapters, offloading)."""
        forms = [form for form in (self.input, self.recurrent, self.projection) if form is not None]
        return all(
            type(form) in MATRICES and not form._forward_pre_hooks and not form._forward_hooks
            and not hasattr(form, "_hf_hook") for form in forms
        )  # fmt: skip

    def initial_state(self, x, past_key_values):
        """(h [B, O], c [B, H or 0]) from the cache, zeros where there is none; checks that they fit the batch."""
        state = None if past_key_values is None else past_key_values.layers[self.layer]
        if state is None or not state.is_initialized or state.cumulative_length == 0:
            return tuple(x.new_zeros(x.shape[0], size) for size in self.state_sizes)
        found = (tuple(state.keys.shape), tuple(state.values.shape))
        needed = tuple((x.shape[0], size) for size in self.state_sizes)
        if found != needed:
            raise ValueError(
                f"past_key_values holds a state of shapes {found} in layer {self.layer}, input and model need "
                f"{needed}; pass the cache of the same batch and model, or none"
            )
        return state.keys.to(x.dtype), state.values.to(x.dtype)

    def kernel(self, x, h, c):
        """The framework's fused cell over x [B, T, in] -> y [B, T, O], h, c."""
        W, U = self.input.to_dense(), self.recurrent.to_dense()
        if self.training and self.weight_drop:
            U = F.dropout(U, self.weight_drop)
        bare = (W, U, self.bias)
        W, U, b = (with_forget_gate(rows) for rows in bare) if self.cell == "cifg" else bare
        b_hh = torch.zeros_like(b)
        if self.candidate_bias is not None:
            b_hh = torch.cat([b_hh[: -len(self.candidate_bias)], self.candidate_bias])
        weights = [W, U, b, b_hh] + ([] if self.projection is None else [self.projection.to_dense()])
        if torch.is_autocast_enabled(x.device.type):  # the kernel wants one dtype; autocast reaches x and weights only
            h, c = (s.to(torch.get_autocast_dtype(x.device.type)) for s in (h, c))
        train = self.training or torch.is_grad_enabled()  # cuDNN differentiates in training mode only; no dropout here
        options = (True, 1, 0.0, train, False, True)  # bias, layers, dropout, train, bidirectional, batch first
        if self.state_sizes[1]:
            y, h, c = _VF.lstm(x, (h[None], c[None]), weights, *options)
            return y, h[0], c[0]
        run = _VF.gru if self.cell == "gru" else _VF.rnn_tanh
        y, h = run(x, h[None], weights, *options)
        return y, h[0], c

    def unroll(self, x, mask, h, c):
        """The cell step by step over x [B, T, in]: any weight form, any mask -> y [B, T, O], h, c."""
        recurrent = self.dropped(self.recurrent)
        candidate = None if self.candidate is None else self.dropped(self.candidate)
        if x.shape[1] == 1 and mask is None:
            h, c = self.token(x[:, 0], h, c, recurrent, candidate)
            return h[:, None], h, c
        steps = []
        step, inputs = (self.token, x) if self.rounds else (self.step, self.input(x) + self.bias)
        for t, given in enumerate(inputs.unbind(1)):  # [B, N] or [B, G*H]
            new_h, new_c = step(given, h, c, recurrent, candidate)
            if mask is not None:
                keep = mask[:, t, None]
                new_h, new_c = torch.where(keep, new_h, h.to(new_h.dtype)), torch.where(keep, new_c, c.to(new_c.dtype))
            h, c = new_h, new_c
            steps.append(h)
        return torch.stack(steps, dim=1), h, c

    def dropped(self, form):
        """The form's product, with a share of its stored numbers dropped, the same ones at every time step."""
        if not self.training or not self.weight_drop:
            return form
        tensors = {name: F.dropout(p, self.weight_drop) for name, p in form.named_parameters() if p.requires_grad}
        return lambda h: torch.func.functional_call(form, tensors, (h,))

    def mogrify(self, x, h):
        """x [B, N] and h [B, O], scaled by each other in turn (Melis et al. 2020, eq. 1-2)."""
        for number, form in enumerate(self.mogrifier):
            if number % 2 == 0:
                x = 2 * torch.sigmoid(form(h)) * x
            else:
                h = 2 * torch.sigmoid(form(x)) * h
        return x, h

    def token(self, x, h, c, recurrent, candidate):
        """x [B, N], h [B, O], c [B, H or 0] -> h, c after one token."""
        if self.rounds:
            x, h = self.mogrify(x, h)
        return self.step(self.input(x) + self.bias, h, c, recurrent, candidate)

    def step(self, xw, h, c, recurrent, candidate):
        """xw [B, G*H] input product with bias, h [B, O], c [B, H or 0] -> h, c after one token."""
        if self.cell == "lstm":
            out, c = lstm_step(xw + recurrent(h), c)
        elif self.cell == "cifg":
            out, c = cifg_step(xw + recurrent(h), c)
        elif self.cell == "rnn":
            out = torch.tanh(xw + recurrent(h))  # eq. 2-3, 8
        elif candidate is None:
            H = xw.shape[-1] // 3
            hu = recurrent(h)
            r, z = torch.sigmoid(xw[:, : 2 * H] + hu[:, : 2 * H]).chunk(2, dim=-1)  # eq. 16-17
            n = torch.tanh(xw[:, 2 * H :] + r * (hu[:, 2 * H :] + self.candidate_bias))  # eq. 18, reset after
            return n + z * (h - n), c  # eq. 19 with the previous time step, z as in torch (it keeps)
        else:
            P = self.projection_size
            r, z = torch.sigmoid(xw[:, : 2 * P] + recurrent(h)).chunk(2, dim=-1)
            n = self.projection(torch.tanh(xw[:, 2 * P :] + candidate(r * h)))  # eq. 18, 21
            return n + z * (h - n), c
        return out if self.projection is None else self.projection(out), c  # eq. 9, 20


__all__ = ["RnnLmLayer"]
