"""Initialisation: a rotary network that resembles the original before any gradient step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from longspan.conversion.architectures import rotary_twin
from longspan.conversion.basis import balanced_basis, pair_order
from longspan.conversion.kernel import fit_kernel, score_by_offset, wave_biases

_REACH = 24  # tokens; a learned table's heads look at neighbours, not at far distances
_RIDGE = 2.0
_FAST = 9 / 16  # share of the rotary pairs that carry the kernel; the rest turn too slowly to tell neighbours apart

Projected = list[tuple[Tensor, Tensor]]
"""Queries and keys of each layer, ``[rows, heads, tokens, head_dim]`` each, on the CPU."""


def initialise(model: Any, ids: Tensor, *, base: float, first: int | None) -> Any:
    """Turn an encoder with learned positions into a rotary one, without gradients.

    1. What the table says of positions at large, its mean row, goes to the token types; the first token keeps its
       own row, since networks use it as a place to rest.
    2. Queries and keys change their basis (``balanced_basis``), so that rotation spoils what matters least.
    3. Biases put back what each head's scores owe to the distance of two tokens (``fit_kernel``).

    Args:
        model: What ``rotary_twin`` takes; it is left as it is.
        ids: Passages to measure on, int64 ``[rows, tokens]``, special tokens included, nothing padded, no longer
            than the table.
        base: Of the rotation.
        first: Token that always stands first, such as [CLS]; None where there is none.

    Returns:
        JinaEmbeddingsV3Model in evaluation mode, float32, on the original's device.

    Raises:
        ConvertError: The model cannot be converted.
    """
    with torch.no_grad():
        twin = rotary_twin(model, base=base)
        student, words = twin.model, twin.model.embeddings.word_embeddings.weight
        ids = ids.to(words.device)
        with unrotated(student):
            original = projected(student, inputs_embeds=words[ids] + twin.position[: ids.shape[1]])
        carry_mean_position(student.embeddings, twin.position, first)
        for layer, (query, key) in zip(student.layers, original, strict=True):
            change_basis(layer.self_attn, _moment(query), _moment(key))
        reach = min(_REACH, (ids.shape[1] - 1) // 2)
        inv_freq = student.rotary_emb.inv_freq.cpu()
        waves = inv_freq[: max(1, round(_FAST * len(inv_freq)))]
        ours = projected(student, input_ids=ids)
        for layer, theirs, rotated in zip(student.layers, original, _rotated(student, ours), strict=True):
            missing = score_by_offset(*theirs, reach) - score_by_offset(*rotated, reach)
            add_kernel(layer.self_attn, fit_kernel(missing, waves, _RIDGE))
    return student


def carry_mean_position(embeddings: Any, position: Tensor, first: int | None) -> None:
    """Add the mean of the table's rows, the first left out, to all token types, and its own row to the first token.

    Args:
        embeddings: Of the twin.
        position: The original's table ``[rows, hidden]``.
        first: Token that always stands first.
    """
    mean = position[1:].mean(0)
    embeddings.token_type_embeddings.weight += mean
    if first is not None:
        embeddings.word_embeddings.weight[first] += position[0] - mean


def change_basis(attention: Any, query_moment: Tensor, key_moment: Tensor) -> None:
    """Write queries and keys in the basis of ``balanced_basis``, the strongest channels in the slowest pairs."""
    bases = balanced_basis(query_moment, key_moment)
    heads, head_dim = query_moment.shape[:2]
    for projection, basis in zip((attention.q_proj, attention.k_proj), bases, strict=True):
        turn = basis[:, pair_order(head_dim)]
        for parameter in (projection.weight, projection.bias):
            by_head = parameter.cpu().double().view(heads, head_dim, -1)
            parameter.copy_((turn @ by_head).reshape(parameter.shape))


def add_kernel(attention: Any, waves: Tensor) -> None:
    """Add the biases that make up ``waves [heads, pairs]``."""
    biases = wave_biases(waves, attention.head_dim)
    for projection, bias in zip((attention.q_proj, attention.k_proj), biases, strict=True):
        projection.bias += bias.reshape(-1).to(projection.bias)


@contextmanager
def unrotated(student: Any) -> Iterator[None]:
    """Rotation by no angle: what every position looks like to the network is the same."""
    rotary = student.rotary_emb
    kept = rotary.inv_freq.clone()
    rotary.inv_freq.zero_()
    try:
        yield
    finally:
        rotary.inv_freq.copy_(kept)


def projected(student: Any, **inputs: Tensor) -> Projected:
    """Queries and keys of each layer in one forward pass, before their rotation.

    They come to the CPU, where what follows is small and has float64, which not every accelerator has.
    """
    outputs: dict[Any, Tensor] = {}
    projections = [p for layer in student.layers for p in (layer.self_attn.q_proj, layer.self_attn.k_proj)]
    hooks = [p.register_forward_hook(lambda p, _, output: outputs.update({p: output.cpu()})) for p in projections]
    try:
        student(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    width = student.layers[0].self_attn.head_dim
    states = [outputs[p].view(*outputs[p].shape[:2], -1, width).transpose(1, 2) for p in projections]
    return list(zip(states[::2], states[1::2], strict=True))


def _rotated(student: Any, layers: Projected) -> Projected:
    from transformers.models.jina_embeddings_v3.modeling_jina_embeddings_v3 import apply_rotary_pos_emb

    query = layers[0][0]
    cos, sin = student.rotary_emb(query, torch.arange(query.shape[2])[None])
    return [apply_rotary_pos_emb(query, key, cos, sin) for query, key in layers]


def _moment(states: Tensor) -> Tensor:
    """Mean of ``x x^T`` over rows and tokens, float64 ``[heads, head_dim, head_dim]``."""
    states = states.double().transpose(0, 1).flatten(1, 2)
    return states.mT @ states / states.shape[1]
