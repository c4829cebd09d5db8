"""The command: from somebody's file of weights, and its words, to a checkpoint folder."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path

from transformers.utils import logging

from zoo.errors import ZooError
from zoo.layout import read_layout

from .importing import import_checkpoint
from .names import KINDS


def main(arguments: list[str] | None = None, prog: str = "python -m conversion.importers") -> int:
    """Imports a checkpoint as the arguments say; returns 0, or 2 for an error that is told in one line."""
    given = _parser(prog).parse_args(arguments)
    logging.disable_progress_bar()  # transformers' own, for a file that is written at once
    try:
        folder = import_checkpoint(**vars(given))
    except (ZooError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    _tell(folder, given.corpus)
    return 0


def _parser(prog: str) -> argparse.ArgumentParser:
    """The options; their names are the arguments of `import_checkpoint`."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, allow_abbrev=False)
    parser.add_argument("file", help="state dict: .pt, .pth, .bin (read with weights_only=True) or .safetensors")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="the checkpoint folder to write")
    parser.add_argument("--kind", choices=("auto", *KINDS), default="auto", help="what made the file (default: auto)")
    words = parser.add_mutually_exclusive_group()
    words.add_argument("--vocabulary", metavar="FILE", help="the words: one a line in order of ids, or a .json file")
    words.add_argument(
        "--corpus", metavar="DIR", help="train.txt, valid.txt, test.txt, whose words in order of appearance are the ids"
    )
    parser.add_argument("--eos", default="<eos>", metavar="WORD", help="the word that ends a line (default: <eos>)")
    parser.add_argument("--unk", metavar="WORD", help="the word for unknown words (default: <unk>, if there is one)")
    parser.add_argument("--embedding", metavar="NAME", help="tensor of the word vectors (default: found)")
    parser.add_argument(
        "--rnn", metavar="PREFIX", action="append", default=[],
        help="before the names of the recurrent tensors; repeat it for a stack, first layer first (default: found)",
    )  # fmt: skip
    parser.add_argument("--head", metavar="NAME", help="tensor of the output layer (default: found)")
    parser.add_argument("--nonlinearity", choices=("tanh", "relu"), help="of nn.RNN, which its file does not say")
    parser.add_argument(
        "--ignore", metavar="NAME", action="append", default=[],
        help="a tensor that takes no part in the prediction; * stands for any characters; may be repeated",
    )  # fmt: skip
    parser.add_argument("--replace", action="store_true", help="write the folder although it is there")
    return parser


def _tell(folder: Path, corpus: str | None) -> None:
    """Prints what was written, and how to check it."""
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    origin = metrics["imported"]
    network = read_layout(folder).describe()
    print(f"{folder}: {network}, {metrics['parameters']:,} parameters, imported from {origin['kind']}")
    if "padded" in origin:
        print(f"  {origin['padded']}: the same predictions from {origin['parameters']:,} parameters before")
    if "unk_id" not in origin:
        print("  no <unk> among the words: text with other words will be refused; if one stands for them: --unk WORD")
    name = shlex.quote(str(folder))
    print(f"check that the words are right: zoo evaluate {name} --corpus {shlex.quote(corpus or 'DIR')}")
