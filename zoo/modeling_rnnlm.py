"""Recurrent language models: cells over weight forms, their stack, and the heads.

Letters: B batch, T time, V vocabulary, D embedding, H hidden, P projection, O layer output (P if projected, else H),
G*H rows of a layer's matrices (4H LSTM, 3H GRU, H RNN, 2P+H projected GRU). Equations: Grachev et al. 2019.
"""

import warnings

import torch
from torch import _VF, nn
from torch.nn import functional as F
from transformers import GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import (
    BaseModelOutputWithPast,
    CausalLMOutputWithPast,
    SequenceClassifierOutputWithPast,
)
from transformers.utils import can_return_tuple

from .cache_rnnlm import RnnLmCache
from .configuration_rnnlm import RnnLmConfig
from .weights_rnnlm import build

warnings.filterwarnings("ignore", message="LSTM with projections is not supported with oneDNN")


def dropout(x: torch.Tensor, p: float, variational: bool) -> torch.Tensor:
    """Dropout of x [B, T, N]; variational: one mask [B, 1, N] for all time steps (Gal and Ghahramani 2016)."""
    if p == 0:
        return x
    if not variational:
        return F.dropout(x, p)
    return x * F.dropout(x.new_ones(x.shape[0], 1, x.shape[2]), p)


def lstm_step(gates: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """gates [B, 4H] before activation, c [B, H] -> h [B, H], c (eq. 11-15)."""
    i, f, g, o = gates.chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


class RnnLmLayer(GradientCheckpointingLayer):
    """One recurrent layer; its matrices are weight forms, its state comes from and goes to the cache."""

    def __init__(self, config: RnnLmConfig, layer: int):
        super().__init__()
        H, P, O = config.hidden_size, config.projection_size, config.layer_output_size
        width = config.embedding_size if layer == 0 else O
        recurrent = config.form_of("recurrent", layer)
        self.layer, self.cell, self.projection_size, self.weight_drop = layer, config.cell, P, float(config.weight_drop)
        projected_gru = config.cell == "gru" and P is not None
        rows = 2 * P + H if projected_gru else {"lstm": 4, "gru": 3, "rnn": 1}[config.cell] * H
        self.input = build(config.form_of("input", layer), rows, width, width**-0.5)
        self.recurrent = build(recurrent, 2 * P if projected_gru else rows, O, O**-0.5)
        self.bias = nn.Parameter(torch.zeros(rows))
        self.projection = None if P is None else build(config.form_of("projection", layer), P, H, (3 / H) ** 0.5)
        # The projected GRU resets the state before the product, the plain one (cuDNN's) after it and adds a bias there.
        self.candidate = build(recurrent, H, P, P**-0.5) if projected_gru else None
        self.candidate_bias = nn.Parameter(torch.zeros(H)) if config.cell == "gru" and P is None else None
        dense = {config.form_of(role, layer)["form"] for role in ("input", "recurrent", "projection")} == {"dense"}
        self.has_kernel = dense and (P is None or config.cell == "lstm")
        self.state_sizes = (O, H if config.cell == "lstm" else 0)

    def forward(self, hidden_states, mask=None, past_key_values=None):
        """hidden_states [B, T, in], mask [B, T] bool or None -> [B, T, O]; where the mask is False the state stays."""
        x, T = hidden_states, hidden_states.shape[1]
        h, c = self.initial_state(x, past_key_values)
        # A CPU runs a single step faster in plain operations than through the kernel's set-up.
        fused = self.has_kernel and mask is None and (T > 1 or x.is_cuda)
        if fused and not torch.compiler.is_compiling():
            y, h, c = self.kernel(x, h, c)
        else:
            y, h, c = self.unroll(x, mask, h, c)
        if past_key_values is not None:
            past_key_values.layers[self.layer].update(h, c, seen=T)
        return y

    def initial_state(self, x, past_key_values):
        """(h [B, O], c [B, H or 0]) from the cache, zeros where there is none; checks that they fit the batch."""
        state = None if past_key_values is None else past_key_values.layers[self.layer]
        if state is None or not state.is_initialized or state.cumulative_length == 0:
            return tuple(x.new_zeros(x.shape[0], size) for size in self.state_sizes)
        if state.keys.shape != (x.shape[0], self.state_sizes[0]):
            raise ValueError(
                f"past_key_values holds a state of shape {tuple(state.keys.shape)} in layer {self.layer}, input and "
                f"model need {(x.shape[0], self.state_sizes[0])}; pass the cache of the same batch and model, or none"
            )
        return state.keys, state.values

    def kernel(self, x, h, c):
        """The framework's fused cell over x [B, T, in] -> y [B, T, O], h, c."""
        W, U, b = self.input.weight, self.recurrent.weight, self.bias
        if self.training and self.weight_drop:
            U = F.dropout(U, self.weight_drop)
        b_hh = torch.zeros_like(b)
        if self.candidate_bias is not None:
            b_hh = torch.cat([b_hh[: -len(self.candidate_bias)], self.candidate_bias])
        weights = [W, U, b, b_hh] + ([] if self.projection is None else [self.projection.weight])
        if torch.is_autocast_enabled(x.device.type):  # the kernel wants one dtype; autocast reaches x and weights only
            h, c = (s.to(torch.get_autocast_dtype(x.device.type)) for s in (h, c))
        options = (True, 1, 0.0, self.training, False, True)  # bias, layers, dropout, train, bidirectional, batch first
        if self.cell == "lstm":
            y, h, c = _VF.lstm(x, (h[None], c[None]), weights, *options)
            return y, h[0], c[0]
        run = _VF.gru if self.cell == "gru" else _VF.rnn_tanh
        y, h = run(x, h[None], weights, *options)
        return y, h[0], c

    def unroll(self, x, mask, h, c):
        """The cell step by step over x [B, T, in]: any weight form, any mask -> y [B, T, O], h, c."""
        recurrent = self.dropped(self.recurrent)
        candidate = None if self.candidate is None else self.dropped(self.candidate)
        if x.shape[1] == 1 and mask is None:
            h, c = self.step(self.input(x[:, 0]) + self.bias, h, c, recurrent, candidate)
            return h[:, None], h, c
        steps = []
        for t, xw in enumerate((self.input(x) + self.bias).unbind(1)):  # [B, G*H]
            new_h, new_c = self.step(xw, h, c, recurrent, candidate)
            if mask is not None:
                keep = mask[:, t, None]
                new_h, new_c = torch.where(keep, new_h, h.to(new_h.dtype)), torch.where(keep, new_c, c.to(new_c.dtype))
            h, c = new_h, new_c
            steps.append(h)
        return torch.stack(steps, dim=1), h, c

    def dropped(self, form):
        """The form's product, with a share of its stored numbers dropped, the same ones at every time step."""
        if not self.training or not self.weight_drop:
            return form
        tensors = {name: F.dropout(tensor, self.weight_drop) for name, tensor in form.named_parameters()}
        return lambda h: torch.func.functional_call(form, tensors, (h,))

    def step(self, xw, h, c, recurrent, candidate):
        """xw [B, G*H] input product with bias, h [B, O], c [B, H or 0] -> h, c after one token."""
        if self.cell == "lstm":
            out, c = lstm_step(xw + recurrent(h), c)
        elif self.cell == "rnn":
            out = torch.tanh(xw + recurrent(h))  # eq. 2-3, 8
        elif candidate is None:
            H = xw.shape[-1] // 3
            hu = recurrent(h)
            r, z = torch.sigmoid(xw[:, : 2 * H] + hu[:, : 2 * H]).chunk(2, dim=-1)  # eq. 16-17
            n = torch.tanh(xw[:, 2 * H :] + r * (hu[:, 2 * H :] + self.candidate_bias))  # eq. 18, reset after
            return n + z * (h - n), c  # eq. 19 with the previous time step, z as in torch (it keeps)
        else:
            P = self.projection_size
            r, z = torch.sigmoid(xw[:, : 2 * P] + recurrent(h)).chunk(2, dim=-1)
            n = self.projection(torch.tanh(xw[:, 2 * P :] + candidate(r * h)))  # eq. 18, 21
            return n + z * (h - n), c
        return out if self.projection is None else self.projection(out), c  # eq. 9, 20


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
            init.copy_(module.bias, bias)
            if module.candidate_bias is not None:
                init.zeros_(module.candidate_bias)


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
        if past_key_values is not None and not isinstance(past_key_values, RnnLmCache):
            raise TypeError(f"past_key_values is a {type(past_key_values).__name__}; it must be an RnnLmCache, or None")
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
        mask, order, place = self.read_mask(attention_mask, x, gather=not use_cache and past_key_values is None)
        if order is not None:
            x = x.gather(1, order[..., None].expand_as(x))
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        hidden = [x] if output_hidden_states else None
        for number, layer in enumerate(self.layers):
            if self.training and number > 0:
                x = dropout(x, self.config.layer_dropout, self.config.variational)
            x = layer(x, mask, past_key_values=past_key_values)
            if hidden is not None:
                hidden.append(x)
        if place is not None:
            x, *rest = (y.gather(1, place[..., None].expand_as(y)) for y in (x, *(hidden or ())))
            hidden = rest if hidden else None
        outputs = (x, past_key_values if use_cache else None, None if hidden is None else tuple(hidden))
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
        except IndexError as error:
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
        """Mask of the last T columns -> (mask [B, T] bool or None, order [B, T] or None, place [B, T] or None).

        Where nobody needs the final state (`gather`), the words are moved to the front by `order`, so that the fused
        kernel runs without a mask, and put back by `place`.
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
        return None, order, (mask.cumsum(1) - 1).clamp(min=0)


class RnnLmForCausalLM(RnnLmPreTrainedModel, GenerationMixin):
    """The language model: a distribution over the next word (eq. 4-5)."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config: RnnLmConfig):
        super().__init__(config)
        self.model = RnnLmModel(config)
        O, N = config.layer_output_size, config.feature_size
        self.output_projection = None
        if config.output_projection_size is not None:
            self.output_projection = build(config.form_of("output_projection"), N, O, O**-0.5)
        V, bound = config.vocab_size, config.initializer_range
        self.lm_head = build(config.form_of("head"), V, N, bound, bias=config.head_bias)
        # A compressed embedding is tied tensor by tensor; the dense case is the class's own mapping.
        names = [name for name, _ in self.model.embed_tokens.named_parameters()]
        self._tied_weights_keys = {f"lm_head.{name}": f"model.embed_tokens.{name}" for name in names}
        self.post_init()

    def readout(self, hidden: torch.Tensor) -> torch.Tensor:
        """hidden [B, T, O] -> what the head reads [B, T, N], with output dropout in training."""
        if self.output_projection is not None:
            hidden = self.output_projection(hidden)
        return dropout(hidden, self.config.output_dropout, self.config.variational) if self.training else hidden

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
        logits = self.lm_head(features[:, keep])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
        return CausalLMOutputWithPast(loss, logits, cache, hidden)

    def step(self, tokens: torch.LongTensor, states: list | None = None) -> tuple[torch.Tensor, list]:
        """One word further without the library's wrappers, whose cost is that of the arithmetic in a small model.

        tokens [B] and the states [(h [B, O], c [B, H or 0]) per layer] of the word before, None at the beginning ->
        logits [B, V] and the new states; those given stay as they are. Equal to `forward` in eval mode.
        """
        x = self.model.embed(tokens)
        if states is None:
            states = [layer.initial_state(x, None) for layer in self.model.layers]
        after = []
        for layer, (h, c) in zip(self.model.layers, states, strict=True):
            x, c = layer.step(layer.input(x) + layer.bias, h, c, layer.recurrent, layer.candidate)
            after.append((x, c))
        return self.lm_head(x if self.output_projection is None else self.output_projection(x)), after

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
