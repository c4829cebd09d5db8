"""Size of a checkpoint in three counts that are never mixed: parameters, nonzeros, bytes on disk."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from zoo.counts import count, total
from zoo.hub import folder_of, verify

from .report import RESULTS, check_out, name_of, sha256_of, told, write

NETWORK_FILES = ("config.json", "model.safetensors")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def measure(folder: str | Path) -> dict[str, int]:
    """Counts the parameters, nonzeros and bytes of a checkpoint folder from its files alone.

    Returns:
        parameters: numbers of the factors that the matrices are stored as, a tied head once; nonzeros: those that are
        not zero; by_rows: all numbers of rows that are not empty (Grachev et al. 2019, Table 2, counts sparse matrices
        so); bytes: config.json and model.safetensors; tokenizer_bytes: the tokenizer's files.

    Raises:
        CheckpointError: the folder lacks a file, its weights are damaged, or config and weights do not belong together.
    """
    folder = Path(folder)
    verify(folder)
    parts = count(folder)
    counts = total(parts)
    return {
        "parameters": counts["parameters"],
        "nonzeros": counts["nonzeros"],
        "by_rows": sum(part.by_rows for part in parts),
        "bytes": sum((folder / name).stat().st_size for name in NETWORK_FILES),
        "tokenizer_bytes": sum((folder / name).stat().st_size for name in TOKENIZER_FILES),
    }


def main(arguments: list[str] | None = None) -> int:
    """Measures the checkpoints named on the command line; writes `results/<name>/size.json`."""
    parser = argparse.ArgumentParser(prog="python -m bench.size", description=__doc__)
    parser.add_argument("checkpoint", nargs="+", help="name of a shipped checkpoint, folder, or owner/name on the Hub")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results (default: bench/results)")
    given = parser.parse_args(arguments)

    def run() -> int:
        check_out(given.out)
        for checkpoint in given.checkpoint:
            name = name_of(checkpoint)
            folder = folder_of(checkpoint)
            counts = measure(folder)
            sha256 = sha256_of(folder)
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            write(given.out / name / "size.json", {"name": name, "sha256": sha256} | counts | {"config": config})
            print(f"{name}: {', '.join(f'{count:,} {what}' for what, count in counts.items())}")
        return 0

    return told(run)


if __name__ == "__main__":
    sys.exit(main())
