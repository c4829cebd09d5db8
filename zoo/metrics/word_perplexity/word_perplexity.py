"""Word perplexity of lines of text under a checkpoint of the zoo, as an `evaluate` metric.

`evaluate.load` copies this file elsewhere, hence the absolute imports of the installed package.
"""

from typing import Any

import datasets
import evaluate
import numpy as np

from zoo.errors import CorpusError, VocabularyError, ZooError
from zoo.loading import load
from zoo.scoring import score_stream
from zoo.tokenization import EOS, UNK, words_of

DESCRIPTION = """
Perplexity per word of a recurrent language model over lines of text read as one stream: the state is carried from line
to line, every word and one `<eos>` per line is a target, and the result is exp of the mean loss over all of them.
"""

INPUTS = """
Args:
    predictions (list of str): lines of text, words separated by white space.
    model_id (str): a shipped checkpoint such as "lstm-200-ptb", a checkpoint folder, or owner/name on the Hub.
    batch_size (int): stripes scored side by side; 1 is the published protocol.

Returns:
    word_perplexity, standard_error, targets, unknown_words, top1, top3, reciprocal_perplexity, ms_per_token.

Example:
    >>> metric = evaluate.load("zoo/metrics/word_perplexity")
    >>> metric.compute(predictions=["the company said it"], model_id="lstm-200-ptb")["targets"]
    5
"""

CITATION = """
@article{grachev2019compression,
  title={Compression of recurrent neural networks for efficient language modeling},
  author={Grachev, Artem M. and Ignatov, Dmitry I. and Savchenko, Andrey V.},
  journal={Applied Soft Computing},
  volume={79},
  pages={354--362},
  year={2019},
  doi={10.1016/j.asoc.2019.03.057}
}
"""


@evaluate.utils.file_utils.add_start_docstrings(DESCRIPTION, INPUTS)
class WordPerplexity(evaluate.Metric):
    """Perplexity per word over one stream with carried state."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            module_type="metric",
            description=DESCRIPTION,
            citation=CITATION,
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": datasets.Value("string")}),
        )

    def compute(self, *, predictions: Any = None, **kwargs: Any) -> dict[str, float] | None:
        """As `evaluate.Metric.compute`; refuses (CorpusError) what it would take apart into letters."""
        if isinstance(predictions, str):
            raise CorpusError("predictions is one str, whose letters would be lines; give a list: predictions=[text]")
        if predictions is not None and (odd := [line for line in predictions if not isinstance(line, str)]):
            raise CorpusError(f"predictions has {odd[0]!r}; a line is a str")
        return super().compute(predictions=predictions, **kwargs)

    def _compute(self, predictions: list[str], model_id: str | None = None, batch_size: int = 1) -> dict[str, float]:
        """Scores the lines; raises the named errors of `zoo.errors`."""
        if model_id is None:
            raise ZooError('model_id is missing; give a checkpoint, e.g. model_id="lstm-200-ptb"')
        if not predictions:
            raise CorpusError("predictions is empty, so there is nothing to score; give lines of text")
        model, tokenizer = load(model_id)
        ids = tokenizer.get_vocab()
        words = words_of("".join(f"{line.removesuffix(chr(10))}\n" for line in predictions))
        missing = next((word for word in words if word not in ids), None)
        if missing is not None and UNK not in ids:
            raise VocabularyError(f"{model_id} has neither the word {missing!r} nor {UNK}; score other lines")
        tokens = np.array([ids.get(word, ids.get(UNK)) for word in words], dtype=np.int64)
        scores = score_stream(model, tokens, ids[EOS], batch_size=batch_size)
        return {
            "word_perplexity": scores.perplexity,
            "standard_error": scores.standard_error,
            "targets": scores.targets,
            "unknown_words": sum(word not in ids for word in words),
            "top1": scores.top1,
            "top3": scores.top3,
            "reciprocal_perplexity": scores.reciprocal_perplexity,
            "ms_per_token": scores.ms_per_token,
        }
