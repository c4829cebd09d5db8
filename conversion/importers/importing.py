"""From somebody's file of weights to a checkpoint folder of the zoo."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from zoo.configuration_rnnlm import RnnLmConfig
from zoo.errors import CheckpointError, VocabularyError
from zoo.modeling_rnnlm import RnnLmForCausalLM
from zoo.tokenization import EOS, UNK, build_tokenizer

from ..checkpoint import check_place, provenance, save_checkpoint
from .files import read_tensors
from .network import Network, find_network
from .vocabulary import HOW, check_count, read_words, renamed, words_of_corpus
from .weights import config_of, padding_of, tensors_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BLOCK = 1 << 22  # bytes hashed at a time
TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")  # all of them the end of a line


def import_checkpoint(
    file: str | Path,
    out: str | Path,
    *,
    kind: str = "auto",
    vocabulary: str | Path | None = None,
    corpus: str | Path | None = None,
    eos: str = EOS,
    unk: str | None = None,
    embedding: str | None = None,
    rnn: Sequence[str] = (),
    head: str | None = None,
    nonlinearity: str | None = None,
    ignore: Sequence[str] = (),
    replace: bool = False,
) -> Path:
    """Writes the checkpoint folder of a language model that was trained elsewhere; its predictions are the same.

    Args:
        file: a state dict, by `torch.save` or in safetensors; or a dict or list that holds one.
        out: the folder to write.
        kind: `word_language_model` (PyTorch's example), `awd_lstm` (salesforce), `torch` (torch.nn.LSTM, GRU or RNN
            with word vectors and an output layer) or `auto`.
        vocabulary: file of the words in the order of the ids, one a line or JSON.
        corpus: instead: folder of train.txt, valid.txt and test.txt, whose words in order of appearance are the ids.
        eos, unk: their names for the end of a line and for unknown words; unk None: `<unk>` if there is such a word.
        embedding, rnn, head: tensor of the word vectors, prefixes of the recurrent layers in order, tensor of the
            output layer, where they cannot be found by shape and name.
        nonlinearity: `tanh`, to be said of an RNN.
        ignore: tensors that take no part in the prediction, `*` for any characters.
        replace: whether a folder that is there is replaced.

    Raises:
        CheckpointError: a pickle that needs code, a network that the zoo has no cell for, parts missing or left over.
        VocabularyError, CorpusError: no words, words of another model, or files that cannot be read.
    """
    path, folder = Path(file).expanduser(), Path(out).expanduser()
    check_place(folder)
    if folder.exists() and not replace:
        raise CheckpointError(f"{folder} is there already; give another folder, or to write it again: --replace")
    tensors = read_tensors(path)
    if unmet := [glob for glob in ignore if not any(fnmatchcase(name, glob) for name in tensors)]:
        raise CheckpointError(f"--ignore {unmet[0]!r} fits no tensor of {path}; it has {', '.join(sorted(tensors))}")
    network = find_network(path, tensors, kind, embedding, rnn, head, nonlinearity, ignore)
    words, tokenizer = _words(path, network, vocabulary, corpus, eos, unk)
    config = RnnLmConfig(**config_of(network), **dict.fromkeys(TOKENS, words.index(EOS)))
    with torch.device("meta"):  # shapes without memory
        model = RnnLmForCausalLM(config)
    made = tensors_of(network)
    if spoilt := [name for name, tensor in made.items() if not tensor.isfinite().all()]:
        raise CheckpointError(
            f"{path} has numbers that are not finite (nan or inf), which become {spoilt[0]}: its training diverged or "
            "the file is damaged; give another state of it"
        )
    model.load_state_dict(made, assign=True)
    model.tie_weights()
    origin = _origin(path, network, words, vocabulary, corpus)
    metrics = {"imported": origin, "parameters": model.num_parameters(), "stored": {"dtype": "float32"}, **provenance()}
    save_checkpoint(
        model, tokenizer, folder, _recipe(folder, network, origin, corpus), metrics, half=False, replace=replace
    )
    return folder


def _words(
    path: Path, network: Network, vocabulary: str | Path | None, corpus: str | Path | None, eos: str, unk: str | None
) -> tuple[list[str], PreTrainedTokenizerBase]:
    """The words by id, under the zoo's names for the special ones, and their tokenizer."""
    if (vocabulary is None) == (corpus is None):
        raise VocabularyError(
            f"{path} holds numbers for {network.vocab_size:,} words and not the words; give one of --vocabulary FILE "
            f"(a word a line, in order of ids) and --corpus DIR (its train.txt, valid.txt and test.txt); or {HOW}"
        )
    source = str(vocabulary if corpus is None else corpus)
    words = read_words(Path(source).expanduser()) if corpus is None else words_of_corpus(Path(source).expanduser(), eos)
    check_count(words, source, network.vocab_size, str(network.names.embedding), path)
    words = renamed(words, source, eos, unk)
    try:
        return words, build_tokenizer(words)
    except VocabularyError as error:
        raise VocabularyError(f"{source}: {error}") from error


def _origin(
    path: Path, network: Network, words: list[str], vocabulary: str | Path | None, corpus: str | Path | None
) -> dict[str, Any]:
    """Where a checkpoint came from, for metrics.json and recipe.toml: names of files without their folders."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    origin: dict[str, Any] = {"kind": network.kind, "file": path.name, "sha256": digest.hexdigest()}
    origin |= {"embedding": network.names.embedding, "rnn": network.names.rnn, "head": network.names.head}
    origin |= {"parameters": network.parameters}
    origin["words"] = f"{'corpus' if vocabulary is None else 'vocabulary'} {Path(str(vocabulary or corpus)).name}"
    if UNK in words:
        origin["unk_id"] = words.index(UNK)
    if padding := padding_of(network):
        origin["padded"] = padding
    return origin


def _recipe(folder: Path, network: Network, origin: dict[str, Any], corpus: str | Path | None) -> str:
    """The text of recipe.toml."""
    model = {name: value for name, value in config_of(network).items() if name != "vocab_size" and value is not None}
    tables = {
        "": {
            "name": folder.name,
            "description": f"Imported from {origin['file']} ({network.kind})",
            "corpus": Path(corpus).name if corpus else "unknown",
        },
        "[model]\n": model,
        "[imported]\n": origin,
    }
    return "\n".join(
        title + "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in table.items())
        for title, table in tables.items()
    )
