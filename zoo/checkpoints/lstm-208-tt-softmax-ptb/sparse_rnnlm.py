"""Matrices of which most numbers are zero, in compressed sparse rows.

Letters: M rows, N columns, K stored numbers, B vectors; `...` any leading sizes.
"""

import warnings
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init

warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")


def column_type(columns: int) -> torch.dtype:
    """The integers that number the columns."""
    return torch.uint8 if columns <= 1 << 8 else torch.int16 if columns < 1 << 15 else torch.int32


class Sparse(nn.Module):
    """A matrix [M, N] as its K numbers that are not zero, their columns, and where each row starts.

    The numbers are floats, or with `values` {"form": "int8"} 8-bit ones with a scale per row.
    """

    required = {"nonzeros": int}
    optional = {"values": dict}
    bound: float

    def __init__(self, spec: dict, rows: int, columns: int, bias: bool = False, lookup: bool = False):
        super().__init__()
        K, small = spec["nonzeros"], spec.get("values", {}).get("form") == "int8"
        self.num_rows, self.num_columns, self.lookup = rows, columns, lookup
        values = torch.empty(K, dtype=torch.int8) if small else torch.empty(K)
        self.values = nn.Parameter(values, requires_grad=not small)
        self.columns = nn.Parameter(torch.empty(K, dtype=column_type(columns)), requires_grad=False)
        self.starts = nn.Parameter(torch.empty(rows + 1, dtype=torch.int32), requires_grad=False)
        self.scale = nn.Parameter(torch.empty(rows), requires_grad=False) if small else None
        self.bias = nn.Parameter(torch.empty(rows)) if bias else None

    @staticmethod
    def check(spec: dict, rows: int, columns: int) -> None:
        """ValueError for more numbers than the matrix has, or numbers stored in another form."""
        if spec["nonzeros"] > rows * columns:
            raise ValueError(f"nonzeros {spec['nonzeros']} for {rows} x {columns}; at most {rows * columns}")
        if spec.get("values", {"form": "int8"}) != {"form": "int8"}:
            raise ValueError(f"values {spec['values']}; of sparse matrices they are floats (leave it out) or "
                             "{'form': 'int8'}")  # fmt: skip

    @classmethod
    def build(cls, spec: dict, rows: int, columns: int, bias: bool, lookup: bool) -> nn.Module:
        """An empty matrix [rows, columns]."""
        return cls(spec, rows, columns, bias, lookup)

    @staticmethod
    def from_dense(matrix: torch.Tensor, spec: dict) -> dict[str, torch.Tensor]:
        """The K numbers of a matrix [M, N] that are largest in size; its zeros among them if it has fewer others."""
        matrix = matrix.detach().float()
        M, N = matrix.shape
        places = torch.topk(matrix.abs().flatten(), spec["nonzeros"]).indices.sort().values
        values, row = matrix.flatten()[places], places // N
        starts = F.pad(torch.bincount(row, minlength=M).cumsum(0), (1, 0)).int()
        columns = (places % N).to(column_type(N))
        tensors = {"values": values, "columns": columns, "starts": starts}
        if "values" in spec:
            scale = torch.zeros(M).scatter_reduce(0, row, values.abs(), "amax") / 127
            q = torch.round(values / torch.where(scale == 0, 1, scale)[row]).clamp(-127, 127)
            tensors.update(values=q.to(torch.int8), scale=scale)
        return tensors

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """ids [...] -> rows [..., N] where it is a lookup table, else x [..., N] -> x Wᵀ + bias [..., M]."""
        if self.lookup:
            return self.rows(x)
        if torch.compiler.is_compiling() or torch.is_grad_enabled():
            y = F.linear(x, self.to_dense().to(x.dtype))  # the sparse kernels differentiate neither side
        else:
            y = self.product(x.reshape(-1, self.num_columns)).view(*x.shape[:-1], self.num_rows)
        return y if self.bias is None else y + self.bias

    def product(self, x: torch.Tensor) -> torch.Tensor:
        """x [B, N] -> x Wᵀ [B, M]."""
        size = (self.num_rows, self.num_columns)
        values, kind = self.values.to(torch.float32), x.dtype
        matrix = torch.sparse_csr_tensor(self.starts, self.columns.int(), values, size, check_invariants=False)
        x = x.to(torch.float32)
        with torch.autocast(x.device.type, enabled=False):  # there is no sparse product in bfloat16
            y = torch.mv(matrix, x[0])[None] if len(x) == 1 else (matrix @ x.t()).t()
        return (y if self.scale is None else y * self.scale).to(kind)

    def numbers(self, places: Any, row: torch.Tensor) -> torch.Tensor:
        """The stored numbers at some places, which lie in the rows `row`, as floats."""
        values = self.values[places]
        return values if self.scale is None else values * self.scale[row]

    def rows(self, ids: torch.Tensor) -> torch.Tensor:
        """ids [...] -> rows [..., N]."""
        flat = ids.flatten()
        first = self.starts[:-1].index_select(0, flat).long()  # IndexError for ids below 0 too
        counts = self.starts[flat + 1] - first
        line = torch.repeat_interleave(torch.arange(len(flat), device=flat.device), counts)  # [sum of counts]
        before = counts.cumsum(0) - counts
        places = torch.arange(len(line), device=flat.device) - before[line] + first[line]
        numbers = self.numbers(places, flat[line])
        out = numbers.new_zeros(len(flat), self.num_columns)
        return out.index_put((line, self.columns[places].long()), numbers).view(*ids.shape, self.num_columns)

    def to_dense(self) -> torch.Tensor:
        """The matrix [M, N] with its zeros."""
        row = torch.repeat_interleave(torch.arange(self.num_rows, device=self.starts.device), self.starts.diff())
        numbers = self.numbers(slice(None), row)
        out = numbers.new_zeros(self.num_rows, self.num_columns)
        return out.index_put((row, self.columns.long()), numbers)

    def reset(self) -> None:
        """Spreads the numbers evenly, filled so that a product has the variance of U(-bound, bound); zeros the bias."""
        K, device = len(self.values), self.values.device
        bound = self.bound * (self.num_rows * self.num_columns / K) ** 0.5
        places = torch.arange(K, device=device) * (self.num_rows * self.num_columns) // K
        starts = -(torch.arange(self.num_rows + 1, device=device) * -K // self.num_rows)  # the first place of each row
        init.copy_(self.columns, (places % self.num_columns).to(self.columns.dtype))
        init.copy_(self.starts, starts.int())
        if self.scale is None:
            init.uniform_(self.values, -bound, bound)
        else:
            init.copy_(self.values, torch.randint_like(self.values, -127, 128))
            init.constant_(self.scale, bound / 127)
        if self.bias is not None:
            init.zeros_(self.bias)
