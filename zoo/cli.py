"""The `zoo` command: its own subcommands, and those of other modules, which have parsers of their own."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from . import __version__, commands, evaluation, hub_commands
from .errors import ZooError

# Commands with a parser of their own, in the module that does the work: command -> (module, help).
DELEGATED = {
    "compress": ("conversion.compress", "make a smaller checkpoint of one"),
    "fine-tune": ("conversion.fine_tune", "train a checkpoint on with texts of one's own"),
    "export": ("conversion.exporters", "write a checkpoint as ONNX or for a device"),
    "import": ("conversion.importers", "make a checkpoint of other people's weights"),
    "keyboard": ("zoo.keyboard.terminal", "type with suggestions in the terminal"),
    "demo": ("zoo.keyboard.demo", "serve the keyboard as a page that computes in the browser"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 0: done, 2: an error that is told in one line, 130: interrupted, 141: the reader has gone."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):  # a terminal that cannot show a word must not end the program
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace" if stream is sys.stdin else "backslashreplace")
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words and words[0] in DELEGATED:
            return commands.delegate(DELEGATED[words[0]][0], words[0], words[1:])
        given = _parser().parse_args(words)
        code = given.run(given)
        sys.stdout.flush()
        return code
    except ZooError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:  # on a phone some of what most commands need cannot be installed
        if error.name is None or error.name.partition(".")[0] == "zoo":
            raise
        print(f"error: zoo {words[0]} needs {error.name}; type: pip install 'rnnlm-zoo[train]'", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Python flushes stdout once more on its way out; there is nobody left to read it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # a file without permission, a full disk
        reason = error.strerror or " ".join(str(error).split())
        print(f"error: {f'{error.filename}: ' if error.filename else ''}{reason}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    """Every command and its options."""
    parser = argparse.ArgumentParser(
        prog="zoo", description="Small recurrent language models that suggest the next word.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"zoo {__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    which = "a name of the catalog, name@v1 for a version of it, a folder, or owner/name[@revision] on the Hub"

    suggest = verbs.add_parser(
        "suggest", help="the words that may follow a text", description="Suggests the next word of each TEXT."
    )
    suggest.add_argument("text", nargs="*", metavar="TEXT", help="none: read a line at a time, each one by itself")
    suggest.add_argument("--k", type=int, default=5, help="how many words (default: 5)")
    suggest.add_argument("--model", metavar="NAME", help=f"{which} (default: the best shipped one)")
    suggest.add_argument("--special", action="store_true", help="also suggest <eos>, the end of a line, and <unk>")
    suggest.add_argument("--json", action="store_true", help="one JSON object per TEXT, a line each")
    suggest.set_defaults(run=commands.suggest)

    catalog = verbs.add_parser("list", help="the checkpoints of the catalog", description="Lists the catalog.")
    catalog.add_argument("--json", action="store_true", help="one JSON object: name -> its row of the catalog")
    catalog.set_defaults(run=commands.list_)

    info = verbs.add_parser("info", help="what a checkpoint holds", description="Shows what a checkpoint holds.")
    info.add_argument("name", metavar="NAME", help=which)
    info.add_argument("--json", action="store_true", help="one JSON object")
    info.set_defaults(run=commands.info)

    evaluate = verbs.add_parser(
        "evaluate",
        help="perplexity and next-word recall on a corpus, or accuracy on labelled texts",
        description="Scores a corpus as one stream with carried state, every token a target; with a text classifier "
        "labelled reviews, each by itself.",
    )
    evaluate.add_argument("name", metavar="NAME", help=which)
    evaluate.add_argument("--data", metavar="DIR", help="folder of the corpus (default: environment variable ZOO_DATA)")
    evaluate.add_argument(
        "--corpus",
        help="ptb, wikitext-2, dialogue, russian, a folder, a text file or hub:owner/name; of a text classifier imdb "
        "or movie-reviews (default: what it was trained on)",
    )
    evaluate.add_argument("--split", default="test", help="train, valid or test (default: test)")
    evaluate.add_argument(
        "--batch-size",
        type=int,
        help="stripes scored side by side; published numbers use 1 (default: 1); of a text classifier texts, which "
        "changes nothing but the time (default: 64)",
    )
    evaluation.add_adapting(evaluate)
    evaluate.add_argument("--threads", type=int, help="CPU threads (default: what torch takes)")
    evaluate.add_argument("--json", action="store_true", help="one JSON object")
    evaluate.set_defaults(run=evaluation.evaluate)
    _add_hub(verbs, which)
    for command, (_, help_) in DELEGATED.items():  # here for the list of commands only
        verbs.add_parser(command, help=help_, add_help=False)
    return parser


def _add_hub(verbs: Any, which: str) -> None:
    """The commands that get, check and publish checkpoints."""
    pull = verbs.add_parser(
        "pull",
        help="get a checkpoint from the Hub",
        description="Downloads a checkpoint, every file held to its sha256. HF_ENDPOINT, HF_TOKEN, HF_HOME and "
        "HF_HUB_OFFLINE mean what they mean everywhere.",
    )
    pull.add_argument("name", metavar="NAME", help="a name of the catalog, name@v1, or owner/name[@revision]")
    pull.add_argument("--to", metavar="DIR", help="the folder that it becomes (default: it stays in the Hub's cache)")
    pull.add_argument("--json", action="store_true", help="one JSON object")
    pull.set_defaults(run=hub_commands.pull)

    check = verbs.add_parser(
        "check",
        help="whether a checkpoint is whole and computes what it should",
        description="Loads a checkpoint in a process that has its files only, and compares the outputs with the digest "
        "stored in it and with those of this package.",
    )
    check.add_argument("name", metavar="NAME", help=which)
    check.add_argument(
        "--trust-remote-code", action="store_true", help="run code in the folder that is not this package's"
    )
    check.add_argument("--write", action="store_true", help="store the digest in the folder, for later checks")
    check.add_argument("--json", action="store_true", help="one JSON object")
    check.set_defaults(run=hub_commands.check)

    publish = verbs.add_parser(
        "publish",
        help="put checkpoints or a page on the Hub",
        description="Completes a checkpoint, loads it in a clean process, uploads what changed in one commit, tags the "
        "version and records it. Given again, it goes on or changes nothing.",
    )
    publish.add_argument("name", metavar="NAME", nargs="?", help="a shipped checkpoint, or a folder")
    publish.add_argument(
        "--to", metavar="OWNER[/NAME]", required=True, help="where; the token is HF_TOKEN's or hf auth's"
    )
    publish.add_argument("--all", action="store_true", help="every shipped checkpoint, parents first")
    publish.add_argument("--space", metavar="FOLDER", help="a folder with a static page, as a Space")
    publish.add_argument("--private", action="store_true", help="make the repository private")
    publish.add_argument("--dry-run", action="store_true", help="check everything, upload nothing")
    publish.add_argument("--no-onnx", action="store_true", help="without onnx/")
    publish.add_argument("--json", action="store_true", help="one JSON object")
    publish.set_defaults(run=hub_commands.publish)
