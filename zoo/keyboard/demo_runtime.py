"""The files of ONNX Runtime for browsers, from the npm registry, held to a pinned hash; none of them is committed."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from ..cached_files import cached
from ..errors import ZooError

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
REGISTRY = "https://registry.npmjs.org"
# The page loads the first two and the wasm of CPUs at once, those of WebGPU when its benchmark is asked for. A wasm is
# packed here, because many hosts of static files send it as it is, and it shrinks to a quarter.
FIRST = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm.gz")
LATER = ("ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm.gz")


def put_runtime(folder: Path) -> None:
    """Writes the files that the page loads into a folder.

    Raises:
        ZooError: the package cannot be had, or is another than the pinned one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file in (*FIRST, *LATER):
        (folder / file).write_bytes(cached(f"{PACKAGE}-{VERSION}-{file}", Path.read_bytes, _Writer(file)))


def packed(content: bytes) -> bytes:
    """gzip, the same bytes whenever it is called."""
    return gzip.compress(content, 9, mtime=0)


class _Writer:
    """Writes one file of the package, packed where its name says so."""

    def __init__(self, file: str):
        self._file = file

    def __call__(self, target: IO[bytes]) -> None:
        name = f"package/dist/{self._file.removesuffix('.gz')}"
        archive = cached(f"{PACKAGE}-{VERSION}.tgz", _checked, _write_archive)
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            content = files.extractfile(name)
            if content is None:
                raise ZooError(f"{PACKAGE} {VERSION} has no {name}; report it to the project")
            found = content.read()
        target.write(packed(found) if self._file.endswith(".gz") else found)


def _checked(path: Path) -> bytes:
    """The archive; a damaged one counts as absent."""
    content = path.read_bytes()
    if not _is_pinned(content):
        raise ValueError("damaged")
    return content


def _write_archive(target: IO[bytes]) -> None:
    target.write(_download())


def _is_pinned(content: bytes) -> bool:
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode() == INTEGRITY


def _download() -> bytes:
    """The archive from the registry that npm is configured for, without npm from the public one."""
    content = _packed_by_npm() if shutil.which("npm") else _fetched()
    if not _is_pinned(content):
        raise ZooError(
            f"the registry's {PACKAGE} {VERSION} is not the pinned one; set npm to another registry and try again"
        )
    return content


def _packed_by_npm() -> bytes:
    with tempfile.TemporaryDirectory(prefix="zoo-npm-") as folder:
        command = ["npm", "pack", f"{PACKAGE}@{VERSION}", "--silent", "--pack-destination", folder]
        found = subprocess.run(command, capture_output=True, text=True, cwd=folder, env={**os.environ, "CI": "1"})
        files = list(Path(folder).glob("*.tgz"))
        if found.returncode or not files:
            reason = (found.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ZooError(f"npm cannot get {PACKAGE} {VERSION} ({reason}); try `npm ping`, then the command again")
        return files[0].read_bytes()


def _fetched() -> bytes:
    url = f"{REGISTRY}/{PACKAGE}/-/{PACKAGE}-{VERSION}.tgz"
    try:
        with urllib.request.urlopen(url, timeout=120) as answer:
            return answer.read()
    except (urllib.error.URLError, OSError) as error:
        raise ZooError(
            f"cannot get {url} ({error}); connect to the network, or install npm and set its registry"
        ) from error
