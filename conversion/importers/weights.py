"""From torch's layers to the zoo's: one bias instead of two, and layers of different widths made equally wide.

The zoo has one width for all layers. A narrower layer is padded with units whose weights are all zero: their state
stays zero (tanh of 0 in every cell), so no number that was there changes, and they learn nothing in training. After a
narrower last layer the output projection picks its units.
Letters: G gates, H hidden, P projection, O layer output, N input, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch

from .files import Tensors
from .network import Network


def config_of(network: Network) -> dict[str, Any]:
    """The fields of RnnLmConfig for a network."""
    hidden = max(layer.hidden_size for layer in network.layers)
    output = max(layer.output_size for layer in network.layers)
    last = network.layers[-1].output_size
    return {
        "vocab_size": network.vocab_size,
        "embedding_size": network.embedding.shape[1],
        "hidden_size": hidden,
        "num_hidden_layers": len(network.layers),
        "cell": network.cell,
        "projection_size": None if network.layers[0].projection is None else output,
        "output_projection_size": None if last == output else last,
        "tie_word_embeddings": network.head is None,
        "head_bias": network.head_bias is not None,
    }


def padding_of(network: Network) -> str | None:
    """What is padded, in words; None: nothing."""
    widths = [layer.hidden_size for layer in network.layers]
    outputs = [layer.output_size for layer in network.layers]
    if len(set(widths)) == len(set(outputs)) == 1:
        return None
    told = " and ".join(
        f"{what} {', '.join(map(str, sizes))} padded with zeros to {max(sizes)}"
        for what, sizes in (("layers of width", widths), ("projections of width", outputs))
        if len(set(sizes)) > 1 and (what == "layers of width" or outputs != widths)
    )
    return told + ("" if outputs[-1] == max(outputs) else f", then an output projection to {outputs[-1]}")


def tensors_of(network: Network) -> Tensors:
    """The state dict of RnnLmForCausalLM, float32; matrices that need no change are those of the file, not copies."""
    hidden = max(layer.hidden_size for layer in network.layers)
    output = max(layer.output_size for layer in network.layers)
    tensors = {"model.embed_tokens.weight": network.embedding}
    N = network.embedding.shape[1]
    for number, layer in enumerate(network.layers):
        G, H, prefix = layer.gates, layer.hidden_size, f"model.layers.{number}"
        tensors[f"{prefix}.input.weight"] = padded(layer.input, G, hidden, N)
        tensors[f"{prefix}.recurrent.weight"] = padded(layer.recurrent, G, hidden, output)
        if layer.projection is not None:
            tensors[f"{prefix}.projection.weight"] = padded(layer.projection, 1, output, hidden)
        zeros = layer.input.new_zeros(G * H)
        bias = zeros if layer.input_bias is None else layer.input_bias
        of_state = zeros if layer.recurrent_bias is None else layer.recurrent_bias
        if network.cell == "gru":  # the reset gate acts on the candidate's product with its bias: it stays apart
            bias = torch.cat([bias[: 2 * H] + of_state[: 2 * H], bias[2 * H :]])
            tensors[f"{prefix}.candidate_bias"] = padded(of_state[2 * H :, None], 1, hidden, 1)[:, 0]
        else:
            bias = bias + of_state
        tensors[f"{prefix}.bias"] = padded(bias[:, None], G, hidden, 1)[:, 0]
        N = output
    last = network.layers[-1].output_size
    if last != output:
        tensors["output_projection.weight"] = torch.eye(last, output)
    tensors["lm_head.weight"] = network.embedding if network.head is None else network.head
    if network.head_bias is not None:
        tensors["lm_head.bias"] = network.head_bias
    return {name: tensor.detach().to(torch.float32).contiguous() for name, tensor in tensors.items()}


def padded(matrix: torch.Tensor, blocks: int, rows: int, columns: int) -> torch.Tensor:
    """A matrix [blocks * R, N] with each block of rows filled up to [rows, columns]; itself if it fits already."""
    if matrix.shape == (blocks * rows, columns):
        return matrix
    parts = matrix.reshape(blocks, -1, matrix.shape[1])
    whole = matrix.new_zeros(blocks, rows, columns)
    whole[:, : parts.shape[1], : parts.shape[2]] = parts
    return whole.reshape(blocks * rows, columns)
