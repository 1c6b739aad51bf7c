"""Which tokens each forward reads: one window from the start, or full windows over the whole text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from longspan.errors import EncodeError


@dataclass(frozen=True)
class Truncate:
    """One window from the start of the text.

    Args:
        length: Tokens of the window, special ones included.
    """

    length: int

    def spans(self, tokens: int, special: int) -> list[tuple[int, int]]:
        """The first ``length - special`` of so many tokens."""
        return [(0, min(tokens, _content(self.length, special)))]

    def merge(self, vectors: np.ndarray, owner: np.ndarray, texts: int) -> np.ndarray:
        """One vector a text as it is, ``[texts, dimension]``."""
        return vectors


@dataclass(frozen=True)
class ChunkMean:
    """Full windows side by side, the last slid back to be full; their unit vectors are averaged.

    LongEmbed's parallel context windows (Zhu et al. 2024), with the chunk vectors normalised before the
    mean: unnormalised ones weigh a short tail too much.

    Args:
        length: Tokens of a window, special ones included.
        limit: Tokens read in all, None for the whole text.
    """

    length: int
    limit: int | None = None

    def spans(self, tokens: int, special: int) -> list[tuple[int, int]]:
        """Spans of ``length - special`` tokens; at least one, also for an empty text."""
        size = _content(self.length, special)
        tokens = min(tokens, self.limit or tokens)
        last = max(tokens - size, 0)
        return [(start, min(start + size, tokens)) for start in (*range(0, last, size), last)]

    def merge(self, vectors: np.ndarray, owner: np.ndarray, texts: int) -> np.ndarray:
        """Unit means of unit vectors: ``[windows, dimension]`` and their texts to ``[texts, dimension]``."""
        total = np.zeros((texts, vectors.shape[1]), dtype=np.float32)
        np.add.at(total, owner, unit(vectors))
        return unit(total)


Strategy = Truncate | ChunkMean


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1, ``[rows, dimension]``; a zero vector stays zero."""
    scaled: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return scaled


def _content(length: int, special: int) -> int:
    if length <= special:
        raise EncodeError(
            f"A window of {length} tokens leaves no room beside {special} special tokens.",
            f"use at least {special + 1}",
        )
    return length - special
