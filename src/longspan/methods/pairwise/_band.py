"""What SelfExtend and the ReRoPEs share: a band of true distances, and other positions before and behind it."""

from __future__ import annotations

import torch
from torch import Tensor

from longspan.families import Range


def banded(
    query: Tensor, key: Tensor, length: int, near: int, far: tuple[Tensor, Tensor], shift: float, *, causal: bool
) -> list[Range]:
    """The band ``|d| < near``; what stands before it; for an encoder, what stands behind it.

    Args:
        query: Positions of the queries, int64 ``[Q]``.
        key: Positions of the keys, int64 ``[K]``.
        length: Real tokens of the input.
        near: Distance from which on positions are the far ones, tokens.
        far: Where queries ``[Q]`` and keys ``[K]`` stand outside of the band, float64.
        shift: Added to the later one of a far pair, tokens.
        causal: Whether a query sees only what stands before it.
    """
    start, end = torch.zeros_like(query), torch.full_like(query, length)
    left, right = (query - near + 1).clamp(min=0), torch.minimum(query + near, end)
    rows, columns = far
    band = Range(query.double(), key.double(), left, query + 1 if causal else right)
    before = Range(rows + shift, columns, start, left)
    behind = Range(rows, columns + shift, right, end)
    return [band, before] if causal else [band, before, behind]
