"""From the name of a corpus to its texts: a public corpus, files of one's own, or a dataset of the Hub."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import CorpusError
from .tokenization import Text
from .typed_corpora import DIALOGUE, typed_texts

if TYPE_CHECKING:
    from datasets import Dataset

SPLITS = ("train", "valid", "test")
HUB = re.compile(r"hub:(?P<path>[^:@]+)(:(?P<config>[^@]+))?(@(?P<revision>.+))?")
HUB_SPLITS = {"train": ("train",), "valid": ("validation", "valid", "dev"), "test": ("test",)}
HUB_COLUMNS = ("text", "sentence")


@dataclass(frozen=True)
class Known:
    """A public corpus: where its files lie, and what they are (tokens with one `<eos>` per line, sha256 unpacked).

    typed: the files of a split whose raw text is made into words; none: `file` is the text, words between blanks.
    """

    file: str
    folders: tuple[str, ...]
    facts: dict[str, tuple[int, str]]
    typed: tuple[str, ...] = ()


KNOWN = {
    "ptb": Known(
        "ptb.{split}.txt",
        ("", "ptb"),
        {
            "train": (929_589, "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf"),
            "valid": (73_760, "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2"),
            "test": (82_430, "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0"),
        },
    ),
    "wikitext-2": Known(
        "wiki.{split}.tokens",
        ("", "wikitext-2", "wikitext2"),
        {
            "train": (2_088_628, "9e9fa1ad55b1c2c95b08e37dd8e653f638fac2c6de904b79e813611eefbc985f"),
            "valid": (217_646, "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8"),
            "test": (245_569, "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0"),
        },
    ),
    "dialogue": Known(
        "selfdialogue.{split}.txt",
        ("", "dialogue"),
        {
            "train": (7_884_263, "e6059dc64aa0c2c6ff1be726113e48a5c18f8009b9048fa7073084ff43cbfadf"),
            "valid": (445_127, "c7b034f079b2fc696dde91e12d630a7673f9dbb71e82b74a6bff7a9abd77af6b"),
            "test": (431_450, "0b34049028224124c6139ee3686caa0645c648575414b4d55649af265c339551"),
        },
        typed=tuple(f"{source}.{{split}}.txt" for source in DIALOGUE),
    ),
    "russian": Known(
        "{split}.txt",
        ("", "russian"),
        {
            "train": (5_395_813, "28bafebc8ecea5198e61aeb98342c95aa1d0858e6d5a2b67957f5a470bece3e4"),
            "valid": (367_067, "bd40d8c635c97ff38b364ea7bc6e577b898869c311dbb7121fd07753330bbd96"),
            "test": (341_754, "49c44a8c3f2411cb238c677373a54e95c2349543a34cf9689d385a52fb318665"),
        },
        typed=("{split}.txt",),
    ),
}


def texts_of(name: str, data_dir: str | Path | None = None) -> dict[str, Text]:
    """split -> text of a corpus, in the order train, valid, test; what there is of them, at least one.

    Args:
        name: see `load_corpus`.
        data_dir: folder of the corpora, or of the named one; None: the environment variable ZOO_DATA.

    Raises:
        CorpusError: there is no such corpus, or none of its files.
    """
    if name in KNOWN:
        return _known_texts(name, data_dir)
    return _hub_texts(name) if name.startswith("hub:") else _own_texts(name, data_dir)


def _known_texts(name: str, data_dir: str | Path | None) -> dict[str, Text]:
    """split -> file of a public corpus."""
    known = KNOWN[name]
    given = data_dir or os.environ.get("ZOO_DATA")
    if not given:
        raise CorpusError(
            f"{name} needs its files ({known.file.format(split='train')} ...); give --data DIR, set ZOO_DATA, "
            "or name another corpus: a folder, a text file or hub:owner/name"
        )
    root = Path(os.path.expanduser(given))
    if not root.is_dir():
        raise CorpusError(
            f"the data folder {root} does not exist; give --data DIR, set ZOO_DATA, or use hub:owner/name"
        )
    for folder in known.folders:
        if texts := _files(root / folder, known.file):
            return _typed(root / folder, known.typed) if known.typed else texts
    raise CorpusError(
        f"{root} has no {known.file.format(split='train')}[.gz], {known.file.format(split='valid')}[.gz] ..., nor has "
        f"{' or '.join(str(root / folder) for folder in known.folders if folder)}; "
        "give --data DIR or set ZOO_DATA to their folder, or name a folder of your own texts as the corpus"
    )


def _typed(folder: Path, patterns: tuple[str, ...]) -> dict[str, Text]:
    """split -> text that is made of the raw text of files."""
    plain = {split: [folder / pattern.format(split=split) for pattern in patterns] for split in SPLITS}
    return typed_texts(
        {
            split: [path if path.is_file() else path.with_name(path.name + ".gz") for path in paths]
            for split, paths in plain.items()
        }
    )


def _own_texts(name: str, data_dir: str | Path | None) -> dict[str, Text]:
    """split -> text of a folder or a file."""
    roots = [Path(), *(Path(given) for given in (data_dir, os.environ.get("ZOO_DATA")) if given)]
    for path in (Path(os.path.expanduser(root), os.path.expanduser(name)) for root in roots):
        if os.path.isfile(path):
            return {"test": Text.of(path)}
        if os.path.isdir(path):
            if texts := _files(path, "{split}.txt"):
                return texts
            raise CorpusError(
                f"{path} has none of train.txt, valid.txt, test.txt (or .gz); name them so, or give one text file; "
                f"for {' or '.join(KNOWN)} give that name, and the folder with --data DIR"
            )
    raise CorpusError(
        f"no corpus, folder or file is called {name!r}; allowed: {', '.join(KNOWN)}, a folder with train.txt, "
        "valid.txt and test.txt, a text file, or hub:owner/name; the folder of the corpora is --data DIR or ZOO_DATA"
    )


def _files(folder: Path, pattern: str) -> dict[str, Text]:
    """split -> file of a folder, the plain one before the packed one."""
    paths = {split: folder / pattern.format(split=split) for split in SPLITS}
    packed = {split: path.with_name(path.name + ".gz") for split, path in paths.items()}
    found = {split: paths[split] if paths[split].is_file() else packed[split] for split in SPLITS}
    return {split: Text.of(path) for split, path in found.items() if path.is_file()}


def _hub_texts(name: str) -> dict[str, Text]:
    """split -> text of a dataset of the Hub, or of a local folder in a dataset's layout; a row is a line."""
    match = HUB.fullmatch(name)
    if match is None:
        raise CorpusError(f"{name!r} is no dataset; allowed: hub:owner/name[:config][@revision]")
    try:
        from datasets import load_dataset
        from datasets.exceptions import DatasetsError
    except ImportError as error:
        raise CorpusError(f"{name} needs the package datasets; type: pip install 'rnnlm-zoo[train]'") from error
    try:
        dataset = load_dataset(match["path"], match["config"], revision=match["revision"])
    except (DatasetsError, OSError, ValueError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CorpusError(f"the dataset {name} cannot be had: {reason}; check the name and the network") from error
    texts = {}
    for split, names in HUB_SPLITS.items():
        theirs = next((their for their in names if their in dataset), None)
        if theirs is None:
            continue
        rows = dataset[theirs]
        strings = [column for column, kind in rows.features.items() if getattr(kind, "dtype", "").endswith("string")]
        column = next((column for column in HUB_COLUMNS if column in strings), None)
        if column is None:
            raise CorpusError(
                f"the {theirs} rows of {name} have the columns {', '.join(rows.column_names)}; "
                f"allowed: strings in a column {' or '.join(HUB_COLUMNS)}; or save the text as train.txt ..."
            )
        texts[split] = Text(f"{name} ({theirs})", partial(_lines, rows.select_columns(column), column))
    if not texts:
        raise CorpusError(f"{name} has the splits {', '.join(dataset)}; allowed: train, validation, test")
    return texts


def _lines(rows: Dataset, column: str) -> Iterator[bytes]:
    """The rows of a dataset as lines; a row may already end its line, as WikiText's do."""
    for batch in rows.iter(batch_size=1000):
        yield "".join((row or "").removesuffix("\n") + "\n" for row in batch[column]).encode()
