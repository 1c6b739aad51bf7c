"""One attention call: states that are not rotated yet, and the ranges that say how they will be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from longspan.families import Range

Rotate = Callable[[Tensor, Tensor, Range], Tensor]
"""Rotates states ``[B, H, N, D]`` to positions ``[N]`` by the map and the lookup of a range."""


class Span(NamedTuple):
    """The part of a call that one range is about.

    Attributes:
        query: Queries that see something, as a slice of ``[Q]``.
        key: Keys that are seen, as a slice of ``[K]``.
        first: First key that each of these queries sees, counted within the slice, int64.
        last: One behind the last.
    """

    query: slice
    key: slice
    first: Tensor
    last: Tensor


@dataclass(frozen=True)
class Call:
    """What a backend computes: ``softmax over all ranges (scaling * R(query') q . R(key') k) v``.

    Attributes:
        query: ``[B, heads, Q, D]``, not rotated.
        key: ``[B, kv heads, K, D]``, not rotated.
        value: ``[B, kv heads, K, D']``.
        ranges: The ranges, in positions.
        start: Position of the first key.
        rotate: What turns states to a range's positions.
        scaling: Factor on the logits before the softmax.
        softcap: Bound on the logits, ``c tanh(logits / c)``, None for none.
        sinks: A logit of each head that takes weight and gives no value, ``[heads]``, None for none.
        dropout: Share of the weights that is set to zero.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    ranges: list[Range]
    start: int
    rotate: Rotate
    scaling: float
    softcap: float | None = None
    sinks: Tensor | None = None
    dropout: float = 0.0

    @property
    def repeats(self) -> int:
        """Query heads of one key head."""
        return self.query.shape[1] // self.key.shape[1]

    @property
    def learns(self) -> bool:
        """Whether gradients are wanted of anything."""
        return any(states.requires_grad for states in (self.query, self.key, self.value))

    def spans(self) -> Iterator[tuple[Range, Span]]:
        """The ranges in which something is seen, with the part of the call they are about."""
        for each in self.ranges:
            span = spanned(each, self.start, self.key.shape[2])
            if span:
                yield each, span

    def turned(self, each: Range, span: Span, heads: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Queries and keys of a range's span, rotated; ``heads`` are key heads."""
        own = heads if heads == slice(None) else slice(heads.start * self.repeats, heads.stop * self.repeats)
        query = self.rotate(self.query[:, own, span.query], each.query[span.query], each)
        return query, self.rotate(self.key[:, heads, span.key], each.key[span.key], each)


def spanned(each: Range, start: int, keys: int) -> Span | None:
    """The span of a range among ``keys`` keys from position ``start`` on; None where nothing is seen."""
    first, last = (each.first - start).clamp(0, keys), (each.last - start).clamp(0, keys)
    live = torch.nonzero(last > first).flatten()
    if not len(live):
        return None
    query = slice(int(live[0]), int(live[-1]) + 1)
    key = slice(int(first[live].min()), int(last[live].max()))
    return Span(query, key, first[query] - key.start, last[query] - key.start)


def repeated(states: Tensor, repeats: int) -> Tensor:
    """Key heads as often as queries ask for them, ``[B, kv, N, D] -> [B, kv * repeats, N, D]``."""
    return states if repeats == 1 else states.repeat_interleave(repeats, dim=1)
