"""Parallel context windows: the mean of the vectors of full windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from longspan.reading import Reading, Text, Window, check, full_windows

CARD = {
    "title": "Parallel context windows (mean of chunks)",
    "source": "arXiv:2404.12096",
    "year": 2024,
    "authors": "Zhu et al.",
    "vectors": "one",
    "cost": "every token once",
    "best_for": "what a document is about as a whole, with one vector a document",
    "claim": "E5-RoPE rises from 40.5 to 52.9 on LongEmbed at 4k (Table 3)",
    "caution": "one sentence of a long document drowns in the mean",
    "aliases": ("pcw",),
}


@dataclass(frozen=True)
class ChunkMean:
    """Full windows side by side, the last slid back to be full; their vectors are averaged (Zhu et al. 2024).

    ``v = unit(mean_i unit(v_i))``, or ``unit(mean_i v_i)`` where the length of a window's vector, which
    shrinks as the window grows, is to weigh as well.

    Args:
        window: Tokens of a window, special ones included; None for the model's native window.
        overlap: Tokens that neighbours share, at least.
        order: Whether vectors are normalised before the mean or only after it.
        limit: Tokens read in all, None for the whole text.
    """

    window: int | None = None
    overlap: int = 0
    order: Literal["normalise_then_mean", "mean_then_normalise"] = "normalise_then_mean"
    limit: int | None = None
    top: ClassVar[int] = 1
    reads: ClassVar[str] = "native"
    makes: ClassVar[str] = "merged"
    chunked: ClassVar[str] = "chunk_mean"

    def __post_init__(self) -> None:
        """Check the window and the limit."""
        check("chunk_mean", self.window)
        check("chunk_mean", self.limit)

    def read(self, text: Text, room: int) -> Reading:
        """Every token up to the limit."""
        windows: list[Window] = full_windows(min(text.tokens, self.limit or text.tokens), room, self.overlap)
        return Reading(windows, [(0, windows[-1].end)])

    def merge(self, vectors: np.ndarray) -> np.ndarray:
        """The unit mean, float32 ``[dimension]``."""
        if self.order == "normalise_then_mean":
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        mean = vectors.mean(axis=0)
        merged: np.ndarray = mean / max(float(np.linalg.norm(mean)), 1e-12)
        return merged
