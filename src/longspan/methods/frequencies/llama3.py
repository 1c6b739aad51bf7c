"""Llama 3 scaling: three bands of wavelengths."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from longspan.errors import PlanError
from longspan.families import Frequencies
from longspan.geometry import Geometry

CARD = {
    "title": "Llama 3.1 frequency scaling",
    "source": "arXiv:2407.21783",
    "year": 2024,
    "authors": "Grattafiori et al.",
    "encodings": ("rope",),
    "training": "required",
    "cost": "none",
    "native": "rope_type llama3",
    "claim": "a context window of up to 128K tokens in the released models (abstract); no figure for the map alone",
    "best_for": "checkpoints trained with it, and continued training like theirs",
    "caution": "no temperature; an untrained model gains less than with yarn",
    "aliases": ("llama31",),
}


@dataclass(frozen=True)
class Llama3:
    """Interpolate long wavelengths, keep short ones, blend between (Llama 3.1's released configuration).

    With ``r_c = window / wavelength_c``: ``r < low`` divides by ``s``, ``r > high`` keeps, and between them
    ``u = (r - low) / (high - low)`` blends ``(1 - u) theta / s + u theta``.

    Args:
        low_freq_factor: Wavelengths above window / this are interpolated, unitless.
        high_freq_factor: Wavelengths below window / this are kept, unitless.
    """

    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0

    def __post_init__(self) -> None:
        """Refuse bands that overlap."""
        if not math.inf > self.high_freq_factor > self.low_freq_factor > 0:
            raise PlanError(
                f"high_freq_factor={self.high_freq_factor:g} must exceed low_freq_factor={self.low_freq_factor:g}, "
                "and both must exceed 0.",
                "the released values are 4 and 1",
            )

    def frequencies(self, geometry: Geometry, factor: float, length: int) -> Frequencies:
        """The blended map."""
        trained = torch.tensor(geometry.inv_freq, dtype=torch.float64)
        rotations = geometry.window * trained / (2 * math.pi)
        keep = ((rotations - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)).clamp(0, 1)
        return Frequencies((1 - keep) * trained / factor + keep * trained)

    def native(self, geometry: Geometry, factor: float) -> dict[str, Any]:
        """Transformers' own parameters for this map."""
        return {
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": self.low_freq_factor,
            "high_freq_factor": self.high_freq_factor,
            "original_max_position_embeddings": geometry.window,
        }
