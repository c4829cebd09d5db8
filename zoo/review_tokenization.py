"""Words of reviews, and the tokenizer that makes ids of them, from the raw text on.

The rule: lower case, `<br />` is a blank, a word is letters and digits with apostrophes between them, every other sign
is a token of its own. The tokenizers library alone carries it out, here and in a checkpoint, so both give the same ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .errors import VocabularyError
from .tokenization import UNK

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

PAD = "<pad>"
WORD = r"\w+(?:'\w+)*|[^\w\s]"
BATCH = 1000  # texts made into ids at once


def build_review_tokenizer(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """A generic fast tokenizer whose ids are the positions in `words`; `save_pretrained` needs no code of ours.

    Padding is `<pad>`, on the left. A word that is not among `words` becomes `<unk>`.

    Raises:
        VocabularyError: no `<pad>` or `<unk>`, a word given twice, or one that no review can contain.
    """
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=_tokenizer_of(list(words)),
        pad_token=PAD,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def review_vocabulary(texts: Iterable[str], max_size: int) -> list[str]:
    """`<pad>`, `<unk>` and the most frequent words of reviews, equals by alphabet; `max_size` in all at most.

    Raises:
        VocabularyError: `max_size` leaves no room for a word.
    """
    if max_size < 3:
        raise VocabularyError(f"a vocabulary of at most {max_size} words; give 3 or more: {PAD}, {UNK} and a word")
    from tokenizers.models import WordLevel
    from tokenizers.trainers import WordLevelTrainer

    tokenizer = _bare(WordLevel(unk_token=UNK))
    trainer = WordLevelTrainer(vocab_size=max_size, special_tokens=[PAD, UNK], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    ids = tokenizer.get_vocab(with_added_tokens=False)
    return sorted(ids, key=lambda word: ids[word])


class Encoder:
    """Texts to ids as a tokenizer does it, without transformers and thousands at once.

    Args:
        words: the vocabulary by id, or a tokenizer of transformers, whose padding and cutting to a length are ignored.
    """

    def __init__(self, words: list[str] | PreTrainedTokenizerBase):
        from tokenizers import Tokenizer

        if isinstance(words, list):
            self._tokenizer = _tokenizer_of(words)
        else:
            self._tokenizer = Tokenizer.from_str(words.backend_tokenizer.to_str())
            self._tokenizer.no_padding()
            self._tokenizer.no_truncation()

    @property
    def key(self) -> str:
        """What decides the ids, in few letters."""
        return hashlib.sha256(self._tokenizer.to_str().encode()).hexdigest()[:16]

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of every text.

        Raises:
            VocabularyError: an unknown word, and the vocabulary has no `<unk>`.
        """
        ids: list[list[int]] = []
        try:
            for first in range(0, len(texts), BATCH):
                ids += [found.ids for found in self._tokenizer.encode_batch_fast(texts[first : first + BATCH])]
        except Exception as error:  # the library has no class of its own
            raise VocabularyError(f"the texts cannot become ids: {error}; give a tokenizer with {UNK}") from error
        return ids


def _tokenizer_of(words: list[str]) -> Tokenizer:
    """The tokenizer of a vocabulary, for the library."""
    from tokenizers.models import WordLevel

    for needed in (PAD, UNK):
        if needed not in words:
            raise VocabularyError(f"the vocabulary of {len(words)} words lacks {needed}; add it, at any place")
    ids = {word: i for i, word in enumerate(words)}
    if len(ids) != len(words):
        twice = next(word for i, word in enumerate(words) if ids[word] != i)
        raise VocabularyError(f"the vocabulary has {twice!r} more than once; give every word once")
    tokenizer = _bare(WordLevel(ids, unk_token=UNK))
    tokenizer.add_special_tokens([PAD])
    for word in words:
        if word not in (PAD, UNK) and _cut(tokenizer, word) != [word]:
            raise VocabularyError(
                f"{word!r} cannot be a word of a review: the tokenizer makes {_cut(tokenizer, word)} of it; "
                "give words in lower case, or single signs"
            )
    return tokenizer


def _bare(model) -> Tokenizer:
    """A tokenizer of the library with the rule of this module."""
    from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers

    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(Regex(r"<br */?>"), " "), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORD), "removed", invert=True)
    return tokenizer


def _cut(tokenizer: Tokenizer, text: str) -> list[str]:
    """The words of a text, known or not."""
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text))]
