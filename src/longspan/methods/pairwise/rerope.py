"""ReRoPE: near keys at their true distance, far keys all at the same one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from longspan.families import Range
from longspan.geometry import Geometry
from longspan.methods.pairwise._band import banded
from longspan.methods.pairwise._checks import check_counts, near_border

CARD = {
    "title": "ReRoPE",
    "source": "arXiv:2410.15859",
    "year": 2024,
    "authors": "Su (2023, software); compared by Ma et al.",
    "encodings": ("rope",),
    "training": "none",
    "cost": "about one attention call",
    "native": "",
    "claim": "Llama-2 13B has loss 1.4967 at 4k without it, 1.4001 at 16k with it and w = 1024 (README of its release)",
    "best_for": "rotary decoders without training, at any length",
    "caution": "needs longspan at run time; the order of far keys is lost",
    "grid": ("rerope", "rerope + log_n(by='position')"),
    "aliases": ("rectified_rope",),
}


@dataclass(frozen=True)
class ReRoPE:
    """True distances up to ``near``, one constant beyond (Su 2023, rectified rotary position embeddings).

    ``min(d, near)``; for an encoder ``sign(d) min(|d|, near)``, which is ours: the release is causal. The release
    also scales queries by the logarithm of their position: add ``log_n(by='position')`` for that.

    Args:
        near: Distance from which on keys are far, tokens (the release's w). None: an eighth of the window, as
            released (512 of 4096).
        adaptive: Leave inputs (of a decoder: queries) within the window as they are.
    """

    near: int | None = None
    adaptive: bool = True

    def __post_init__(self) -> None:
        """Refuse counts below 1."""
        check_counts("rerope", near=self.near)

    def ranges(self, query: Tensor, key: Tensor, length: int, geometry: Geometry, target: int) -> list[Range]:
        """The band around the query; what stands before it; for an encoder, what stands behind it.

        Raises:
            PlanError: ``near`` is not below the window.
        """
        near = near_border("rerope", self.near, geometry.window)
        # Only differences turn: far keys stay at 0 and the query stands at near; behind, the other way round.
        far = torch.zeros_like(query).double(), torch.zeros_like(key).double()
        return banded(query, key, length, near, far, near, causal=geometry.role == "decoder")
