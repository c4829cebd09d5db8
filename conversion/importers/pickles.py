"""What a pickle would need, read from its instructions without following them, and what to tell of it.

A module saved whole names classes of the code that made it; to load it is to run that code. It is refused here, with
the line that turns it into a state dict where the code is.
"""

from __future__ import annotations

import io
import json
import pickle
import pickletools
import re
import shlex
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from zoo.errors import CheckpointError

CELLS = "the zoo has LSTM, GRU and RNN with tanh: import a model of one of these"
TRANSFORMER = f"is a Transformer, which is no recurrent network; {CELLS}"
QRNN = f"has QRNN layers, which are no cell of the zoo; {CELLS}"
RELU = f"is an RNN with relu, which is no cell of the zoo; {CELLS}"
HARMLESS = ("collections.", "torch.", "builtins.", "numpy.", "__builtin__.")
KEYS = ("state_dict", "model_state_dict", "model_state", "model", "net")  # where a dict keeps its module or weights


@dataclass(frozen=True)
class Pickle:
    """What a pickle names.

    Attributes:
        top: `dict`, `list` or `object`, what it holds.
        globals: classes and functions, `module.name`, in order.
        strings: all texts in it.
    """

    top: str
    globals: tuple[str, ...]
    strings: frozenset[str]


def inspect(path: Path) -> Pickle | None:
    """What the pickle in a file of `torch.save` names, of any release of torch; None: there is no such pickle."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                name = next(name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl")
                return _read(io.BytesIO(archive.read(name)))
        with path.open("rb") as file:
            for _ in range(3):  # torch before 1.6: a magic number, a version and the machine come first
                list(pickletools.genops(file))
            return _read(file)
    except (OSError, ValueError, EOFError, StopIteration, zipfile.BadZipFile, NotImplementedError):
        return None


def _read(file: IO[bytes]) -> Pickle:
    """Collects names and texts of one pickle."""
    names: dict[str, None] = {}
    strings: list[str] = []
    made = ""  # the first instruction that makes something
    for opcode, argument, _ in pickletools.genops(file):
        made = made or (opcode.name if opcode.name not in ("PROTO", "FRAME", "MARK") else "")
        if opcode.name == "GLOBAL":
            names[str(argument).replace(" ", ".")] = None
        elif opcode.name == "STACK_GLOBAL":
            names[".".join(strings[-2:])] = None
        elif isinstance(argument, str):
            strings.append(argument)
    if next(iter(names), "") == "collections.OrderedDict" and made == "GLOBAL":
        made = "DICT"
    top = "dict" if made in ("DICT", "EMPTY_DICT") else "list" if made in ("LIST", "EMPTY_LIST") else "object"
    return Pickle(top, tuple(names), frozenset(strings))


def refusal(path: Path, error: Exception) -> CheckpointError:
    """Why a file cannot be loaded as weights only, and what to type to get a state dict that can."""
    found = inspect(path)
    if found is None or not isinstance(error, pickle.UnpicklingError):
        return CheckpointError(
            f"{path} is no file of torch.save, or a damaged one ({type(error).__name__}); give a state dict saved by "
            "torch.save, or .safetensors"
        )
    if any(
        name.endswith(".TransformerModel") or name.startswith("torch.nn.modules.transformer.") for name in found.globals
    ):
        return CheckpointError(f"{path} {TRANSFORMER}")
    if any("qrnn" in name.lower() for name in found.globals):
        return CheckpointError(f"{path} {QRNN}")
    if "RNN_RELU" in found.strings:
        return CheckpointError(f"{path} {RELU}")
    code = [name for name in found.globals if not name.startswith(HARMLESS)] or re.findall(r"GLOBAL (\S+)", str(error))
    needs = ", ".join(code[:3]) + (" ..." if len(code) > 3 else "")
    target = path.with_name(f"{path.stem}.state.pt")
    tanh = " --nonlinearity tanh" if "RNN_TANH" in found.strings else ""
    return CheckpointError(
        f"{path} is a pickle that needs code to load ({needs}), and no pickled code is run here; if you trust it, type "
        f"in the folder of the code that made it: {snippet(path, target, found)} ; then import "
        f"{shlex.quote(str(target))}{tanh} with your other options"
    )


def snippet(path: Path, target: Path, found: Pickle) -> str:
    """The command that saves the state dict of a pickled module, in the environment of its code."""
    part = ""
    if found.top == "list":  # AWD-LSTM: [model, criterion, optimizer]
        part = "[0]"
    elif found.top == "dict":
        part = f'["{next((key for key in KEYS if key in found.strings), "model")}"]'
    code = (
        'import os; os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"; import torch; '  # torch 2.6 and newer need it
        f'm = torch.load({_text(path)}, map_location="cpu"){part}; '
        f'm = m.state_dict() if hasattr(m, "state_dict") else m; torch.save(m, {_text(target)})'
    )
    return shlex.join(["python", "-c", code])


def _text(value: Any) -> str:
    """A path as a text in Python, in double quotes."""
    return json.dumps(str(Path(value).absolute()), ensure_ascii=False)
