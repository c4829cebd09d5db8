"""LSTM and CIFG layers for training on a processor: the gradients of the matrices are one product each, not one a step.

The framework's own cell adds a gradient of each matrix at every time step and casts the matrices as often; here the
steps keep what the gradients need and the matrices are cast once.

Letters: B batch, T time, H hidden, P projection, O layer output (P if projected, else H), N width of the input, G rows
of the matrices (4H LSTM, 3H CIFG).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from zoo.modeling_rnnlm import RnnLmLayer

CELLS = ("lstm", "cifg")


class TrainedLayer(RnnLmLayer):
    """A layer whose kernel is the one below while it learns on a processor."""

    input: Any
    recurrent: Any
    projection: Any

    def kernel(self, x, h, c):
        """x [B, T, N], h [B, O], c [B, H] -> y [B, T, O], h, c, in fp32 where it is this module's kernel."""
        if x.is_cuda or not (self.training and torch.is_grad_enabled()):
            return super().kernel(x, h, c)
        W, U = self.input.to_dense(), self.recurrent.to_dense()
        if self.weight_drop:
            U = F.dropout(U, self.weight_drop)
        R = None if self.projection is None else self.projection.to_dense()
        low = torch.is_autocast_enabled(x.device.type)
        dtype = torch.get_autocast_dtype(x.device.type) if low else self.bias.dtype
        with torch.autocast(x.device.type, enabled=False):
            return recur(x, h, c, W, U, self.bias, R, self.cell, dtype)


def train_with_kernel(model: nn.Module) -> None:
    """Makes the model's LSTM and CIFG layers learn through this module's kernel; numbers and names stay."""
    for module in model.modules():
        if type(module) is RnnLmLayer and module.cell in CELLS:
            module.__class__ = TrainedLayer


def recur(
    x: torch.Tensor,
    h: torch.Tensor,
    c: torch.Tensor,
    W: torch.Tensor,
    U: torch.Tensor,
    b: torch.Tensor,
    R: torch.Tensor | None,
    cell: str,
    dtype: torch.dtype = torch.float32,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A layer over T steps (Grachev et al. 2019, eq. 11-15; CIFG: Greff et al. 2015; projection: eq. 9, 20).

    Args:
        x: [B, T, N]. h: [B, O]. c: [B, H].
        W: [G, N]. U: [G, O]. b: [G].
        R: [P, H], or None without a projection.
        cell: `lstm` or `cifg`.
        dtype: of the products; sums of the cell and what is returned are fp32.

    Returns:
        y [B, T, O], and the state after the last step: h [B, O], c [B, H].
    """
    y, c = _Recurrence.apply(x, h, c, W, U, b, R, cell, dtype)
    return y.transpose(0, 1), y[-1], c


class _Recurrence(torch.autograd.Function):
    """All steps forwards, all steps backwards, then a product for each matrix."""

    @staticmethod
    def forward(ctx, x, h, c, W, U, b, R, cell, dtype):
        (B, T, _), H = x.shape, c.shape[1]
        low_x = x.transpose(0, 1).to(dtype).contiguous()  # [T, B, N]
        W, U, R = (None if matrix is None else matrix.detach().to(dtype) for matrix in (W, U, R))
        given = (low_x.flatten(0, 1) @ W.t()).view(T, B, -1)
        O = len(W) // len(U) * U.shape[1]
        gates = torch.empty(T, B, len(W))  # after their activations
        cells, bent, outs = torch.empty(T + 1, B, H), torch.empty(T, B, H), torch.empty(T + 1, B, O)
        inner = torch.empty(T, B, H, dtype=dtype)  # of the projection
        cells[0], outs[0] = c, h
        low_h = h.to(dtype)
        for t in range(T):
            torch.add(torch.addmm(given[t], low_h, U.t()), b, out=gates[t])
            if cell == "lstm":
                i, f, g, o = gates[t].chunk(4, dim=1)
                torch.mul(f.sigmoid_(), cells[t], out=cells[t + 1])
            else:
                i, g, o = gates[t].chunk(3, dim=1)
                cells[t + 1] = cells[t]
            g.tanh_(), i.sigmoid_(), o.sigmoid_()
            cells[t + 1].addcmul_(i, g if cell == "lstm" else g - cells[t])
            torch.tanh(cells[t + 1], out=bent[t])
            inner[t] = o * bent[t]
            low_h = inner[t] if R is None else inner[t] @ R.t()
            outs[t + 1] = low_h
        ctx.save_for_backward(low_x, W, U, R, gates, cells, bent, outs, inner)
        ctx.cell, ctx.dtype = cell, dtype
        return outs[1:], cells[-1].clone()

    @staticmethod
    def backward(ctx, dy, dc):
        low_x, W, U, R, gates, cells, bent, outs, inner = ctx.saved_tensors
        T, dtype = len(dy), ctx.dtype
        slopes = torch.empty_like(gates, dtype=dtype)  # with respect to the gates before their activations
        upper = torch.empty_like(outs[1:], dtype=dtype)  # with respect to the outputs
        slope = torch.empty_like(gates[0])
        dh, dc = torch.zeros_like(outs[0]), dc.clone()
        for t in reversed(range(T)):
            upper[t] = dh.add_(dy[t])
            dm = dh if R is None else (upper[t] @ R).float()
            i, *f, g, o = gates[t].chunk(4 if ctx.cell == "lstm" else 3, dim=1)
            di, *df, dg, do = slope.chunk(4 if ctx.cell == "lstm" else 3, dim=1)
            torch.mul(dm, bent[t], out=do)
            dc.addcmul_(dm.mul_(o), 1 - bent[t].square())
            torch.mul(dc, i, out=dg)
            if f:
                torch.mul(dc, g, out=di)
                torch.mul(dc, cells[t], out=df[0])
                df[0].mul_(f[0] * (1 - f[0]))
                dc.mul_(f[0])
            else:
                torch.mul(dc, g - cells[t], out=di)
                dc.sub_(dg)
            di.mul_(i * (1 - i))
            do.mul_(o * (1 - o))
            dg.mul_(1 - g * g)
            slopes[t] = slope
            dh = (slopes[t] @ U).float()
        rows = slopes.flatten(0, 1)  # [T B, G]
        before = outs[:-1].to(dtype).flatten(0, 1)
        grads = [rows.t() @ low_x.flatten(0, 1), rows.t() @ before, rows.sum(0, dtype=torch.float32)]
        projection = None if R is None else (upper.flatten(0, 1).t() @ inner.flatten(0, 1)).float()
        dx = (rows @ W).view(T, -1, W.shape[1]).transpose(0, 1).float()
        return dx, dh, dc, *(grad.float() for grad in grads), projection, None, None
