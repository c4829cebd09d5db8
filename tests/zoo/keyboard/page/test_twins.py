"""The page's JavaScript against the Python that it mirrors: words, case, completion, sessions, digests."""

import gzip
import json
import math
import os
import random
import shutil
import subprocess
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from zoo.keyboard import Keyboard, Personal
from zoo.keyboard.demo import PAGE
from zoo.keyboard.lexicon import Lexicon
from zoo.keyboard.personal import MIXTURE, learnable
from zoo.typed_text import Casing, is_word, split_words

from ..invented import PENN, WORDS, scripted

LINES = 3000
TEXTS = [
    "Don’t stop… it's 10:30, ok?!", "well-known “film” (3.5)", "the boys' game 😀👍🏽 👩‍👩‍👧 🇩🇪",
    "3.5.6, 1,000 3. .5 ...", "cafe\u0301 \u05e9\u05dc\u05d5\u05dd\u200f \u0645\u0631\u062d\u0628\u0627",
    "  \n\t ", "", "İstanbul ß ŉ ΣΑΣ ǆ", "`quoted` a_b _c 'd e'", "日本語テキスト かな", "हिन्दी ไทย",
    "x\u200by \ufeffz\u00a0w\u0085v\x1fu", "½ ² Ⅷ ① 5️⃣", "\U0001d54f\U0001d550 \ud83d lone",
    "e.g. i.e. U.S.A. #tag @you a/b 50% $5 «x»", "a'b'c' ''", "..", "....!!", "naïve Ångström", "ﬁ ﬀ",
]  # fmt: skip


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """Asks the page's modules a question."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node here; install Node.js 20 or later")
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(PAGE, folder, dirs_exist_ok=True)
    (folder / "package.json").write_text('{"type": "module"}')
    script = Path(__file__).with_name("twins.mjs")

    def ask_(task, **given):
        question = json.dumps({"task": task, **given})
        found = subprocess.run([node, script, folder], input=question, capture_output=True, text=True)
        assert found.returncode == 0, found.stderr
        return json.loads(found.stdout)

    return ask_


def typed_lines():
    """Odd texts, texts of random characters, and lines of the dialogue where it is at hand."""
    generator, texts = random.Random(0), list(TEXTS)
    # Characters that Unicode has had for long: Python and Node know different versions of it.
    letters = [chr(code) for code in range(0x3000) if unicodedata.category(chr(code)) not in ("Cn", "Co", "Cs")]
    for _ in range(LINES):
        few = generator.choices(letters, k=generator.randint(1, 12)) + list("ab '.,0 5")
        texts.append("".join(generator.choices(few, k=generator.randint(1, 30))))
    folder = Path(os.environ.get("ZOO_DATA", "")) / "dialogue"
    for path in sorted(folder.glob("*.test.txt.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            texts += [line.rstrip("\n") for line, _ in zip(lines, range(LINES), strict=False)]
    return texts


def test_words_and_signs(ask):
    texts = typed_lines()
    expected = [[[word, is_word(word), len(word)] for word in split_words(text)] for text in texts]
    for text, found, wanted in zip(texts, ask("split", texts=texts), expected, strict=True):
        assert found == wanted, text


def test_case(ask):
    texts, words = typed_lines(), [*WORDS, "iPhone", "May", "Bill", "éclair", "Éclair", "İ", "ß"]
    casing = Casing.of_vocabulary(words)
    for text, found in zip(texts, ask("casing", words=words, texts=texts), strict=True):
        assert found == list(casing.words(text)), text


def test_what_is_learnt(ask):
    words = [word for text in typed_lines() for word in split_words(text)] + [
        "x" * 40,
        "x" * 41,
        "١٢٣٤",
        "²²²²",
        "½½½½",
    ]
    assert ask("learnable", words=words) == [learnable(word) for word in words]


def test_completion_and_slips(ask):
    generator = random.Random(1)
    words = sorted({"".join(generator.choices("abc'é𝕏", k=generator.randint(1, 8))) for _ in range(400)})
    words = [word for word in words if is_word(word)] + ["don't", "it's", "I'm", "a" * 21, "a" * 45]
    prefixes = ["".join(generator.choices("abc'éC", k=generator.randint(0, 7))) for _ in range(300)]
    prefixes += ["dont", "its", "im", "d’on", "a" * 20, "a" * 21, "a" * 41, "𝕏a", "", "a b", "'a"]
    lexicon = Lexicon(words, range(len(words)))
    for prefix, found in zip(prefixes, ask("matches", words=words, prefixes=prefixes), strict=True):
        ids, costs = lexicon.matches(prefix)
        assert found == sorted([int(token), float(cost)] for token, cost in zip(ids, costs, strict=True)), prefix


def as_json(model):
    """A model for the other side: words, those never suggested, and what it says after each."""
    words, never = model.vocabulary.words, np.flatnonzero(~model.vocabulary.suggestible).tolist()
    table = [model.step(token, None)[0].tolist() for token in range(len(words))]
    return {"words": words, "never": never, "table": table}


def random_steps(generator, words):
    """What a person might do."""
    typed = [
        *words,
        "zebra",
        "Zebra",
        "hello",
        "don't",
        "12345",
        "😀",
        "a b. C\nd",
        "x" * 50,
        "\n",
        "\n",
        "IT'S",
        "שלום",
    ]
    steps = []
    for _ in range(400):
        verb = generator.choices(
            ["commit", "suggest", "undo", "block", "private", "forget", "day", "forget_day", "reset"],
            [40, 40, 12, 1, 1, 2, 1, 1, 1],
        )[0]
        word = generator.choice(typed)
        given = {
            "commit": [word, word[: generator.randint(0, 2)]],
            "suggest": [word[: generator.randint(0, 4)].strip(), generator.randint(1, 4)],
            "block": [generator.sample(typed, 3)],
            "private": [generator.random() < 0.5],
            "forget": [word],
            "day": [f"2026-11-{generator.randint(10, 13)}"],
            "forget_day": [f"2026-11-{generator.randint(10, 13)}"],
        }
        steps.append([verb, *given.get(verb, [])])
    return [*steps, ["commit", " ".join(generator.choices(typed, k=250)), ""], ["suggest", "", 3], ["undo"]]


@pytest.mark.parametrize("words", [WORDS, PENN, [word for word in WORDS if word == word.lower()]])
def test_sessions(ask, words):
    follow = {words[place]: words[place + 1 : place + 4] for place in range(2, len(words) - 4)}
    model = scripted(words, follow)
    steps, today = random_steps(random.Random(2), words), ["2026-11-28"]
    keyboard = Keyboard(model, personal=Personal(lambda: today[0]), blocked=["damn"])

    def plain(suggestions):
        return [[one.text, one.source, one.probability] for one in suggestions]

    def change(transform):
        return {"remove": transform.delete, "insert": transform.insert}

    verbs = {
        "commit": lambda text, prefix: change(keyboard.commit(text, prefix)),
        "undo": lambda: change(keyboard.undo()),
        "suggest": lambda prefix, k: plain(keyboard.suggest(prefix, k)),
        "block": keyboard.block,
        "private": lambda value: setattr(keyboard, "private", value),
        "forget": keyboard.personal.forget,
        "day": lambda day: today.__setitem__(0, day),
        "forget_day": keyboard.personal.forget_day,
        "reset": keyboard.reset,
    }
    found = ask("session", model=as_json(model), mixture=MIXTURE._asdict(), blocked=["damn"], steps=steps)
    for (verb, *given), (answer, digest, log) in zip(steps, found, strict=True):
        wanted = verbs[verb](*given)
        if verb == "suggest":
            assert [row[:2] for row in answer] == [row[:2] for row in wanted], given
            assert all(math.isclose(a[2], b[2], rel_tol=1e-6) for a, b in zip(answer, wanted, strict=True)), given
        else:
            assert answer == wanted, (verb, given)
        assert digest == keyboard.digest, (verb, given)
        assert log == [list(event) for event in keyboard.personal._events], (verb, given)


def test_a_text_that_is_edited_anywhere(ask):
    """Whatever way a text came about, the keyboard stands where one that read it at once stands."""
    generator, model = random.Random(3), scripted(WORDS, {"I": ["think", "may"], "the": ["thing", "morning"]})
    text, texts = "", []
    for _ in range(300):
        cut = generator.choice([0, 0, 0, 0, 1, 1, 2, 9, 40, 200])
        typed = generator.choice(
            ["a", "th", " ", "I think ", ". ", "’", "don't ", "3", "3.5 ", "\n", "😀", "the thing, "]
        )
        text = text[: len(text) - cut] + typed * generator.choice([1, 1, 1, 1, 8])
        text = text[:600]
        texts.append((text, generator.random() < 0.2))
    found = ask("follow", model=as_json(model), texts=texts)
    for (text, _), (prefix, digest) in zip(texts, found["said"], strict=True):
        assert text.endswith(prefix)
        keyboard = Keyboard(model, personal=Personal(), blocked=[])
        head = text[: len(text) - len(prefix)]
        for number, line in enumerate(head.split("\n")):
            for word in (["\n"] if number else []) + split_words(line):
                keyboard.commit(word)
        if len(split_words(head)) <= 200:
            assert digest == keyboard.digest, text


def test_a_paste_is_not_learnt_and_deleted_words_are_forgotten(ask):
    def learnt(*texts):
        return ask("follow", model=as_json(scripted()), texts=texts)["learnt"]

    assert learnt(("I like ", False), ("I like zebras a b ", True), ("I like zebras a b c. ", False)) == [
        "I",
        "like",
        "c",
    ]
    assert learnt(("I ", False), ("I like ", False), ("I like zebras ", False), ("I like ", False)) == ["I", "like"]
    # Of more than can be undone the rest stays, once.
    assert learnt(("zebra " * 100, False), ("zebra horse ", False)) == ["zebra"] * 36


def test_words_keep_what_they_were_read_as_wherever_the_caret_goes(ask):
    def learnt(*texts):
        return ask("follow", model=as_json(scripted()), texts=texts)["learnt"]

    pasted = ("zebra horse ", True)
    assert learnt(pasted, ("zebra ", False), ("zebra I ", False)) == ["I"]
    assert learnt(pasted, ("", False), ("zebra horse ", False)) == []
    typed, private = ("I ", False), ("I zebra ", False, True)
    assert learnt(typed, private, ("", False), ("I zebra like ", False)) == ["I", "like"]
    assert learnt(typed, private, ("", False, True), ("I zebra ", False, True)) == ["I"]


def test_another_model_learns_nothing_of_a_text_again(ask):
    def learnt(*texts):
        return ask("follow", model=as_json(scripted()), texts=texts)["learnt"]

    texts = [("I ", False), ("I like ", False)]
    assert learnt(*texts, ("I like ", False, False, True), ("I like it ", False, False, True)) == ["I", "like", "it"]
    assert learnt(*texts, ("I like ", False, False, True), ("", False), ("I like ", False)) == ["I", "like"]


def test_the_short_list_knows_blocked_words(ask):
    words = {"words": ["what", "don't"], "start": ["what", "don't", "I"], "after": {}}
    assert ask("short", list=words, before="", blocked=["What"]) == ["Don't", "I"]
    assert ask("short", list=words, before="d", blocked=["don\u2019t"]) == ["d"]
