"""Giraffe's power scaling: slow pairs by a power of their index."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from longspan.errors import PlanError
from longspan.families import Frequencies
from longspan.geometry import Geometry

CARD = {
    "title": "Giraffe power scaling",
    "source": "arXiv:2308.10882",
    "year": 2023,
    "authors": "Pal et al.",
    "encodings": ("rope",),
    "training": "required",
    "cost": "none",
    "native": "rope_type longrope",
    "claim": "the paper finds linear scaling more robust than this basis (README of its release)",
    "best_for": "reproducing the paper's comparison",
    "caution": "the map does not depend on the length: choose the exponent for it",
    "aliases": ("power_scaling",),
}


@dataclass(frozen=True)
class GiraffePower:
    """Multiply each frequency by ``(1 - c/(d/2))^k`` (Pal et al. 2023, released code).

    Args:
        exponent: ``k``, unitless and positive; larger slows more.
    """

    exponent: float = 0.5

    def __post_init__(self) -> None:
        """Refuse an exponent that would speed pairs up."""
        if not 0 < self.exponent < math.inf:
            raise PlanError(
                f"giraffe_power(exponent={self.exponent:g}) changes nothing or speeds pairs up.", "give 0.5"
            )

    def frequencies(self, geometry: Geometry, factor: float, length: int) -> Frequencies:
        """The slowed map; the last pair never becomes 0."""
        trained = torch.tensor(geometry.inv_freq, dtype=torch.float64)
        if factor <= 1:
            return Frequencies(trained)
        index = torch.arange(len(trained), dtype=torch.float64) / len(trained)
        return Frequencies(trained * (1 - index) ** self.exponent)
