"""Giraffe's truncated basis: fast pairs kept, slow pairs stopped."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from longspan.errors import PlanError
from longspan.families import Frequencies
from longspan.geometry import Geometry

CARD = {
    "title": "Giraffe truncated basis",
    "source": "arXiv:2308.10882",
    "year": 2023,
    "authors": "Pal et al.",
    "encodings": ("rope",),
    "training": "required",
    "cost": "none",
    "native": "rope_type longrope",
    "claim": "good in perplexity, worse in retrieval than linear scaling (README of its release)",
    "best_for": "reproducing the paper's comparison",
    "caution": "pairs that never finished a turn in training stop turning, so far order is lost",
    "aliases": ("truncated_basis",),
}


@dataclass(frozen=True)
class GiraffeTruncated:
    """Keep fast pairs, stop slow ones, one fixed speed between (Pal et al. 2023, released code).

    With ``T`` tokens: ``theta >= 2 pi / T`` is kept, ``2 pi / (8 T) <= theta < 2 pi / T`` becomes
    ``2 pi / (16 T)``, slower ones become 0. The constants 8 and 16 are the released ones.

    Args:
        cutoff: ``T``, tokens; the trained window when 0.
    """

    cutoff: int = 0

    def __post_init__(self) -> None:
        """Refuse a negative cutoff."""
        if self.cutoff < 0:
            raise PlanError(f"giraffe_truncated(cutoff={self.cutoff}) is negative.", "give tokens, or 0 for the window")

    def frequencies(self, geometry: Geometry, factor: float, length: int) -> Frequencies:
        """The truncated map."""
        trained = torch.tensor(geometry.inv_freq, dtype=torch.float64)
        if factor <= 1:
            return Frequencies(trained)
        high = 2 * math.pi / (self.cutoff or geometry.window)
        fixed = torch.full_like(trained, high / 16)
        slow = torch.where(trained >= high / 8, fixed, torch.zeros_like(trained))
        return Frequencies(torch.where(trained >= high, trained, slow))
