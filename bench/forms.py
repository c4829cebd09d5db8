"""Time and memory of one product of every weight form at the paper's sizes, beside the dense matrix it stands for.

One vector, one thread. Each form is timed only after its answer agreed with that of its dense twin; all forms of a size
take turns in blocks, so that a disturbance of the machine falls on all of them.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.nn import functional as F

from zoo.weights_rnnlm import FORMS, build, check_size, check_spec

from .memory import Memory
from .report import RESULTS, cpu_name, slug, versions, write

WARM_UP, TIMED, BLOCK = 100, 1000, 50
ROW, RANGE, INT4 = {"form": "int8", "scheme": "row"}, {"form": "int8", "scheme": "range"}, {"form": "int4", "group": 32}
PAGE = Path(__file__).parent.parent / "docs" / "compress.md"
BEGIN, END = "<!-- forms: made by bench.forms -->", "<!-- end of forms -->"


def reshape(rows: list[int], columns: list[int], ranks: list[int], **more: Any) -> dict[str, Any]:
    """A Tensor Train by the plain reshape of Grachev et al. 2019, eq. 22."""
    row_modes, column_modes = rows + [1] * len(columns), [1] * len(rows) + columns
    return {"form": "tensor_train", "row_modes": row_modes, "column_modes": column_modes, "ranks": ranks, **more}


def low_rank(rank: int, **more: Any) -> dict[str, Any]:
    """A low rank."""
    return {"form": "low_rank", "rank": rank, **more}


# Which matrix: (rows, columns, rank of Tables 1 and 3, Tensor Train of their sizes).
MATRICES = {
    "output layer of LSTM 200": (10000, 200, 50, reshape([100, 100], [200], [58, 48])),
    "output layer of LSTM 650": (10000, 650, 112, reshape([100, 100], [650], [72, 130])),
    "recurrent matrix of LSTM 600": (2400, 600, 128, reshape([40, 60], [20, 30], [32, 60, 28])),
    "recurrent matrix of LSTM 200": (800, 200, 50, reshape([20, 40], [10, 20], [16, 32, 14])),
}


def specs(rows: int, columns: int, rank: int, train: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every form that is measured, by its name in the table."""
    few = rows * columns // 10
    return {
        "dense": {"form": "dense"},
        f"low rank {rank}": low_rank(rank),
        f"low rank {rank}, int8": low_rank(rank, values=ROW),
        "Tensor Train": train,
        "Tensor Train, int8": {**train, "values": ROW},
        "sparse, 10 %": {"form": "sparse", "nonzeros": few},
        "sparse, 10 %, int8": {"form": "sparse", "nonzeros": few, "values": {"form": "int8"}},
        "int8, scale per row": ROW,
        "int8, 256 intervals": RANGE,
        "int4, groups of 32": INT4,
    }


def filled(spec: dict[str, Any], rows: int, columns: int, matrix: torch.Tensor) -> Any:
    """A form with the numbers of a matrix [rows, columns]."""
    check_spec(spec, "spec")
    check_size(spec, "spec", rows, columns)
    form = build(spec, rows, columns, 0.1)
    form.load_state_dict(FORMS[spec["form"]].from_dense(matrix, spec))
    return form


@torch.no_grad()
def measure(rows: int, columns: int, rank: int, train: dict[str, Any], timed: int = TIMED) -> list[dict[str, Any]]:
    """One row per form: median microseconds, bytes stored, most bytes alive in a product beside them.

    Raises:
        AssertionError: a form's answer is not its dense twin's.
    """
    torch.manual_seed(0)
    matrix, x = torch.randn(rows, columns) * 0.1, torch.randn(1, columns)
    forms = {name: filled(spec, rows, columns, matrix) for name, spec in specs(rows, columns, rank, train).items()}
    found = []
    for name, form in forms.items():
        torch.testing.assert_close(form(x), F.linear(x, form.to_dense()), atol=1e-4, rtol=1e-4, msg=name)
        with Memory() as memory:
            form(x)
        found.append(
            {
                "form": name,
                "parameters": sum(p.numel() for key, p in form.named_parameters() if key.split(".")[-1] in NUMBERS),
                "bytes": sum(p.numel() * p.element_size() for p in form.parameters()),
                "peak_bytes": memory.peak,
                "largest_bytes": memory.largest,
            }
        )
    times: dict[str, list[float]] = {name: [] for name in forms}
    for form in forms.values():
        for _ in range(WARM_UP):
            form(x)
    for _ in range(max(1, timed // BLOCK)):
        for name, form in forms.items():
            for _ in range(min(BLOCK, timed)):
                start = time.perf_counter()
                form(x)
                times[name].append(time.perf_counter() - start)
    dense = median(times["dense"])
    for row in found:
        own = sorted(times[row["form"]])
        row["median_us"] = round(median(own) * 1e6, 2)
        row["p95_us"] = round(own[int(0.95 * len(own))] * 1e6, 2)
        row["of_dense"] = round(median(own) / dense, 3)
    return found


NUMBERS = ("weight", "values")  # the tensors that hold parameters; scales and indices do not


def table(result: dict[str, Any]) -> str:
    """The result in Markdown."""
    lines = [f"{result['device']}, one thread, median of {result['timed']} products of one vector in torch."]
    for name, entry in result["matrices"].items():
        lines += ["", f"**{name}, {entry['rows']} x {entry['columns']}**", ""]
        lines += ["| form | kB stored | µs | of dense | kB made in a product |", "|---|---:|---:|---:|---:|"]
        lines += [
            f"| {row['form']} | {row['bytes'] / 1e3:,.0f} | {row['median_us']:,.0f} | {row['of_dense']:.2f} "
            f"| {row['peak_bytes'] / 1e3:,.0f} |"
            for row in entry["forms"]
        ]
    return "\n".join(lines)


def render(result: dict[str, Any], page: Path) -> None:
    """Puts the table into a page between its marks."""
    text = page.read_text(encoding="utf-8")
    block = f"{BEGIN}\n{table(result)}\n{END}"
    text = re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: block, text, flags=re.S)
    page.write_text(text, encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Measures, writes `results/forms/<device>.json`, and the table of docs/compress.md."""
    parser = argparse.ArgumentParser(prog="python -m bench.forms", description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS / "forms", help="folder (default: bench/results/forms)")
    parser.add_argument("--timed", type=int, default=TIMED, help=f"products per form (default: {TIMED})")
    parser.add_argument("--page", type=Path, default=PAGE, help="page whose table is renewed")
    given = parser.parse_args(arguments)
    if given.timed < 1:
        parser.error(f"--timed is {given.timed}; it must be at least 1")
    torch.set_num_threads(1)
    matrices = {}
    for name, (rows, columns, rank, train) in MATRICES.items():
        matrices[name] = {"rows": rows, "columns": columns, "forms": measure(rows, columns, rank, train, given.timed)}
    result = {"device": cpu_name(), "threads": 1, "warm_up": WARM_UP, "timed": given.timed, "versions": versions()}
    write(given.out / f"{slug(cpu_name())}.json", {**result, "matrices": matrices})
    print(table({**result, "matrices": matrices}))
    if given.page.is_file():
        render({**result, "matrices": matrices}, given.page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
