"""Matrices of small integers with scales: 8 and 4 bits a number.

Letters: M rows, N columns, G groups of columns, B vectors; `...` any leading sizes.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init

BLOCK = 1 << 17  # numbers of a packed matrix that are unpacked at once
MIDDLES, LARGEST = 0x00808080, 127 * 2**16
FEW = 16  # rows of a product up to which the integer kernel is faster than unpacking


def digits_of(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors x [B, N] -> three 8-bit digits each [3, B, N], lowest first, and scales [B, 1].

    x = scale (d0 + 2⁸ d1 + 2¹⁶ d2) to 23 bits, about what fp32 holds; the integer kernel takes three rows in the time
    of one.
    """
    scale = torch.linalg.vector_norm(x, torch.inf, dim=1, keepdim=True).clamp_min_(1e-30).div_(LARGEST)
    # With 128 in every byte no digit borrows from the next; without their top bits the bytes are signed digits.
    whole = torch.round(x / scale).to(torch.int32, memory_format=torch.contiguous_format)
    whole = whole.add_(MIDDLES).bitwise_xor_(MIDDLES)
    return whole.view(torch.int8).view(*x.shape, 4)[..., :3].permute(2, 0, 1).contiguous(), scale


def joined(products: torch.Tensor) -> torch.Tensor:
    """Products of the digits [3, ...] int32 -> their sum [...] in floats."""
    low, middle, high = products.float()
    return low.add_(middle, alpha=256).add_(high, alpha=65536)


class Packed(nn.Module):
    """A matrix [M, N] of small integers. Learns nothing itself; gradients go through it to its input.

    A subclass says how rows are unpacked, and multiplies a few vectors without unpacking.
    """

    bound: float
    weight: nn.Parameter

    def __init__(self, rows: int, columns: int, bias: bool, lookup: bool):
        super().__init__()
        self.num_rows, self.num_columns, self.lookup = rows, columns, lookup
        self.bias = nn.Parameter(torch.empty(rows)) if bias else None

    def unpack(self, index: Any) -> torch.Tensor:
        """The rows that an index (a slice or ids [n]) selects, as floats [n, N]."""
        raise NotImplementedError

    def few(self, x: torch.Tensor) -> torch.Tensor:
        """x [B, N] -> x Wᵀ [B, M] by integer products."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """ids [...] -> rows [..., N] where it is a lookup table, else x [..., N] -> x Wᵀ + bias [..., M]."""
        if self.lookup:
            return self.rows(x)
        if torch.compiler.is_compiling() or (torch.is_grad_enabled() and x.requires_grad):
            y = F.linear(x, self.to_dense().to(x.dtype))
        else:
            with torch.no_grad():  # the library's loader makes the scales ask for a gradient
                y = self.product(x.reshape(-1, self.num_columns)).view(*x.shape[:-1], self.num_rows)
        return y if self.bias is None else y + self.bias

    def product(self, x: torch.Tensor) -> torch.Tensor:
        """x [B, N] -> x Wᵀ [B, M]; of the matrix one block of rows is unpacked at a time."""
        narrow = self.weight.shape[1] == 1  # torch._int_mm is wrong for a single column
        fits = x.dtype == torch.float32 and 0 < len(x) * self.rows_of_a_vector() <= FEW
        if x.device.type == "cpu" and fits and not narrow:
            return self.few(x)
        return torch.cat([F.linear(x, self.unpack(block).to(x.dtype)) for block in self.blocks()], dim=1)

    def rows_of_a_vector(self) -> int:
        """Rows that the integer kernel multiplies for one vector."""
        return 3

    def blocks(self, numbers: int = BLOCK) -> list[slice]:
        """Slices of rows small enough to be unpacked at once."""
        size = max(1, numbers // self.num_columns)
        return [slice(start, start + size) for start in range(0, self.num_rows, size)]

    def rows(self, ids: torch.Tensor) -> torch.Tensor:
        """ids [...] -> rows [..., N]."""
        return self.unpack(ids.flatten()).view(*ids.shape, self.num_columns)

    def transposed(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., M] -> x W [..., N]."""
        if torch.is_grad_enabled() and x.requires_grad:
            return x @ self.to_dense().to(x.dtype)
        return sum(x[..., block] @ self.unpack(block).to(x.dtype) for block in self.blocks())  # type: ignore[return-value]

    def to_dense(self) -> torch.Tensor:
        """The matrix [M, N] in floats."""
        return self.unpack(slice(None))


def chosen(tensor: torch.Tensor, index: Any) -> torch.Tensor:
    """The rows that a slice or ids [n] select; IndexError for ids below 0, which indexing would count from the end."""
    return tensor[index] if isinstance(index, slice) else tensor.index_select(0, index)


class Int8(Packed):
    """A matrix [M, N] in 8 bits a number.

    Scheme `row`: w = scale[m] q, q in -127..127. Scheme `range`: the closest of 256 equal steps from the least to the
    greatest number, w = low + step (q + 128) (Grachev et al. 2019, section 4.1).
    """

    required = {"scheme": str}
    optional: dict[str, type] = {}
    scale: Any
    low: Any
    step: Any

    def __init__(self, scheme: str, rows: int, columns: int, bias: bool = False, lookup: bool = False):
        super().__init__(rows, columns, bias, lookup)
        self.weight = nn.Parameter(torch.empty(rows, columns, dtype=torch.int8), requires_grad=False)
        self.scale = nn.Parameter(torch.empty(rows), requires_grad=False) if scheme == "row" else None
        self.low = nn.Parameter(torch.empty(()), requires_grad=False) if scheme == "range" else None
        self.step = nn.Parameter(torch.empty(()), requires_grad=False) if scheme == "range" else None

    @staticmethod
    def check(spec: dict, rows: int, columns: int) -> None:
        """ValueError for a scheme that does not exist."""
        if spec["scheme"] not in ("row", "range"):
            raise ValueError(f"scheme {spec['scheme']!r}; it must be 'row' (a scale per row) or 'range' (256 steps)")

    @classmethod
    def build(cls, spec: dict, rows: int, columns: int, bias: bool, lookup: bool) -> nn.Module:
        """An empty matrix [rows, columns]."""
        return cls(spec["scheme"], rows, columns, bias, lookup)

    @staticmethod
    def from_dense(matrix: torch.Tensor, spec: dict, limits: Any = None) -> dict[str, torch.Tensor]:
        """The nearest integers to a matrix [M, N].

        `limits`: where numbers are cut off, the largest size per row [M] (row) or (low, high) (range); None: nowhere.
        """
        matrix = matrix.detach().float()
        if spec["scheme"] == "row":
            limits = matrix.abs().amax(dim=1) if limits is None else limits
            scale = limits / 127
            q = torch.round(matrix / torch.where(scale == 0, 1, scale)[:, None]).clamp(-127, 127)
            return {"weight": q.to(torch.int8), "scale": scale}
        low, high = matrix.aminmax() if limits is None else limits
        step = (high - low) / 255
        q = torch.round((matrix - low) / torch.where(step == 0, 1, step)).clamp(0, 255) - 128
        return {"weight": q.to(torch.int8), "low": low.clone(), "step": step}

    def unpack(self, index: Any) -> torch.Tensor:
        q = chosen(self.weight, index)
        if self.scale is not None:
            return q * chosen(self.scale, index)[:, None]
        return self.low + self.step * (q.to(self.step.dtype) + 128)

    def few(self, x: torch.Tensor) -> torch.Tensor:
        digits, scale = digits_of(x)
        y = joined(torch._int_mm(digits.flatten(0, 1), self.weight.t()).view(3, len(x), -1)).mul_(scale)
        if self.scale is not None:
            return y.mul_(self.scale)
        return y.mul_(self.step).add_((self.low + 128 * self.step) * x.sum(dim=1, keepdim=True))

    def reset(self) -> None:
        """Fills the matrix from U(-bound, bound) and the bias with zeros."""
        init.copy_(self.weight, torch.randint_like(self.weight, -127, 128))
        if self.scale is not None:
            init.constant_(self.scale, self.bound / 127)
        else:
            init.constant_(self.step, self.bound / 127)
            init.constant_(self.low, -self.bound * 128 / 127)
        if self.bias is not None:
            init.zeros_(self.bias)


class Int4(Packed):
    """A matrix [M, N] in 4 bits a number, w = scale[m, g] q with q in -7..7 and a scale per `group` columns of a row.

    Column 2k lies in the low half of a byte and 2k + 1 in the high one, each as q + 8.
    """

    required = {"group": int}
    optional: dict[str, type] = {}

    def __init__(self, group: int, rows: int, columns: int, bias: bool = False, lookup: bool = False):
        super().__init__(rows, columns, bias, lookup)
        self.group = group
        self.weight = nn.Parameter(torch.empty(rows, -(-columns // 2), dtype=torch.uint8), requires_grad=False)
        self.scale = nn.Parameter(torch.empty(rows, -(-columns // group)), requires_grad=False)

    @staticmethod
    def check(spec: dict, rows: int, columns: int) -> None:
        """ValueError for an odd group, whose columns would share a byte with the next one's."""
        if spec["group"] % 2:
            raise ValueError(f"group {spec['group']}; it must be even, e.g. {spec['group'] + 1}")

    @classmethod
    def build(cls, spec: dict, rows: int, columns: int, bias: bool, lookup: bool) -> nn.Module:
        """An empty matrix [rows, columns]."""
        return cls(spec["group"], rows, columns, bias, lookup)

    @staticmethod
    def from_dense(matrix: torch.Tensor, spec: dict, limits: Any = None) -> dict[str, torch.Tensor]:
        """The nearest integers to a matrix [M, N]; `limits` [M, G]: the size at which numbers are cut off."""
        matrix, group = matrix.detach().float(), spec["group"]
        M, N = matrix.shape
        padded = F.pad(matrix, (0, -N % group)).view(M, -1, group)
        scale = (padded.abs().amax(dim=2) if limits is None else limits) / 7
        q = torch.round(padded / torch.where(scale == 0, 1, scale)[..., None]).clamp(-7, 7).view(M, -1)
        pairs = (F.pad(q[:, :N], (0, N % 2)) + 8).to(torch.uint8).view(M, -1, 2)
        return {"weight": pairs[..., 0] | (pairs[..., 1] << 4), "scale": scale}

    def unpack(self, index: Any) -> torch.Tensor:
        pairs = chosen(self.weight, index)
        q = torch.stack([pairs & 15, pairs >> 4], dim=-1).flatten(1)[:, : self.num_columns]
        scale = chosen(self.scale, index).repeat_interleave(self.group, dim=1)[:, : self.num_columns]
        return (q.to(scale.dtype) - 8) * scale

    def rows_of_a_vector(self) -> int:
        return 3 * self.scale.shape[1] // 4  # the wide ones are worth it still, as unpacking to floats is dear

    def few(self, x: torch.Tensor) -> torch.Tensor:
        # A row of the kernel's input per group, the other columns zero, so that each group gets its own sum.
        B, N = x.shape
        G = self.scale.shape[1]
        groups = torch.arange(N, device=x.device) // self.group == torch.arange(G, device=x.device)[:, None]
        digits, scale = digits_of(x)
        spread = F.pad(digits[:, :, None] * groups, (0, N % 2)).view(3 * B * G, -1, 2)  # [3 B G, N/2, 2]
        even, odd = spread[..., 0].contiguous(), spread[..., 1].contiguous()
        # q was stored with 8 added: eight times the sum of the input is taken off again.
        surplus = 8 * joined((even.int() + odd.int()).sum(dim=1).view(3, B, G))[..., None]  # [B, G, 1]
        parts = []
        for block in self.blocks(4 * BLOCK):  # in bytes here
            pairs = self.weight[block]
            low, high = (pairs & 15).view(torch.int8), (pairs >> 4).view(torch.int8)
            sums = torch._int_mm(even, low.t()) + torch._int_mm(odd, high.t())
            y = joined(sums.view(3, B, G, -1)) - surplus  # [B, G, rows]
            parts.append((y * self.scale[block].t()).sum(dim=1))
        return torch.cat(parts, dim=1) * scale

    def reset(self) -> None:
        """Fills the matrix from U(-bound, bound) and the bias with zeros."""
        q = torch.randint(1, 16, (*self.weight.shape, 2), dtype=torch.uint8, device=self.weight.device)
        init.copy_(self.weight, q[..., 0] | (q[..., 1] << 4))
        init.constant_(self.scale, self.bound / 7.48)  # the variance of 15 levels
        if self.bias is not None:
            init.zeros_(self.bias)
