"""Our row of kebbie, the public benchmark of mobile keyboards (https://github.com/FleksySDK/kebbie), beside its own.

It runs in an environment of kebbie's, which wants older packages than ours: see docs/keyboard.md.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from zoo.errors import CorpusError, ZooError
from zoo.hub import folder_of
from zoo.keyboard import Keyboard
from zoo.keyboard.ranking import LITERAL

from .report import RESULTS, name_of, sha256_of, versions, write

DEFAULT_TEXT = "allenai/soda, split test"
SENTENCES = 100  # of the published rows
TASKS = {"next_word": "next_word_prediction", "completion": "auto_completion", "correction": "auto_correction"}


class Suggestions:
    """What kebbie asks of a keyboard, by the one text that it types.

    Args:
        name: a checkpoint.
    """

    def __init__(self, name: str):
        self._keyboard, self._text = Keyboard(name, private=True), ""

    def next_words(self, context: str) -> list[str]:
        """After a text that ends in a space."""
        self._read(context)
        return [one.text for one in self._keyboard.suggest()]

    def completions(self, context: str, partial: str) -> list[str]:
        """Of what is typed of a word after a text; what is typed is none."""
        self._read(context)
        return [one.text for one in self._keyboard.suggest(partial) if one.source != LITERAL]

    def corrections(self, context: str, word: str) -> list[str]:
        """What stands there when the space is pressed, which is what was typed, then what else was shown."""
        return [word, *self.completions(context, word)]

    def _read(self, context: str) -> None:
        """Types what the text has more than before, or all of it anew."""
        if not context.startswith(self._text):
            self._keyboard.reset()
            self._text = ""
        for word in context[len(self._text) :].split():
            self._keyboard.commit(word)
        self._text = context


def corrector_of(name: str) -> Any:
    """A keyboard as kebbie calls it; can be sent to another process.

    Raises:
        ZooError: kebbie is not installed here.
    """
    base: Any = _kebbie().Corrector

    class OurCorrector(base):
        def __init__(self) -> None:
            self._suggestions = Suggestions(name)

        def __reduce__(self) -> tuple[Any, ...]:
            return corrector_of, (name,)

        def predict_next_word(self, context: str) -> list[str]:
            return self._suggestions.next_words(context)

        def auto_complete(self, context: str, keystrokes: Any, partial_word: str) -> list[str]:
            return self._suggestions.completions(context, partial_word)

        def auto_correct(self, context: str, keystrokes: Any, word: str) -> list[str]:
            return self._suggestions.corrections(context, word)

    return OurCorrector()


def sentences_of(path: Path | None, sentences: int) -> dict[str, list[str]]:
    """domain -> sentences: of a file, or those of kebbie, which are downloaded.

    Args:
        path: JSON of that form, or text with a sentence a line.

    Raises:
        CorpusError: the file cannot be read, or kebbie's text cannot be had.
    """
    if path is None:
        from kebbie.utils import get_soda_dataset

        try:
            return get_soda_dataset(max_sentences=sentences)
        except Exception as error:  # the library raises whatever its network layers raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise CorpusError(
                f"kebbie's own text ({DEFAULT_TEXT}) cannot be had: {reason}; connect to huggingface.co, or give "
                "another text with --text FILE: a sentence a line, or JSON, domain -> sentences"
            ) from error
    try:
        content = path.read_text(encoding="utf-8")
        found = json.loads(content) if path.suffix == ".json" else {path.stem: content.splitlines()}
        found = {domain: [line for line in lines if line.strip()] for domain, lines in found.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise CorpusError(f"{path} is no text; give a sentence a line, or JSON, domain -> sentences") from error
    share = -(-sentences // max(1, len(found)))
    found = {domain: lines[:share] for domain, lines in found.items() if lines}
    if not found:
        raise CorpusError(f"{path} has no sentences; give a sentence a line, or JSON, domain -> sentences")
    return found


def use_typos(path: Path | None, work: Path) -> str:
    """Makes kebbie take a list of common typing errors; what to call it.

    Args:
        path: JSON, word -> typing errors; None: kebbie's own, which is downloaded once.
        work: a folder for a copy; it must be there as long as kebbie runs.

    Raises:
        CorpusError: the file is no such list, or kebbie's own cannot be had. Without it the processes that kebbie
            starts would end, and it would start others for ever.
    """
    from kebbie import noise_model

    if path is None:
        try:
            noise_model.NoiseModel("en-US")
        except Exception as error:  # the library raises whatever its network layers raise
            raise CorpusError(
                f"kebbie's list of typing errors ({noise_model.TWEET_TYPO_CORPUS_URL}) cannot be had; connect, or give "
                "--typos FILE: JSON, word -> list of typing errors; a file with {} for slips of the finger only"
            ) from error
        return "kebbie's own"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        whole = all(isinstance(word, str) and isinstance(typos, list) for word, typos in found.items())
    except (OSError, ValueError, AttributeError) as error:
        raise CorpusError(f"{path} is no list of typing errors; give JSON, word -> list of them, or {{}}") from error
    if not whole:
        raise CorpusError(f"{path} is no list of typing errors; give JSON, word -> list of them, or {{}}")
    (work / "en.json").write_text(json.dumps(found), encoding="utf-8")
    noise_model.CACHE_DIR = str(work)
    return path.name if found else "none"


def measure(name: str, dataset: dict[str, list[str]], processes: int = 1) -> dict[str, Any]:
    """Runs kebbie; its answer without the times, which it tells ten times too long.

    Raises:
        ZooError: kebbie is not installed here.
    """
    found = _kebbie().evaluate(corrector_of(name), dataset=dataset, n_proc=processes)
    tasks = {short: found[long] for short, long in TASKS.items()}
    return {short: {key: row for key, row in task.items() if key != "performances"} for short, task in tasks.items()}


def table(name: str, found: dict[str, Any], published: dict[str, Any]) -> str:
    """Our row beside the published ones."""
    rows = {
        keyboard: (row["next_word_top3"], row["completion_top3"]) for keyboard, row in published["keyboards"].items()
    }
    rows[f"{name} (ours)"] = tuple(found[task]["score"]["top3_accuracy"] for task in ("next_word", "completion"))
    lines = [f"{'':<32} next word top-3  completion top-3"]
    for keyboard, values in sorted(rows.items(), key=lambda item: -item[1][0]):
        lines.append(
            f"{keyboard:<32}" + "".join(f" {'-' if value is None else f'{value:.2f}':>15} " for value in values)
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Measures a checkpoint; writes `results/<name>/kebbie.json`."""
    parser = argparse.ArgumentParser(prog="python -m bench.kebbie_runner", description=__doc__)
    parser.add_argument("checkpoint", help="name of a shipped checkpoint, folder, or owner/name on the Hub")
    parser.add_argument("--text", type=Path, metavar="FILE", help=f"another text than kebbie's own ({DEFAULT_TEXT})")
    parser.add_argument("--typos", type=Path, metavar="FILE", help="another list of typing errors than kebbie's own")
    parser.add_argument("--sentences", type=int, default=SENTENCES, help=f"how many (default: {SENTENCES})")
    parser.add_argument("--processes", type=int, default=1, help="side by side (default: 1)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results (default: bench/results)")
    given = parser.parse_args(arguments)
    try:
        if given.sentences < 1 or given.processes < 1:
            raise ZooError(f"--sentences is {given.sentences}, --processes {given.processes}; give at least 1 of each")
        _kebbie()
        name, folder = name_of(given.checkpoint), folder_of(given.checkpoint)
        dataset = sentences_of(given.text, given.sentences)
        with tempfile.TemporaryDirectory() as work:
            typos = use_typos(given.typos, Path(work))
            found = measure(str(folder), dataset, given.processes)
        text = DEFAULT_TEXT if given.text is None else given.text.name
        option = "" if given.text is None else f" --text {given.text.name}"
        option += "" if given.typos is None else f" --typos {given.typos.name}"
        result = {
            "name": name,
            "sha256": sha256_of(folder),
            "command": f"python -m bench.kebbie_runner {name}{option} --sentences {given.sentences}",
            "versions": versions() | {"kebbie": importlib.metadata.version("kebbie")},
            "text": f"{text}, {sum(map(len, dataset.values()))} sentences",
            "typos": typos,
            **found,
        }
        write(given.out / name / "kebbie.json", result)
        print(table(name, found, json.loads((RESULTS / "kebbie" / "published.json").read_text(encoding="utf-8"))))
        print("published rows: another text than ours" if given.text else "published rows: the same text, other phones")
    except (ZooError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _kebbie() -> Any:
    """The library."""
    try:
        import kebbie
    except ImportError as error:
        raise ZooError(
            f"this needs kebbie, in an environment of its own ({error}); type: python -m venv kebbie-env && "
            "kebbie-env/bin/pip install kebbie 'pyarrow<21' safetensors && kebbie-env/bin/python -m bench.kebbie_runner"
        ) from error
    return kebbie


if __name__ == "__main__":
    sys.exit(main())
