"""What the latency benchmark can time: contenders by name, and what each of them has to offer.

A contender is one way to run a checkpoint, named `library-format`. Its module imports the library only when asked to do
something, and has four names:

    EXTRA: the pip extra that installs its packages.
    VARIANTS: what it can be asked for.
    prepare(folder, work, variant): writes the files that its library wants into `work`; slow, once per checkpoint.
    open_step(folder, work, variant, threads): the Step over these files.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from zoo.errors import ZooError

TOP = 3
# name -> module and its variant; in the order in which they are listed.
CONTENDERS: dict[str, tuple[str, str]] = {
    "opencl": ("bench.opencl.contender", "stored"),
    "opencl-fp32": ("bench.opencl.contender", "fp32"),
    "opencl-fp16": ("bench.opencl.contender", "fp16"),
    "torch": ("bench.peers.pytorch", "model"),
    "torch-step": ("bench.peers.pytorch", "step"),
    "plain-torch": ("bench.peers.pytorch", "plain"),
    "torch-int8": ("bench.peers.pytorch", "int8"),
    "numpy": ("bench.peers.numpy_step", "stored"),
    "c": ("bench.peers.plain_c", "stored"),
    "onnxruntime-fp32": ("bench.peers.onnx_runtime", "fp32"),
    "onnxruntime-int8": ("bench.peers.onnx_runtime", "int8"),
    "onnxruntime-int4": ("bench.peers.onnx_runtime", "int4"),
    "litert-fp32": ("bench.peers.litert", "fp32"),
    "litert-int8": ("bench.peers.litert", "int8"),
    "litert-int4": ("bench.peers.litert", "int4"),
    "openvino-fp32": ("bench.peers.openvino", "fp32"),
    "openvino-int8": ("bench.peers.openvino", "int8"),
    "executorch-fp32": ("bench.peers.executorch", "fp32"),
    "executorch-int8": ("bench.peers.executorch", "int8"),
    "ncnn-fp32": ("bench.peers.ncnn", "fp32"),
    "ncnn-fp16": ("bench.peers.ncnn", "fp16"),
    "ncnn-int8": ("bench.peers.ncnn", "int8"),
    "mnn-fp32": ("bench.peers.mnn", "fp32"),
    "mnn-int8": ("bench.peers.mnn", "int8"),
    "mnn-int4": ("bench.peers.mnn", "int4"),
    "torch-cuda": ("bench.peers.cuda", "eager"),
    "torch-cuda-graph": ("bench.peers.cuda", "graph"),
    "cudnn": ("bench.peers.cuda", "cudnn"),
}
OURS = "opencl"  # what the peers are compared with; its names begin so


class Step(Protocol):
    """A network that reads one token after the other; its state stays inside.

    It may also have `device_seconds() -> float | None`, the device's own time of the last step, and
    `bandwidth(sizes: list[int]) -> list[float]`, bytes per second when that many bytes are read over and over.
    """

    def __call__(self, token: int) -> tuple[list[int], list[float]]:
        """The id of the word read -> ids of the three best next words, best first, and their logits or log
        probabilities."""

    def reset(self) -> None:
        """Back to the beginning of a text: a state of zeros."""

    def describe(self) -> dict[str, Any]:
        """`format`; `versions`; `file_bytes` of the model that was loaded; `touched_bytes` of weights per token; more.

        `device_type` "gpu" with `device`, its name, where it does not run on the CPU.
        """


def chosen(names: Sequence[str] | None) -> list[str]:
    """The contenders of these names, or all, each once; ZooError for a name that there is not."""
    if not names:
        return list(CONTENDERS)
    for name in names:
        if name not in CONTENDERS:
            close = difflib.get_close_matches(name, CONTENDERS, n=2)
            hint = f"did you mean {' or '.join(close)}? " if close else ""
            raise ZooError(f"no contender {name!r}; {hint}there are {', '.join(CONTENDERS)}")
    return list(dict.fromkeys(names))


def interpreter_of(name: str, interpreters: dict[str, Path]) -> Path | None:
    """The interpreter given for a contender or for a first part of its name; the longest such one, None without."""
    fitting = [prefix for prefix in interpreters if name == prefix or name.startswith(f"{prefix}-")]
    return interpreters[max(fitting, key=len)] if fitting else None


def best_of(logits: Any, count: int) -> tuple[list[int], list[float]]:
    """The ids and logits of the `count` largest of an array [V], which it spoils: for libraries that cannot choose."""
    ids, values = [], []
    for _ in range(count):  # for three words quicker than `zoo.runtime.best_ids`
        best = int(logits.argmax())
        ids.append(best)
        values.append(float(logits[best]))
        logits[best] = -math.inf
    return ids, values


def files_in(work: Path) -> int:
    """Bytes of the files that `prepare` wrote."""
    return sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
