"""Rows of different lengths side by side in one row: attention that stays within each, without a mask.

Packing holds for models whose attention is a softmax over a row's own tokens, or over a band of them. The
lengths travel as a keyword of the forward call through ``**kwargs`` of every layer: no state on the model.
"""

from __future__ import annotations

import contextlib
import sys
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface

from longspan.errors import SeamError

ATTENTION = "longspan_packed"
KEYWORD = "longspan_lengths"
_REFUSED = ("softcap", "s_aux", "position_bias", "cache")
_BLOCK = 512
"""Queries of a band that are attended together [tokens]."""


def apply(model: Any) -> None:
    """Let a model of one's own attend within rows; each forward then needs ``longspan_lengths``.

    Raises:
        SeamError: The model does not dispatch attention through transformers' interface.
    """
    AttentionInterface.register(ATTENTION, _attend)
    AttentionMaskInterface.register(ATTENTION, _no_mask)
    if not any(hasattr(sys.modules[type(m).__module__], "ALL_ATTENTION_FUNCTIONS") for m in model.modules()):
        raise _refusal(model)
    with contextlib.suppress(ValueError, ImportError, KeyError):  # told below, in longspan's words
        model.set_attn_implementation(ATTENTION)
    if model.config._attn_implementation != ATTENTION:
        raise _refusal(model)


def within_rows(query: Tensor, key: Tensor, value: Tensor, lengths: list[int], **options: Any) -> Tensor:
    """Attention of each row to itself; neighbours of equal length share a call.

    Args:
        query: ``[1, heads, tokens, D]``, all rows side by side.
        key: ``[1, kv heads, tokens, D]``.
        value: ``[1, kv heads, tokens, D']``.
        lengths: Tokens of each row, in order.
        options: ``causal``, ``scaling`` and ``window`` (a key is seen at distances below it [tokens]).

    Returns:
        ``[1, tokens, heads, D']``; extra memory is a block of queries times a window, never tokens squared.
    """
    parts, start = [], 0
    for length, group in groupby(lengths):
        rows = len(list(group))
        end = start + rows * length
        own = (t[0, :, start:end].reshape(-1, rows, length, t.shape[-1]).transpose(0, 1) for t in (query, key, value))
        parts.append(_attention(*own, **options).transpose(1, 2).flatten(0, 1))
        start = end
    return (parts[0] if len(parts) == 1 else torch.cat(parts)).unsqueeze(0)


def _attention(
    query: Tensor, key: Tensor, value: Tensor, *, causal: bool, scaling: float | None, window: int | None
) -> Tensor:
    # [rows, heads, length, D] -> [rows, heads, length, D']
    options: dict[str, Any] = {"scale": scaling, "enable_gqa": query.shape[1] != key.shape[1]}
    length = query.shape[2]
    if window is None or window >= length:
        return scaled_dot_product_attention(query, key, value, is_causal=causal, **options)
    parts, position = [], torch.arange(length, device=query.device)
    for start in range(0, length, _BLOCK):
        end = min(start + _BLOCK, length)
        first, last = max(start - window + 1, 0), end if causal else min(end + window - 1, length)
        distance = position[start:end, None] - position[None, first:last]
        seen = (distance < window) & (distance >= 0) if causal else distance.abs() < window
        band = key[:, :, first:last], value[:, :, first:last]
        parts.append(scaled_dot_product_attention(query[:, :, start:end], *band, attn_mask=seen, **options))
    return torch.cat(parts, dim=2)


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **kwargs: Any
) -> tuple[Tensor, None]:
    lengths = kwargs.get(KEYWORD)
    if lengths is None or sum(lengths) != query.shape[2] or query.shape[2] != key.shape[2] or query.shape[0] != 1:
        raise _refusal(module)
    if any(kwargs.get(name) is not None for name in _REFUSED):
        raise _refusal(module)
    causal, own = kwargs.get("is_causal"), query.dtype
    if query.device.type == "cpu" and own != torch.float32:
        # The CPU kernels of the half types are slower than float32's, and their softmax is coarser.
        query, key, value = query.float(), key.float(), value.float()
    states = within_rows(
        query,
        key,
        value,
        lengths,
        causal=bool(getattr(module, "is_causal", True) if causal is None else causal),
        scaling=kwargs.get("scaling"),
        window=kwargs.get("sliding_window"),
    )
    return states.to(own), None


def _no_mask(*args: Any, **kwargs: Any) -> None:
    return None


def _refusal(module: nn.Module) -> SeamError:
    return SeamError(f"The attention of a {type(module).__name__} cannot be packed.", "pad the rows")
