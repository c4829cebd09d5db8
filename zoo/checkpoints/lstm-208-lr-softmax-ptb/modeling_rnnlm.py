"""Recurrent language models: the stack of layers and the heads.

Letters: B batch, T time, V vocabulary, D embedding, H hidden, P projection, O layer output (P if projected, else H),
G*H rows of a layer's matrices (4H LSTM, 3H GRU, H RNN, 2P+H projected GRU). Equations: Grachev et al. 2019.
"""

import shutil
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from transformers import GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import (
    BaseModelOutputWithPast,
    CausalLMOutputWithPast,
    SequenceClassifierOutputWithPast,
)
from transformers.utils import can_return_tuple

from .cache_rnnlm import RnnLmCache
from .cells_rnnlm import RnnLmLayer, dropout
from .configuration_rnnlm import RnnLmConfig
from .weights_rnnlm import build

# A saved folder is complete in itself: these files, and which of their classes the Auto classes take.
NAMES = ("configuration", "weights", "leaves", "integers", "factors", "sparse", "cache", "cells", "modeling")
CODE = tuple(f"{name}_rnnlm.py" for name in NAMES)
AUTO_MAP = {
    "AutoConfig": "configuration_rnnlm.RnnLmConfig",
    "AutoModel": "modeling_rnnlm.RnnLmModel",
    "AutoModelForCausalLM": "modeling_rnnlm.RnnLmForCausalLM",
    "AutoModelForSequenceClassification": "modeling_rnnlm.RnnLmForSequenceClassification",
}


class RnnLmPreTrainedModel(PreTrainedModel):
    """Initialisation and the library's switches, common to all heads."""

    config: RnnLmConfig
    config_class = RnnLmConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["RnnLmLayer"]
    _skip_keys_device_placement = ["past_key_values"]
    _is_stateful = True

    @torch.no_grad()
    def _init_weights(self, module):
        super()._init_weights(module)
        if hasattr(module, "bound"):
            module.reset()
        elif isinstance(module, RnnLmLayer):
            bias = torch.zeros_like(module.bias)
            if module.cell == "lstm":  # an open forget gate from the start (Jozefowicz et al. 2015)
                bias.chunk(4)[1].fill_(1.0)
            elif module.cell == "cifg":  # the same
                bias.chunk(3)[0].fill_(-1.0)
            init.copy_(module.bias, bias)
            if module.candidate_bias is not None:
                init.zeros_(module.candidate_bias)

    def save_pretrained(self, save_directory, is_main_process: bool = True, **kwargs):
        """As the library's; the folder also gets the code, so that it loads without this package."""
        self.config.auto_map = dict(AUTO_MAP)
        super().save_pretrained(save_directory, is_main_process=is_main_process, **kwargs)
        if is_main_process:
            for name in CODE:
                shutil.copyfile(Path(__file__).with_name(name), Path(save_directory) / name)

    def resize_token_embeddings(self, new_num_tokens=None, *args, **kwargs):
        """As the library's; ValueError where the words, or a head of its own, are stored compressed."""
        if new_num_tokens is not None or args or kwargs.get("pad_to_multiple_of") is not None:
            for what, role in (("embedding", "embed"), ("output layer", "head")):
                if (form := self.config.form_of(role)["form"]) != "dense":
                    raise ValueError(f"the {what} is stored as {form}; only a dense one can be resized")
        return super().resize_token_embeddings(new_num_tokens, *args, **kwargs)


class RnnLmModel(RnnLmPreTrainedModel):
    """Embedding and recurrent layers, without a head."""

    def __init__(self, config: RnnLmConfig):
        super().__init__(config)
        V, D = config.vocab_size, config.embedding_size
        self.embed_tokens = build(config.form_of("embed"), V, D, config.initializer_range, lookup=True)
        self.layers = nn.ModuleList(RnnLmLayer(config, layer) for layer in range(config.num_hidden_layers))
        self.gradient_checkpointing = False
        self.post_init()

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        past_key_values: RnnLmCache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs,
    ) -> BaseModelOutputWithPast | tuple:
        """input_ids [B, T] (or inputs_embeds [B, T, D]), attention_mask [B, >=T] -> last_hidden_state [B, T, O].

        A position whose mask is 0 leaves the state as it was; its output is that of the last real word before it.
        Raises IndexError for ids outside the vocabulary, TypeError for a foreign cache.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        shape = input_ids.shape if inputs_embeds is None else inputs_embeds.shape
        if len(shape) < 2 or shape[1] == 0:
            raise ValueError(
                f"the input has shape {tuple(shape)}, and must have [texts, words]; give at least one word, e.g. <eos>"
            )
        if past_key_values is not None and not isinstance(past_key_values, RnnLmCache):
            raise TypeError(f"past_key_values is a {type(past_key_values).__name__}; it must be an RnnLmCache, or None")
        if past_key_values is not None and len(past_key_values) != len(self.layers):
            raise ValueError(
                f"past_key_values has {len(past_key_values)} layers, the model {len(self.layers)}; pass its own cache"
            )
        use_cache = self.config.use_cache if use_cache is None else use_cache
        if self.gradient_checkpointing and self.training:
            use_cache = False
        if use_cache and past_key_values is None:
            past_key_values = RnnLmCache(self.config)
        elif not use_cache and past_key_values is not None:  # read the state, leave the given cache as it is
            past_key_values = RnnLmCache.from_states(self.config, past_key_values.states())
        x = self.embed(input_ids) if inputs_embeds is None else inputs_embeds
        if self.training:  # a look into the config costs as much as an operation: none in the single-token step
            x = dropout(x, self.config.input_dropout, self.config.variational)
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        embeddings = x if output_hidden_states else None
        hidden: list | None = [] if output_hidden_states else None
        mask, order, words = self.read_mask(attention_mask, x, gather=not use_cache and past_key_values is None)
        if order is not None:
            x = x.gather(1, order[..., None].expand_as(x))
        for number, layer in enumerate(self.layers):
            if self.training and number > 0:
                x = dropout(x, self.config.layer_dropout, self.config.variational)
            x = layer(x, *layer.initial_state(x, past_key_values), mask, past_key_values=past_key_values)
            if hidden is not None:
                hidden.append(x)
        if words is not None:
            x = self.spread(x, words)
            hidden = None if hidden is None else [self.spread(y, words) for y in hidden]
        states = None if hidden is None else (embeddings, *hidden)
        outputs = (x, past_key_values if use_cache else None, states)
        if self.config.return_dict if return_dict is None else return_dict:
            return BaseModelOutputWithPast(*outputs)
        return tuple(output for output in outputs if output is not None)

    def parts(self, *args, **kwargs):
        """`forward` without the making of an output object, dear in a single-token step: (x, cache, hidden states)."""
        x, *rest = self(*args, **kwargs, return_dict=False)
        cache = next((part for part in rest if isinstance(part, RnnLmCache)), None)
        return x, cache, next((part for part in rest if isinstance(part, tuple)), None)

    def embed(self, input_ids: torch.LongTensor) -> torch.Tensor:
        """input_ids [B, T] -> word vectors [B, T, D], whole words dropped in training."""
        try:
            x = self.embed_tokens(input_ids)
        except (IndexError, RuntimeError) as error:
            if input_ids.dtype not in (torch.int64, torch.int32):
                raise TypeError(f"input_ids are {input_ids.dtype}; ids are whole numbers: input_ids.long()") from error
            if not isinstance(error, IndexError):
                raise
            V = self.config.vocab_size
            bad = input_ids[(input_ids < 0) | (input_ids >= V)].flatten()
            raise IndexError(
                f"input_ids holds the id {bad[0].item() if len(bad) else '?'}; this vocabulary of {V} words has ids "
                f"0 to {V - 1}: make the ids with this checkpoint's own tokenizer"
            ) from error
        if self.training and self.config.embedding_dropout:
            keep = F.dropout(x.new_ones(self.config.vocab_size), self.config.embedding_dropout)
            x = x * keep[input_ids][..., None]
        return x

    @staticmethod
    def read_mask(attention_mask, x, gather: bool):
        """Mask of the last T columns -> (mask [B, T] bool or None, order [B, T] or None, words [B, T] or None).

        Where nobody needs the final state (`gather`), the words are moved to the front by `order`, so that the fused
        kernel runs without a mask; `words` counts them up to each position, for `spread` to put them back.
        """
        if attention_mask is None:
            return None, None, None
        if attention_mask.dim() != 2 or attention_mask.shape[0] != x.shape[0] or attention_mask.shape[1] < x.shape[1]:
            raise ValueError(
                f"attention_mask has shape {tuple(attention_mask.shape)}; it must be [B, T] with B={x.shape[0]} and "
                f"at least T={x.shape[1]} columns"
            )
        mask = attention_mask[:, -x.shape[1] :].bool()
        if torch.compiler.is_compiling() or x.shape[1] == 1:
            return mask, None, None
        if mask.all():
            return None, None, None
        if not gather:
            return mask, None, None
        order = torch.argsort((~mask).int(), dim=1, stable=True)
        return None, order, mask.cumsum(1)

    @staticmethod
    def spread(y: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """Outputs y [B, T, O] of words moved to the front -> at their places; a pad has the output of the word before
        it, and zeros, as the state is, where there is none."""
        place = (words - 1).clamp(min=0)[..., None].expand_as(y)
        return y.gather(1, place) * (words > 0)[..., None]


class RnnLmForCausalLM(RnnLmPreTrainedModel, GenerationMixin):
    """The language model: a distribution over the next word (eq. 4-5)."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config: RnnLmConfig):
        super().__init__(config)
        self.model = RnnLmModel(config)
        O, N, K = config.layer_output_size, config.feature_size, config.num_softmaxes
        self.output_projection = self.latent = self.prior = None
        if K > 1:
            self.latent = build(config.form_of("latent"), K * N, O, O**-0.5)
            self.prior = build(config.form_of("prior"), K, O, O**-0.5)
        elif config.output_projection_size is not None:
            self.output_projection = build(config.form_of("output_projection"), N, O, O**-0.5)
        V, bound = config.vocab_size, config.initializer_range
        self.lm_head = build(config.form_of("head"), V, N, bound, bias=config.head_bias)
        # A compressed embedding is tied tensor by tensor; the dense case is the class's own mapping.
        names = [name for name, _ in self.model.embed_tokens.named_parameters()]
        self._tied_weights_keys = {f"lm_head.{name}": f"model.embed_tokens.{name}" for name in names}
        self.post_init()

    def readout(self, hidden: torch.Tensor) -> torch.Tensor:
        """hidden [B, T, O] -> what `logits` reads [B, T, N], with output dropout in training.

        Of K softmaxes [B, T, K N + K]: their latents, then the scores of their shares (Yang et al. 2018, section 3).
        """
        scores = None
        if self.prior is not None:
            scores, hidden = self.prior(hidden), torch.tanh(self.latent(hidden))
        elif self.output_projection is not None:
            hidden = self.output_projection(hidden)
        if self.training:
            hidden = dropout(hidden, self.config.output_dropout, self.config.variational)
        return hidden if scores is None else torch.cat([hidden, scores], dim=-1)

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """What `readout` gave [..., N] -> [..., V]; of K softmaxes the log of their mixture (Yang et al. 2018)."""
        if self.prior is None:
            return self.lm_head(features)
        K = self.config.num_softmaxes
        latents, scores = features[..., :-K], features[..., -K:]
        each = self.lm_head(latents.unflatten(-1, (K, -1))).log_softmax(-1)  # [..., K, V]
        return (each + scores.log_softmax(-1)[..., None]).logsumexp(-2)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        past_key_values: RnnLmCache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.LongTensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **kwargs,
    ) -> CausalLMOutputWithPast:
        """input_ids [B, T] -> logits [B, T or logits_to_keep, V], state, and the loss where labels [B, T] are given."""
        x, cache, hidden = self.model.parts(
            input_ids, attention_mask, past_key_values, inputs_embeds, use_cache, output_hidden_states
        )
        features = self.readout(x)
        keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.logits(features[:, keep])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
        return CausalLMOutputWithPast(loss, logits, cache, hidden)

    def step(self, tokens: torch.Tensor, states: list | None = None) -> tuple[torch.Tensor, list]:
        """One word further without the library's wrappers, whose cost is that of the arithmetic in a small model.

        tokens [B] and the states [(h [B, O], c [B, H or 0]) per layer] of the word before, None at the beginning ->
        logits [B, V] and the new states; those given stay as they are. Equal to `forward` in eval mode.
        """
        x = self.model.embed(tokens)
        if states is None:
            states = [layer.initial_state(x, None) for layer in self.model.layers]
        after = []
        for layer, (h, c) in zip(self.model.layers, states, strict=True):
            x, c = layer.token(x, h, c, layer.recurrent, layer.candidate)
            after.append((x, c))
        if self.prior is not None:
            return self.logits(self.readout(x[:, None])[:, 0]), after
        return self.lm_head(x if self.output_projection is None else self.output_projection(x)), after

    def prepare_inputs_for_generation(self, input_ids, past_key_values=None, is_first_iteration=False, **kwargs):
        if is_first_iteration and past_key_values is not None:
            seen, given = past_key_values.get_seq_length(), input_ids.shape[1]
            if 0 < given <= seen:
                raise ValueError(
                    f"past_key_values has read {seen} tokens and input_ids has {given}; a recurrent state cannot go "
                    "back: give it together with all that it has read and at least one token more"
                )
        return super().prepare_inputs_for_generation(
            input_ids, past_key_values=past_key_values, is_first_iteration=is_first_iteration, **kwargs
        )

    def _prepare_cache_for_generation(self, generation_config, model_kwargs, *args, **kwargs):
        if model_kwargs.get("past_key_values") is not None or generation_config.use_cache is False:
            return super()._prepare_cache_for_generation(generation_config, model_kwargs, *args, **kwargs)
        if generation_config.cache_implementation not in (None, "dynamic"):
            raise ValueError(
                f"cache_implementation={generation_config.cache_implementation!r}: a recurrent state has one form; "
                "leave cache_implementation out"
            )
        model_kwargs["past_key_values"] = RnnLmCache(self.config)


class RnnLmForSequenceClassification(RnnLmPreTrainedModel):
    """A class or a number per text, read from the state after its last word (any padding side)."""

    def __init__(self, config: RnnLmConfig):
        super().__init__(config)
        if config.num_softmaxes > 1:
            raise ValueError(f"num_softmaxes is {config.num_softmaxes}; a classifier predicts no words: give 1")
        self.num_labels = config.num_labels
        self.model = RnnLmModel(config)
        self.score = nn.Linear(config.layer_output_size, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        past_key_values: RnnLmCache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        **kwargs,
    ) -> SequenceClassifierOutputWithPast:
        """input_ids [B, T] -> logits [B, classes], and the loss where labels [B] (or [B, classes]) are given."""
        x, cache, hidden = self.model.parts(
            input_ids, attention_mask, past_key_values, inputs_embeds, use_cache, output_hidden_states
        )
        last = x[:, -1:]
        if self.training:
            last = dropout(last, self.config.output_dropout, self.config.variational)
        logits = self.score(last[:, 0])
        loss = None
        if labels is not None:
            loss = self.loss_function(labels=labels, pooled_logits=logits, config=self.config, **kwargs)
        return SequenceClassifierOutputWithPast(loss, logits, cache, hidden)


__all__ = ["RnnLmCache", "RnnLmForCausalLM", "RnnLmForSequenceClassification", "RnnLmModel", "RnnLmPreTrainedModel"]
