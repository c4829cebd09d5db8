"""Loads a folder as somebody who has nothing else: in a process without our packages, network, token or caches."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from .errors import CheckpointError
from .explaining import redacted

PROGRAM = Path(__file__).with_name("digest.py")
ERROR = re.compile(r"[\w.]*(Error|Exception|Interrupt)\b")
TIMEOUT_SECONDS = 600
TOLERANCE = 1e-3  # of mean and spread of the logits, between machines


def clean_digest(folder: Path) -> dict[str, Any]:
    """The digest of a folder, loaded with `trust_remote_code` in a process of its own.

    Raises:
        CheckpointError: it does not load there; with the last line of what went wrong.
    """
    with tempfile.TemporaryDirectory(prefix="zoo-clean-") as empty:
        environment = {key: value for key, value in os.environ.items() if "TOKEN" not in key}
        environment |= {"HF_HOME": empty, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        environment |= {"HF_MODULES_CACHE": f"{empty}/modules", "HF_HUB_CACHE": f"{empty}/hub"}
        command = [sys.executable, "-c", PROGRAM.read_text(encoding="utf-8"), str(folder)]
        try:
            done = subprocess.run(
                command,
                cwd=empty,
                env=environment,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CheckpointError(
                f"{folder} does not load within {TIMEOUT_SECONDS} seconds in a clean process"
            ) from None
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    lines = [line for line in lines if ERROR.match(line)] or lines
    raise CheckpointError(
        f"{folder.name} does not load from its files alone: {redacted(lines[-1]) if lines else 'it was stopped'}; "
        "build it again with this release, or mend the file"
    )


def compare(found: dict[str, Any], expected: dict[str, Any], what: str) -> None:
    """Refuses a digest that is another one, up to rounding.

    Raises:
        CheckpointError: says of what.
    """
    scale = max(1.0, abs(expected["spread"]))
    if all(abs(found[key] - expected[key]) <= TOLERANCE * scale for key in ("mean", "spread")):
        return
    raise CheckpointError(
        f"{what}: its outputs have mean {found['mean']:.5f} and spread {found['spread']:.5f} instead of "
        f"{expected['mean']:.5f} and {expected['spread']:.5f}; the weights, the config or the code are not those that "
        "were measured; build and measure it again"
    )
