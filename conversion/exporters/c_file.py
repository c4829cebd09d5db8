"""`model.rnnlm`: a checkpoint as one file that C reads where it lies; how is in `c/rnnlm_private.h`.

Numbers stay as the checkpoint stores them, of floats those of 16 bits too; dense integers in blocks of rows. Letters: V
vocabulary, M rows, N columns, G groups.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from zoo import specs
from zoo.errors import ZooError
from zoo.forms import column_type
from zoo.keyboard.vocabulary import Vocabulary
from zoo.layout import prefix_of, read_layout
from zoo.plain_network import check_plain
from zoo.tensors import TensorFile

MAGIC, VERSION = b"rnnlm-c", 3
HEADER, NUMBERS, MATRIX, CORE = "<8s15Ii", "<3I", "<4I", "<5If"
KINDS = [np.dtype(kind) for kind in ("<f4", "<f2", "i1", "u1", "<i2", "<i4")]  # by number
CELLS = ("lstm", "cifg", "gru", "rnn")
ADLER, SUM = 20, 24  # where the header has the checksums of the arrays and of the plan
ROWS, WIDEST = 32, 1 << 14  # rows of a block of integers; columns that are summed in 32 bits
NOTHING = struct.pack(NUMBERS, 0, 0, 0)


class Arrays:
    """Arrays at multiples of 64 bytes, from some place of the file on."""

    def __init__(self, start: int):
        self.content, self.start = bytearray(), -start % 64 + start

    def add(self, array: np.ndarray) -> bytes:
        """Appends an array; the three numbers by which it is found."""
        self.content += bytes(-len(self.content) % 64)
        at = self.start + len(self.content)
        self.content += array.astype(array.dtype.newbyteorder("<")).tobytes()
        if self.start + len(self.content) >= 1 << 32:
            raise ZooError("the file would have 4 GB or more; zoo compress makes the checkpoint smaller")
        return struct.pack(NUMBERS, KINDS.index(array.dtype), array.size, at)


class Writer:
    """Puts the matrices and biases of a checkpoint folder into arrays."""

    def __init__(self, file: TensorFile, arrays: Arrays):
        self.file, self.arrays = file, arrays

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        kind: type[np.generic] | None = None,
        change: Callable[[np.ndarray], np.ndarray] = np.asarray,
    ) -> bytes:
        """A tensor's numbers as they are stored, ordered by `change`; floats of other than 16 bits as fp32."""
        array = self.file.read(name, shape, kind)
        half = kind is None and self.file.header[name]["dtype"] == "F16"
        return self.arrays.add(change(array.astype(np.float16) if half else array))

    def core(self, prefix: str, M: int, N: int, row_mode: int, column_mode: int, spec: specs.Spec) -> bytes:
        """A core, or a matrix that is not of several."""
        form, group, offset, scale, indices, starts = spec["form"], 0, 0.0, NOTHING, NOTHING, NOTHING
        if form in ("int4", "int8") and min(spec.get("group", N), N) > WIDEST:
            raise ZooError(
                f"{prefix} has {N:,} columns of {form}, and the C step takes {WIDEST:,}; take numpy, torch or onnx "
                "(zoo export --to onnx)"
            )
        if form == "dense":
            weight = self.tensor(f"{prefix}.weight", (M, N))
        elif form == "int4":
            group = min(spec["group"], N)
            pairs = self.file.read(f"{prefix}.weight", (M, -(-N // 2)), np.uint8)
            weight = self.arrays.add(int4_blocks(pairs, N, group))
            scale = self.tensor(f"{prefix}.scale", (M, -(-N // group)), change=scale_blocks)
        elif form == "int8":
            weight = self.tensor(f"{prefix}.weight", (M, N), np.int8, change=int8_blocks)
            if spec["scheme"] == "row":
                scale = self.tensor(f"{prefix}.scale", (M,))
            else:
                scale = self.tensor(f"{prefix}.step", ())
                low, step = (self.file.read(f"{prefix}.{name}", ()) for name in ("low", "step"))
                offset = float(np.float32(low + 128 * step))  # as zoo.leaves.Int8
        else:
            K, small = spec["nonzeros"], "values" in spec
            weight = self.tensor(f"{prefix}.values", (K,), np.int8 if small else None)
            indices = self.tensor(f"{prefix}.columns", (K,), column_type(N))
            starts = self.tensor(f"{prefix}.starts", (M + 1,), np.int32)
            scale = self.tensor(f"{prefix}.scale", (M,)) if small else NOTHING
        return struct.pack(CORE, M, N, row_mode, column_mode, group, offset) + weight + scale + indices + starts


def blocks(array: np.ndarray) -> np.ndarray:
    """[M, ...] -> [blocks, ROWS, ...], the last one filled up with zeros."""
    filled = np.zeros((-(-len(array) // ROWS) * ROWS, *array.shape[1:]), array.dtype)
    filled[: len(array)] = array
    return filled.reshape(-1, ROWS, *array.shape[1:])


def int8_blocks(weight: np.ndarray) -> np.ndarray:
    """[M, N] -> [blocks, fours of columns, ROWS, 4]."""
    filled = np.pad(weight, ((0, 0), (0, -weight.shape[1] % 4)))
    return blocks(filled).reshape(-1, ROWS, filled.shape[1] // 4, 4).swapaxes(1, 2)


def int4_blocks(pairs: np.ndarray, N: int, group: int) -> np.ndarray:
    """Two columns a byte [M, N / 2] -> two fours [blocks, eights of columns, ROWS, 4]; groups filled up to eights."""
    weight = np.stack([pairs & 15, pairs >> 4], -1).reshape(len(pairs), -1)[:, :N]
    groups = [weight[:, at : at + group] for at in range(0, N, group)]
    filled = np.concatenate([np.pad(part, ((0, 0), (0, -part.shape[1] % 8))) for part in groups], 1)
    low, high = blocks(filled).reshape(-1, ROWS, filled.shape[1] // 8, 2, 4).transpose(3, 0, 2, 1, 4)
    return low | high << 4


def scale_blocks(scale: np.ndarray) -> np.ndarray:
    """[M, G] -> [blocks, G, ROWS]."""
    return blocks(scale).swapaxes(1, 2)


def cores_of(prefix: str, M: int, N: int, spec: specs.Spec) -> list[tuple[str, int, int, int, int, specs.Spec]]:
    """Prefix, rows, columns, row mode, column mode and spec of the cores; two factors are a Tensor Train of two."""
    values = spec.get("values", specs.DENSE)
    if spec["form"] == "low_rank":
        R = spec["rank"]
        return [(f"{prefix}.left", M, R, M, 1, values), (f"{prefix}.right", R, N, 1, N, values)]
    if spec["form"] == "tensor_train":
        modes = zip(specs.core_shapes(spec), spec["row_modes"], spec["column_modes"], strict=True)
        return [(f"{prefix}.cores.{m}", *shape, i, j, values) for m, (shape, i, j) in enumerate(modes)]
    return [(prefix, M, N, M, N, spec)]


def file_of(folder: Path) -> bytes:
    """The file of a checkpoint folder that has been verified.

    Raises:
        CheckpointError: config and weights do not belong together, or the tokenizer is not one of words.
        ZooError: it would be larger than the format allows, or has Mogrifier gating or several softmaxes.
    """
    layout, file, vocabulary = read_layout(folder), TensorFile(folder), Vocabulary.read(folder)
    check_plain(layout, "the C step", "take numpy, torch or onnx (zoo export --to onnx)")
    cores = {name: cores_of(prefix_of(name), *shape, layout.spec(name)) for name, shape in layout.shapes.items()}
    L, count = layout.num_hidden_layers, sum(map(len, cores.values()))
    sizes = [struct.calcsize(form) for form in (HEADER, NUMBERS, MATRIX, CORE)]
    plan_size = sizes[0] + (4 + 2 * L) * sizes[1] + len(cores) * sizes[2] + count * (sizes[3] + 4 * sizes[1])
    writer = Writer(file, Arrays(plan_size))

    biases = {name: writer.tensor(name, (length,)) for name, length in layout.biases.items()}
    packed: list[bytes] = []
    matrices = b""
    for name, parts in cores.items():
        matrices += struct.pack(MATRIX, *layout.shapes[name], len(packed), len(parts))
        packed += [writer.core(*part) for part in parts]
    words = [word.encode("utf-8", "surrogatepass") + b"\0" for word in vocabulary.words]
    starts = np.cumsum([0, *map(len, words)], dtype=np.int32)
    order = np.array(sorted(range(len(words)), key=words.__getitem__), np.int32)
    text = [writer.arrays.add(array) for array in (np.frombuffer(b"".join(words), np.int8), starts, order)]
    file.check_all_asked()

    per_layer = [
        biases.get(f"model.layers.{layer}.{name}", NOTHING) for layer in range(L) for name in ("bias", "candidate_bias")
    ]
    arrays = writer.arrays
    numbers = [
        *(VERSION, arrays.start + len(arrays.content), plan_size, 0, 0, CELLS.index(layout.cell), L, layout.vocab_size),
        *(layout.embedding_size, layout.hidden_size, layout.projection_size or 0, layout.output_projection_size or 0),
        *(not layout.tie_word_embeddings, len(cores), count, -1 if vocabulary.unk is None else vocabulary.unk),
    ]
    head = struct.pack(HEADER, MAGIC, *numbers) + b"".join([*text, biases.get("lm_head.bias", NOTHING)])
    plan = bytearray(b"".join([head, *per_layer, matrices, *packed]))
    content = bytes(arrays.start - plan_size) + bytes(arrays.content)
    plan[ADLER : ADLER + 4] = struct.pack("<I", zlib.adler32(content))
    plan[SUM : SUM + 4] = struct.pack("<I", checksum(plan))
    return bytes(plan) + content


def checksum(plan: bytes | bytearray) -> int:
    """FNV-1a of all but the checksum itself, 32 bits."""
    found = 2166136261
    for byte in plan[:SUM] + plan[SUM + 4 :]:
        found = (found ^ byte) * 16777619 % (1 << 32)
    return found
