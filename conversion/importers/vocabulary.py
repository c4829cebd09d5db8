"""The words of a checkpoint in the order of its ids: from a list, or from the texts as the training code read them."""

from __future__ import annotations

import gzip
import json
import shlex
from pathlib import Path

from zoo.errors import CorpusError, VocabularyError
from zoo.tokenization import EOS, UNK

SPLITS = ("train", "valid", "test")
# The same lines make the list where the model was trained, by word_language_model or AWD-LSTM.
LIST = (
    'import data; words = data.Corpus("DIR").dictionary.idx2word; '
    'open("vocabulary.txt", "w", encoding="utf-8").write("\\n".join(words) + "\\n")'
)
HOW = (
    f"where it was trained, write its own: {shlex.join(['python', '-c', LIST])} ; then give --vocabulary vocabulary.txt"
)
ENDS = ("<eos>", "</s>", "<EOS>", "<end>", "[EOS]", "<|endoftext|>", "xxeos")


def read_words(file: Path) -> list[str]:
    """The words in a file: one a line, or (.json) a list, word -> id, or id -> word.

    Raises:
        VocabularyError: not readable, an empty line, or ids that are not 0, 1, 2 ...
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
        given = json.loads(text) if file.suffix == ".json" else text.removesuffix("\n").split("\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VocabularyError(
            f"cannot read {file}: {reason}; give words, one a line in UTF-8, or a .json file"
        ) from error
    if isinstance(given, dict):
        given = _in_order(file, given)
    if not isinstance(given, list) or not all(isinstance(word, str) for word in given):
        raise VocabularyError(f"{file} holds no words; allowed in JSON: [word, ...], {{word: id}} or {{id: word}}")
    if "" in given:
        raise VocabularyError(
            f"{file} has no word for id {given.index('')} (line {given.index('') + 1}); give one for each id"
        )
    return given


def _in_order(file: Path, pairs: dict) -> list:
    """The words of word -> id or id -> word, by id."""
    if all(isinstance(word, str) and str(key).isdecimal() for key, word in pairs.items()):
        ids = {int(key): word for key, word in pairs.items()}
    else:
        ids = {number: word for word, number in pairs.items() if type(number) is int}
    if len(ids) != len(pairs) or sorted(ids) != list(range(len(ids))):
        raise VocabularyError(
            f"{file} has {len(pairs)} words and their ids are not 0 to {len(pairs) - 1}; give one id each"
        )
    return [ids[number] for number in range(len(ids))]


def words_of_corpus(folder: Path, eos: str = EOS) -> list[str]:
    """The words of train.txt, valid.txt and test.txt in order of first appearance, `eos` after every line.

    As the `data.py` of word_language_model and AWD-LSTM does it: white space separates, an unfinished line ends too.

    Raises:
        CorpusError: a file is missing or is no UTF-8 text.
    """
    plain = [folder / f"{split}.txt" for split in SPLITS]
    files = [path if path.is_file() else path.with_name(f"{path.name}.gz") for path in plain]
    missing = [path.name for path, found in zip(plain, files, strict=True) if not found.is_file()]
    if missing:
        raise CorpusError(
            f"{folder} has no {', '.join(missing)} (or .gz); the ids follow from all three texts of the training: "
            "give their folder, or the words with --vocabulary FILE"
        )
    words: dict[str, None] = {}
    for path in files:
        try:
            opened = gzip.open if path.suffix == ".gz" else open
            with opened(path, "rt", encoding="utf-8") as lines:
                for line in lines:
                    words.update(dict.fromkeys([*line.split(), eos]))
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise CorpusError(f"cannot read {path} as UTF-8 text: {error}; give the texts of the training") from error
    return list(words)


def renamed(words: list[str], source: str, eos: str, unk: str | None) -> list[str]:
    """The words with the zoo's names for the end of a line and, if there is one, for unknown words.

    Raises:
        VocabularyError: a word that is asked for is not there, or the zoo's name for it is another's.
    """
    names = {eos: EOS} if unk is None else {eos: EOS, unk: UNK}
    for option, word in (("--eos", eos), ("--unk", unk)):
        if word is not None and word not in words:
            like = [end for end in ENDS if end in words] if option == "--eos" else []
            hint = f"; perhaps {' or '.join(f'--eos {shlex.quote(end)}' for end in like)}" if like else ""
            what = "ends a line" if option == "--eos" else "stands for unknown words"
            raise VocabularyError(f"{source} has no word {word!r}{hint}; name the one that {what}: {option} WORD")
    for theirs, ours in names.items():
        if theirs != ours and ours in words:
            raise VocabularyError(
                f"{source} has {ours} beside {theirs!r}, so {theirs!r} cannot become it; leave it out"
            )
    return [names.get(word, word) for word in words]


def check_count(words: list[str], source: str, rows: int, table: str, file: Path) -> None:
    """Refuses the words of another model (VocabularyError)."""
    if len(words) != rows:
        raise VocabularyError(
            f"foreign vocabulary: {source} has {len(words):,} words and {table} of {file} has {rows:,} rows, one per "
            f"word; {HOW}"
        )
