"""What a run shows and records: a progress bar, a line per evaluation, log.jsonl and curve.png."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from zoo.writing import write_atomically


class Progress:
    """Of one run, on the process that speaks.

    Args:
        run: the run's folder.
        name: what the lines begin with.
        history: earlier evaluations; the log is rewritten from them, so that it never holds lines of a lost future.
        speaks: False on the other processes of a distributed run, which record nothing either.
    """

    def __init__(self, run: Path, name: str, history: list[dict], speaks: bool):
        self.run, self.name, self.speaks = run, name, speaks
        self.bar: tqdm | None = None
        self.plots = True
        if speaks:
            lines = "".join(map(line_of, history))
            write_atomically(run / "log.jsonl", lambda file: file.write(lines.encode()))

    def advance(self, label: str, column: int, length: int, stripes: int) -> None:
        """Moves the bar to a column of the stripes; makes one where there is none. None without a terminal."""
        if not self.speaks:
            return
        if self.bar is None:
            options = dict(unit="tok", unit_scale=True, leave=False, disable=None, mininterval=0.5)
            self.bar = tqdm(total=length * stripes, initial=column * stripes, desc=f"{self.name} {label}", **options)
        self.bar.update(column * stripes - self.bar.n)

    def epoch_ends(self) -> None:
        """Closes the bar."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def say(self, text: str) -> None:
        """One line on standard output."""
        if self.speaks:
            tqdm.write(f"{time.strftime('%H:%M:%S')} {self.name}: {text}")

    def record(self, entry: dict, history: list[dict], ahead: float) -> None:
        """Shows and logs an evaluation, the last of `history`; `ahead`: seconds that the stage may still take."""
        if not self.speaks:
            return
        with (self.run / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(line_of(entry))
        measures = {key: value for key, value in entry.items() if key.startswith(("train_", "valid_"))}
        parts = [
            f"stage {entry['stage']} epoch {entry['epoch']:.4g}/{entry['epochs']}",
            *(f"{key.removesuffix('_perplexity').replace('_', ' ')} {value:.4g}" for key, value in measures.items()),
            *(["*"] if entry["best"] else []),
            f"lr {entry['lr']:.3g}",
            f"|g| {entry['gradient_norm']:.3g}",
            f"{entry['tokens_per_second']:,.0f} tok/s",
            f"stage ends in {tqdm.format_interval(ahead)}",
        ]
        if "nonzeros" in entry:
            parts.append(f"{entry['nonzeros']:,} nonzeros")
            parts += [f"{count} {name}" for name, count in entry.get("groups", {}).items()]
            parts += [f"{name} {share:.1%}" for name, share in entry.get("density", {}).items()]
        self.say("  ".join(parts))
        self.plot(history)

    def plot(self, history: list[dict]) -> None:
        """Draws training and validation loss, as perplexities where they are of words, over the tokens read."""
        if not self.plots:
            return
        try:
            from matplotlib.figure import Figure
        except ImportError:
            self.plots = False
            self.say("no curve.png: matplotlib is missing; type: pip install 'rnnlm-zoo[train]'")
            return
        axes = (figure := Figure(figsize=(7, 4.5), layout="constrained")).subplots()
        kind = "perplexity" if "valid_perplexity" in history[0] else "loss"
        for key in (f"train_{kind}", f"valid_{kind}"):
            axes.plot([entry["tokens"] / 1e6 for entry in history], [entry[key] for entry in history], label=key)
        best = min(entry[f"valid_{kind}"] for entry in history)
        axes.set(xlabel="million tokens", ylabel=kind, yscale="log", title=f"{self.name}: best {best:.4g}")
        axes.grid(which="both", alpha=0.3)
        axes.legend()
        write_atomically(self.run / "curve.png", lambda file: figure.savefig(file, format="png", dpi=120))


def line_of(entry: dict) -> str:
    """A line of the log: an evaluation as JSON, without blanks and with six digits, as logs are committed."""
    return json.dumps(_short(entry), separators=(",", ":")) + "\n"


def _short(value: Any) -> Any:
    """Floats with six digits, wherever they are."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _short(each) for key, each in value.items()}
    return [_short(each) for each in value] if isinstance(value, list) else value
