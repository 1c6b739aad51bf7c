"""LongRoPE's magnitude: a constant factor from the ratio of lengths."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from longspan.geometry import Geometry

CARD = {
    "title": "LongRoPE magnitude (su)",
    "source": "arXiv:2402.13753",
    "year": 2024,
    "authors": "Ding et al.",
    "encodings": ("learned", "rope"),
    "training": "none",
    "cost": "none",
    "native": "in cos and sin, or in the weights of the query projections; else longspan",
    "claim": "part of LongRoPE as released; no table of its own",
    "best_for": "adding LongRoPE's magnitude to another map",
    "caution": "acts on short inputs as well",
    "aliases": ("longrope_magnitude",),
}


@dataclass(frozen=True)
class Su:
    """Multiply logits by ``1 + ln s / ln window``, the square of LongRoPE's factor on cos and sin (released code)."""

    def scale(self, position: Tensor, length: Tensor, geometry: Geometry, target: int) -> float:
        """The same factor for every input, 1 when nothing is extended."""
        return 1 + math.log(max(target / geometry.window, 1)) / math.log(geometry.window)
