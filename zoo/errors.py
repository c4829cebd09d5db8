"""Named errors of the zoo: each carries one line that says what was given, what is allowed and what to do next.

ZooError(ValueError)
├── CorpusError       a text or corpus that cannot be read, is empty, or is not the one it claims to be
├── CheckpointError   a checkpoint that is unknown, incomplete, damaged or does not fit its config
├── VocabularyError   a word or id outside the vocabulary
└── RecipeError       a recipe with unknown, missing or wrong-typed keys
"""


class ZooError(ValueError):
    """Base of every error that a user can cause and mend."""


class CorpusError(ZooError):
    """A text or corpus that cannot be read, is empty, or is not the one it claims to be."""


class CheckpointError(ZooError):
    """A checkpoint that is unknown, incomplete, damaged or does not fit its config."""


class VocabularyError(ZooError):
    """A word or id outside the vocabulary."""


class RecipeError(ZooError):
    """A recipe with unknown, missing or wrong-typed keys."""
