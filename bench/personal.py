"""What a person's own earlier messages are worth: next-word recall against their number, with the model as it is.

The messages before those that are measured on are learnt, those are not. Beside it the same with another person's past,
which tells what is the person's and what the genre's. Letters: V vocabulary, J a person's own words, n words measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence as Many
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers.utils import logging

from zoo.errors import ZooError
from zoo.hub import folder_of
from zoo.keyboard import Keyboard, KeyboardModel, Personal
from zoo.keyboard.personal import MIXTURE, Mixture, learnable
from zoo.keyboard.vocabulary import Vocabulary
from zoo.typed_text import is_word

from .people import FIRST, TUNED_ON, Person, critics, talkers
from .personal_plot import plot
from .report import RESULTS, name_of, sha256_of, versions, write
from .typed import Sequence, Word

if TYPE_CHECKING:
    from zoo.modeling_rnnlm import RnnLmForCausalLM

SIZES = (10, 30, 100, 300, 500)  # own messages
TALKERS = 400  # dialogues measured on
SLOTS = 3


@dataclass
class Measured:
    """Words of one person with the model's probabilities after what stands before them.

    probabilities: [n, V]. conversation: [n], which of those tested.
    """

    person: Person
    words: list[Word]
    probabilities: np.ndarray
    conversation: np.ndarray


def learn(personal: Personal, messages: Many[str], vocabulary: Vocabulary) -> None:
    """What a keyboard learns while messages are typed, without the steps of its model."""
    for message in messages:
        sequence = Sequence()
        sequence.add(message, vocabulary)
        for word in sequence.words:
            linked = not is_word(word.previous) or learnable(word.previous)
            personal.learn(word.form, word.previous if linked else None)


def measured(network: RnnLmForCausalLM, person: Person, vocabulary: Vocabulary) -> Measured:
    """The model's side of it, once for all pasts."""
    import torch

    words, rows, numbers = [], [], []
    for number, talk in enumerate(person.tested):
        sequence, asked = Sequence(), 0
        for place, message in enumerate(talk):
            asked = len(sequence.words) if place == person.skipped else asked
            sequence.add(message, vocabulary)
        given = sequence.words[asked:]
        with torch.inference_mode():
            hidden = network.model(torch.tensor([[vocabulary.eos, *sequence.ids[:-1]]])).last_hidden_state
            hidden = network.readout(hidden)[0, [word.place for word in given]]
            rows.append(network.logits(hidden).float().softmax(-1).numpy())
        words += given
        numbers += [number] * len(given)
    return Measured(person, words, np.concatenate(rows), np.array(numbers))


def ranks(given: Measured, personal: Personal, vocabulary: Vocabulary, allowed: np.ndarray) -> np.ndarray:
    """How many suggestions are before each word [n], as `Personal.mixed` would have it; V + J: it is none."""
    V = len(vocabulary.words)
    single, after = personal.weights()
    own = {word: V + place for place, word in enumerate(sorted(word for word in single if word not in vocabulary.ids))}
    columns = vocabulary.ids | own
    allowed = np.concatenate([allowed, np.ones(len(own), bool)])
    u = sum(single.values())
    cache = np.zeros(V + len(own), np.float32)
    for form, weight in single.items():
        cache[columns[form]] = weight / u
    targets = np.array([word.token if word.token >= 0 else own.get(word.form, -1) for word in given.words])
    found = np.full(len(targets), V + len(own))
    by_previous: dict[str, list[int]] = {}
    for place, word in enumerate(given.words):
        if targets[place] >= 0 and allowed[targets[place]]:
            by_previous.setdefault(word.previous, []).append(place)
    for previous, places in by_previous.items():
        pairs = after.get(previous, {})
        v = sum(pairs.values())
        a, b = personal.mixture.shares(u, v) if single else (0.0, 0.0)
        mixed = np.zeros((len(places), V + len(own)), np.float32)
        mixed[:, :V] = given.probabilities[places] * np.float32(1 - a - b)
        mixed += np.float32(a) * cache
        for form, weight in pairs.items():
            mixed[:, columns[form]] += b * weight / v
        mixed[:, ~allowed] = -1
        found[places] = (mixed > mixed[np.arange(len(places)), targets[places]][:, None]).sum(1)
    return found


def hits(given: Measured, past: Many[str], mixture: Mixture, vocabulary: Vocabulary, allowed: np.ndarray) -> np.ndarray:
    """Per tested conversation [2]: words in the first slot and in one of three, after a past was learnt."""
    personal = Personal(mixture=mixture)
    learn(personal, past, vocabulary)
    found = ranks(given, personal, vocabulary, allowed)
    size = int(given.conversation.max()) + 1
    return np.stack([np.bincount(given.conversation, found < k, size) for k in (1, SLOTS)], axis=1)


def curve(
    people: Many[Measured],
    sizes: Many[int],
    mixture: Mixture,
    vocabulary: Vocabulary,
    allowed: np.ndarray,
    pasts_of: Many[str] = ("own", "others"),
) -> dict[str, Any]:
    """Recall without a past, and with so many of one's own messages and of somebody else's."""
    counts = np.concatenate([np.bincount(given.conversation) for given in people])
    fresh = np.concatenate([hits(given, (), mixture, vocabulary, allowed) for given in people])
    rows: list[dict[str, Any]] = [{"messages": 0, **{name: _row(fresh, fresh, counts) for name in pasts_of}}]
    for size in sizes:
        row: dict[str, Any] = {"messages": size}
        for name in pasts_of:
            step, found = 0 if name == "own" else 1, []
            for place, given in enumerate(people):
                pasts = people[(place + step) % len(people)].person.pasts
                tries = [hits(given, past[-size:], mixture, vocabulary, allowed) for past in pasts]
                found.append(np.mean(tries, axis=0))
            row[name] = _row(np.concatenate(found), fresh, counts)
        rows.append(row)
    return {"words": int(counts.sum()), "conversations": len(counts), "people": len(people), "curve": rows}


def _row(found: np.ndarray, fresh: np.ndarray, counts: np.ndarray) -> dict[str, float]:
    """Recalls, the gain of top-3 over a fresh person, and its standard error with conversations as what was drawn."""
    total = counts.sum()
    top1, top3 = found.sum(0) / total
    gained = found[:, 1] - fresh[:, 1]
    gain = gained.sum() / total
    error = np.sqrt(np.square(gained - gain * counts).sum()) / total
    return {"top1": float(top1), "top3": float(top3), "gain_top3": float(gain), "standard_error": float(error)}


def measure(folder: Path, data: str | None, tune: bool = False) -> dict[str, Any]:
    """The curves of the people of `people`; see there who they are.

    Args:
        data: folder of the corpora; None: the environment variable ZOO_DATA.
        tune: choose the mixture on validation text instead, and say which.

    Raises:
        CheckpointError, CorpusError: what was given cannot be measured.
    """
    from zoo.loading import load

    model = KeyboardModel(folder)
    vocabulary, allowed = model.vocabulary, Keyboard(model).allowed
    network, _ = load(folder)
    writers = critics(data, max(SIZES))
    if tune:
        from .personal_tuning import tuned

        judge = [measured(network, person, vocabulary) for person in writers if person.name == TUNED_ON]
        small = [measured(network, person, vocabulary) for person in talkers(data, "valid", TALKERS // 4)]
        for mixture, gain in tuned([(judge, (100, 500)), (small, (FIRST,))], vocabulary, allowed):
            print(f"{gain:.5f} {mixture}", file=sys.stderr, flush=True)
        return {"mixture": mixture._asdict()}
    people = [measured(network, person, vocabulary) for person in writers if person.name != TUNED_ON]
    result = {"mixture": MIXTURE._asdict(), "critics": curve(people, SIZES, MIXTURE, vocabulary, allowed)}
    people = [measured(network, person, vocabulary) for person in talkers(data, "test", TALKERS)]
    return {**result, "dialogues": curve(people, (FIRST,), MIXTURE, vocabulary, allowed)}


def main(arguments: list[str] | None = None) -> int:
    """Measures checkpoints; writes `results/<name>/personal.json` and a picture of it."""
    parser = argparse.ArgumentParser(prog="python -m bench.personal", description=__doc__)
    parser.add_argument("checkpoint", nargs="+", help="name of a shipped checkpoint, folder, or owner/name on the Hub")
    parser.add_argument("--data", metavar="DIR", help="folder of the corpora (default: ZOO_DATA)")
    parser.add_argument("--tune", action="store_true", help="choose the mixture on validation text; writes nothing")
    parser.add_argument("--plot", type=Path, metavar="FOLDER", help="gets personal-NAME.svg (default: none)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results (default: bench/results)")
    given = parser.parse_args(arguments)
    logging.disable_progress_bar()
    try:
        for checkpoint in given.checkpoint:
            name, folder = name_of(checkpoint), folder_of(checkpoint)
            found = measure(folder, given.data, given.tune)
            if given.tune:
                print(found["mixture"])
                continue
            command = f"python -m bench.personal {name} --data DIR"
            result = {"name": name, "sha256": sha256_of(folder), "command": command, "versions": versions(), **found}
            write(given.out / name / "personal.json", result)
            if given.plot is not None:
                plot(result, given.plot / f"personal-{name}.svg")
            for kind in ("critics", "dialogues"):
                for row in result[kind]["curve"][1:]:
                    own, others = row["own"], row["others"]
                    print(
                        f"{name} {kind}: top-3 {own['top3']:.4f}, {100 * own['gain_top3']:+.2f} points after "
                        f"{row['messages']} own messages ({100 * others['gain_top3']:+.2f} after another person's)"
                    )
    except (ZooError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
