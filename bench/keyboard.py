"""What a keyboard with a checkpoint is worth on held-out messages: next words, completions, keystrokes, milliseconds.

Every number is of the suggestions that `zoo.keyboard.Keyboard` shows, without a person's words; docs/keyboard.md
defines them.
Letters: V vocabulary, B sequences side by side, T tokens of a window, n tokens of one of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm
from transformers.utils import logging

from zoo.errors import ZooError
from zoo.hub import folder_of
from zoo.keyboard import Keyboard, KeyboardModel
from zoo.keyboard.engines import ENGINES
from zoo.keyboard.lexicon import APOSTROPHE, TYPO

from .keyboard_latency import latency
from .keyboard_tally import Tally
from .keystrokes import SLOTS, Found, Slots
from .report import RESULTS, corpus_name, cpu_name, name_of, sha256_of, slug, versions, write
from .typed import Sequence, dialogue_of, read, text_of

if TYPE_CHECKING:
    from zoo.modeling_rnnlm import RnnLmForCausalLM

SIDE, WINDOW = 64, 64  # B, T; the distributions [T, V] of one sequence are in memory together


def measure(
    folder: str | Path,
    talks: dict[str, list[list[str]]],
    on_sequences: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Scores messages with a checkpoint folder.

    Args:
        talks: source -> conversations, each a list of messages.
        on_sequences: called with the number of sequences done since the last call.

    Returns:
        carried (state through a conversation) and fresh (each message from the start): overall and sources, each with
        what `Tally.summary` gives; rules: what decides them.

    Raises:
        CheckpointError: the folder is not whole.
    """
    from zoo.loading import load

    model = KeyboardModel(folder)
    network, _ = load(folder)
    keyboard = Keyboard(model)
    slots = Slots(model, keyboard.allowed)
    result: dict[str, Any] = {
        "rules": {"slots": SLOTS, "typo": TYPO, "apostrophe": APOSTROPHE, "blocked_words": len(keyboard.blocked)},
    }
    for name, fresh in (("carried", False), ("fresh", True)):
        tallies = {source: Tally() for source in talks}
        given = read(talks, model.vocabulary, fresh)
        sequences, letters = [one for _, one in given], 0 if fresh else None
        for place, losses, found in scored(network, sequences, slots, letters, model.vocabulary.eos):
            source, sequence = given[place]
            tallies[source].add(sequence, losses, found, model.vocabulary.unk)
            if on_sequences is not None:
                on_sequences(1)
        total = Tally()
        for tally in tallies.values():
            total += tally
        summaries = {source: tally.summary(not fresh) for source, tally in tallies.items()}
        result[name] = {"overall": total.summary(not fresh), "sources": summaries}
    return result


def scored(
    network: RnnLmForCausalLM, sequences: list[Sequence], slots: Slots, letters: int | None, eos: int
) -> Iterator[tuple[int, np.ndarray, list[Found]]]:
    """(place in the list, losses of the tokens, slots of the words) of every sequence, in any order.

    Args:
        letters: as in `Slots.of`.
    """
    import torch

    order = sorted(range(len(sequences)), key=lambda place: len(sequences[place].ids))
    for first in range(0, len(order), SIDE):
        batch = order[first : first + SIDE]
        losses: list[list[np.ndarray]] = [[] for _ in batch]
        found: list[list[Found]] = [[] for _ in batch]
        longest, state = max(len(sequences[place].ids) for place in batch), None
        inputs = torch.full((len(batch), longest), eos)
        for row, place in enumerate(batch):
            inputs[row, 1 : len(sequences[place].ids)] = torch.tensor(sequences[place].ids[:-1])
        for start in range(0, longest, WINDOW):
            with torch.inference_mode():
                output = network.model(inputs[:, start : start + WINDOW], past_key_values=state, use_cache=True)
                state = output.past_key_values
                features = network.readout(output.last_hidden_state)  # [B, T, features]
            for row, place in enumerate(batch):
                sequence = sequences[place]
                ids = np.array(sequence.ids[start : start + WINDOW], np.int64)
                words = [word for word in sequence.words if start <= word.place < start + WINDOW]
                with torch.inference_mode():
                    log_probs = network.logits(features[row, : len(ids)]).float().log_softmax(-1).numpy()  # [n, V]
                losses[row].append(-log_probs[np.arange(len(ids)), ids].astype(np.float64))
                found[row] += [slots.of(word, log_probs[word.place - start], letters) for word in words]
        for row, place in enumerate(batch):
            yield place, np.concatenate(losses[row]), found[row]


def main(arguments: list[str] | None = None) -> int:
    """Measures checkpoints; writes `results/<name>/keyboard.json` and `keyboard-latency-<device>.json`."""
    parser = argparse.ArgumentParser(prog="python -m bench.keyboard", description=__doc__)
    parser.add_argument("checkpoint", nargs="+", help="name of a shipped checkpoint, folder, or owner/name on the Hub")
    parser.add_argument("--data", metavar="DIR", help="folder of the dialogue corpus (default: ZOO_DATA)")
    parser.add_argument("--text", type=Path, metavar="FILE", help="your own messages, a line each, instead")
    parser.add_argument("--conversations", type=int, help="only so many of the first of each source (default: all)")
    parser.add_argument("--only", choices=("quality", "latency"), help="one of the two (default: both)")
    parser.add_argument("--engine", nargs="+", default=["numpy"], choices=tuple(ENGINES), help="timed (default: numpy)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results (default: bench/results)")
    given = parser.parse_args(arguments)
    logging.disable_progress_bar()  # of loading; the bar here counts sequences
    try:
        if given.conversations is not None and given.conversations < 1:
            raise ZooError(f"--conversations is {given.conversations}; give at least 1")
        corpus = "dialogue" if given.text is None else corpus_name(str(given.text))
        if given.text is None:
            talks = dialogue_of(given.data, "test", given.conversations)
        else:
            talks = text_of(given.text, given.conversations)
        for checkpoint in given.checkpoint:
            _write(folder_of(checkpoint), name_of(checkpoint), corpus, talks, given)
    except (ZooError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _write(folder: Path, name: str, corpus: str, talks: dict[str, list[list[str]]], given: argparse.Namespace) -> None:
    """The results of one checkpoint, as files and in a line each."""
    options = f" --text {given.text.name}" if given.text is not None else " --data DIR"
    options += f" --conversations {given.conversations}" if given.conversations else ""
    known = {"name": name, "sha256": sha256_of(folder), "corpus": corpus, "conversations": given.conversations or "all"}
    stem = "keyboard" if given.text is None else f"keyboard-{slug(corpus)}"
    if given.only != "latency":
        with tqdm(desc=name, unit=" sequences", disable=None, leave=False) as bar:
            found = measure(folder, talks, bar.update)
        command = f"python -m bench.keyboard {name}{options} --only quality"
        write(given.out / name / f"{stem}.json", {**known, "command": command, "versions": versions(), **found})
        carried = found["carried"]["overall"]
        top1, top3, saved = carried["top1"]["recall"], carried["top3"]["recall"], carried["keystrokes"]
        print(
            f"{name} {corpus}: next word top-1 {top1:.4f}, top-3 {top3:.4f} of {carried['words']:,} words; "
            f"keystrokes saved {saved['saved_3']:.4f} (limit {saved['limit']:.4f})"
        )
    if given.only != "quality":
        rows = {engine: latency(KeyboardModel(folder, engine), talks) for engine in given.engine}
        device = cpu_name()
        command = f"python -m bench.keyboard {name}{options} --only latency --engine {' '.join(given.engine)}"
        row = {**known, "command": command, "device": device, "versions": versions(), "engines": rows}
        write(given.out / name / f"keyboard-latency-{slug(device)}.json", row)
        for engine, times in rows.items():
            print(
                f"{name} {engine}: key to suggestions {times['key']['p50']:.3f} ms, p95 {times['key']['p95']:.3f}; "
                f"word to suggestions {times['word']['p50']:.3f} ms, p95 {times['word']['p95']:.3f}"
            )


if __name__ == "__main__":
    sys.exit(main())
