"""Adjusted base frequency: a raised RoPE theta, given rather than derived."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from longspan.errors import PlanError
from longspan.families import Frequencies
from longspan.geometry import Geometry

CARD = {
    "title": "Adjusted Base Frequency (ABF)",
    "source": "arXiv:2309.16039",
    "year": 2023,
    "authors": "Xiong et al.",
    "encodings": ("rope",),
    "training": "required",
    "cost": "none",
    "native": "a new rope_theta",
    "claim": "effective windows of up to 32,768 tokens by continued pretraining of Llama 2 (abstract)",
    "best_for": "continued pretraining at the new length",
    "caution": "the base is a choice of the trainer, not a function of the length",
    "aliases": ("raised_base", "adjusted_base_frequency"),
}


@dataclass(frozen=True)
class ABF:
    """Replace the base (Xiong et al. 2023): ``theta'_c = base^(-2c/d)``.

    Args:
        base: The new RoPE theta, unitless; at least the trained one.
    """

    base: float = 500_000.0

    def frequencies(self, geometry: Geometry, factor: float, length: int) -> Frequencies:
        """The trained map slowed by the ratio of the bases.

        Raises:
            PlanError: The base is below the trained one.
        """
        trained = torch.tensor(geometry.inv_freq, dtype=torch.float64)
        if factor <= 1:
            return Frequencies(trained)
        if not geometry.base <= self.base < math.inf:
            raise PlanError(
                f"abf(base={self.base:g}) is below the trained base {geometry.base:g}.",
                f"give a base above {geometry.base:g}, or use ntk",
            )
        pair = torch.arange(len(trained), dtype=torch.float64)
        return Frequencies(trained * (self.base / geometry.base) ** (-2 * pair / geometry.rotary_dim))

    def native(self, geometry: Geometry, factor: float) -> dict[str, Any]:
        """Transformers' own parameters for this map."""
        return {"rope_type": "default", "rope_theta": self.base if factor > 1 else geometry.base}
