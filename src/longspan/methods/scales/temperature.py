"""TempScale: one temperature for every attention softmax."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from longspan.errors import PlanError
from longspan.geometry import Geometry

CARD = {
    "title": "TempScale",
    "source": "arXiv:2410.24200",
    "year": 2024,
    "authors": "Zhou et al.",
    "encodings": ("learned", "rope"),
    "training": "none",
    "cost": "none",
    "native": "in cos and sin, or in the weights of the query projections; else longspan",
    "claim": "up to 1.10 % better on LongEmbed and 0.94 % on MTEB (abstract)",
    "best_for": "long texts whose vectors crowd together",
    "caution": "chosen per model; a stored index depends on it, so use the same for queries",
    "grid": ("temperature(tau=0.9)", "temperature(tau=0.8)", "temperature(tau=0.7)", "temperature(tau=0.6)"),
    "aliases": ("tempscale",),
}


@dataclass(frozen=True)
class Temperature:
    """Divide every logit by ``tau`` (Zhou et al. 2024): ``softmax(q k / (sqrt(d) tau))``.

    Args:
        tau: The temperature, unitless; below 1 sharpens.
    """

    tau: float = 0.9

    def __post_init__(self) -> None:
        """Refuse a temperature that is not a positive number."""
        if not 0 < self.tau < math.inf:
            raise PlanError(
                f"temperature(tau={self.tau:g}) is not a positive number.", "the paper's grid runs from 0.7 to 1"
            )

    def scale(self, position: Tensor, length: Tensor, geometry: Geometry, target: int) -> float:
        """``1 / tau`` for every input."""
        return 1 / self.tau
