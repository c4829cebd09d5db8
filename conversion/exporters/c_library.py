"""The C files of an export, compiled by the system's compiler and called from here.

Letters: V vocabulary, S floats of a state.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zoo.errors import CheckpointError, ZooError

SOURCES = Path(__file__).parent / "c"
COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-std=c99", "-O3")
NATIVE = ((*FLAGS, "-march=native"), (*FLAGS, "-mcpu=native"))  # for this machine, as compilers are told


class Model(ctypes.Structure):
    """`rnnlm` of rnnlm.h."""

    _fields_ = [("pointers", ctypes.c_void_p * 5), ("sizes", ctypes.c_size_t * 6)]


def compiler() -> list[str]:
    """The words that start the C compiler: those of the environment variable CC, else cc, gcc or clang.

    Raises:
        ZooError: there is none.
    """
    given = shlex.split(os.environ.get("CC", ""))
    for words in [given] if given else [[name] for name in COMPILERS]:
        if shutil.which(words[0]):
            return words
    found = f"CC is {given[0]!r}, which is not there" if given else f"there is none of {', '.join(COMPILERS)}"
    raise ZooError(
        f"a C compiler is needed, and {found}; type: apt-get install gcc (Debian, Ubuntu) or xcode-select --install "
        "(macOS), or set CC"
    )


def compiler_version() -> str:
    """The first line of what the compiler says of itself."""
    done = subprocess.run([*compiler(), "--version"], capture_output=True, text=True, check=False)
    return (done.stdout or "unknown").splitlines()[0]


def compiled(sources: Sequence[Path], out: Path, flags: Sequence[str] = FLAGS) -> Path:
    """Compiles and links C files; the program or library.

    Raises:
        ZooError: no compiler, or it ends with an error.
    """
    command = [*compiler(), *flags, *map(str, sources), "-lm", "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        told = " ".join((done.stderr or done.stdout).split())[-300:]
        raise ZooError(f"{command[0]} cannot compile {', '.join(path.name for path in sources)}: {told}; set CC")
    return out


def compiled_library(folder: Path, out: Path, flags: Sequence[str] = FLAGS) -> Path:
    """As `compiled`, a shared library of the files rnnlm*.c in a folder."""
    return compiled(sorted(folder.glob("rnnlm*.c")), out, (*flags, "-shared", "-fPIC"))


def compiled_for_here(folder: Path, out: Path) -> Sequence[str]:
    """As `compiled_library`, for this machine alone where the compiler knows it; the flags.

    Raises:
        ZooError: as `compiled`.
    """
    for flags in NATIVE:
        with contextlib.suppress(ZooError):
            compiled_library(folder, out, flags)
            return flags
    compiled_library(folder, out)
    return FLAGS


def library_of(folder: Path, flags: Sequence[str] | None = FLAGS) -> ctypes.CDLL:
    """The functions of rnnlm.h, compiled from the files in a folder; without flags as `compiled_for_here`.

    Raises:
        ZooError: as `compiled`.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as work:  # a loaded library does not need its file
        out = Path(work) / "rnnlm.so"
        if flags is None:
            compiled_for_here(folder, out)
        else:
            compiled_library(folder, out, flags)
        return loaded(out)


def loaded(path: Path) -> ctypes.CDLL:
    """The functions of rnnlm.h in a shared library."""
    library = ctypes.CDLL(str(path))
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    for name, result, arguments in (
        ("open", number, [pointer, pointer, size]),
        ("verify", number, [pointer]),
        ("error", ctypes.c_char_p, [number]),
        ("vocabulary", number, [pointer]),
        ("state_floats", size, [pointer]),
        ("scratch_floats", size, [pointer]),
        ("step", number, [pointer, number, pointer, pointer, pointer]),
        ("best", number, [pointer, number, number, pointer, pointer]),
        ("word", ctypes.c_char_p, [pointer, number]),
        ("id", number, [pointer, ctypes.c_char_p]),
    ):
        function = getattr(library, f"rnnlm_{name}")
        function.restype, function.argtypes = result, arguments
    return library


class CModel:
    """A `model.rnnlm` opened by the C code; any number of threads may use it.

    Args:
        file: the file, which is mapped, or its content.

    Raises:
        CheckpointError: the C code refuses the file.
    """

    def __init__(self, library: ctypes.CDLL, file: Path | bytes):
        self.library, self._model = library, Model()
        self._file = np.frombuffer(file, np.uint8) if isinstance(file, bytes) else np.memmap(file, np.uint8, "r")
        self.address = ctypes.addressof(self._model)
        self.check(
            library.rnnlm_open(self.address, self._file.ctypes.data, self._file.size),
            "the file" if isinstance(file, bytes) else str(file),
        )
        self.vocabulary: int = library.rnnlm_vocabulary(self.address)
        self.state_floats: int = library.rnnlm_state_floats(self.address)
        self._scratch_floats: int = library.rnnlm_scratch_floats(self.address)

    def verify(self) -> None:
        """CheckpointError where the weights or words are not those that were written; reads all of them."""
        self.check(self.library.rnnlm_verify(self.address), "the file")

    def check(self, code: int, what: str) -> None:
        """CheckpointError for a code that is not 0."""
        if code:
            raise CheckpointError(f"{what}: {self.library.rnnlm_error(code).decode()}")

    def scratch(self) -> np.ndarray:
        """Memory for steps that are taken one after the other."""
        return np.empty(self._scratch_floats, np.float32)

    def step(self, token: int, state: np.ndarray, logits: np.ndarray | None, scratch: np.ndarray) -> None:
        """Reads a token: state [S] moves on, logits [V] are written; all float32, contiguous.

        Raises:
            CheckpointError: a token outside the vocabulary.
        """
        place = None if logits is None else logits.ctypes.data
        code = self.library.rnnlm_step(self.address, token, state.ctypes.data, place, scratch.ctypes.data)
        self.check(code, f"token {token}")

    def best(self, logits: np.ndarray, k: int) -> tuple[list[int], list[float]]:
        """Ids of the k greatest of logits [V], best first, and their log probabilities."""
        ids, log_probs = np.empty(k, np.int32), np.empty(k, np.float32)
        places = (logits.ctypes.data, logits.size, k, ids.ctypes.data, log_probs.ctypes.data)
        found = self.library.rnnlm_best(*places)
        return ids[:found].tolist(), log_probs[:found].tolist()

    def word(self, token: int) -> str | None:
        """A word, None for an id that there is not."""
        word = self.library.rnnlm_word(self.address, token)
        return None if word is None else word.decode("utf-8", "surrogatepass")

    def id(self, word: str) -> int:
        """The id of a word, of `<unk>` for an unknown one; -1 without."""
        return self.library.rnnlm_id(self.address, word.encode("utf-8", "surrogatepass"))


class CText:
    """A text that grows by a token at a time; what C reads and writes is looked up once.

    Args:
        top: how many words are suggested.
    """

    def __init__(self, model: CModel, top: int):
        self.model, self.top = model, min(top, model.vocabulary)
        self.state, self._logits = np.zeros(model.state_floats, np.float32), np.empty(model.vocabulary, np.float32)
        self._ids, self._log_probs = np.empty(self.top, np.int32), np.empty(self.top, np.float32)
        self._scratch = model.scratch()
        logits = self._logits.ctypes.data
        self._read = (self.state.ctypes.data, logits, self._scratch.ctypes.data)
        self._told = (logits, model.vocabulary, self.top, self._ids.ctypes.data, self._log_probs.ctypes.data)

    def step(self, token: int) -> tuple[list[int], list[float]]:
        """Reads a token; ids of the most probable words after it, best first, and their log probabilities.

        Raises:
            CheckpointError: a token outside the vocabulary.
        """
        model, library = self.model, self.model.library
        model.check(library.rnnlm_step(model.address, token, *self._read), "the token")
        library.rnnlm_best(*self._told)
        return self._ids.tolist(), self._log_probs.tolist()
