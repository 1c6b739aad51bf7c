"""Position Interpolation: squeeze positions so that the target length spans the trained window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from longspan.families import Frequencies
from longspan.geometry import Geometry

CARD = {
    "title": "Position Interpolation (PI)",
    "source": "arXiv:2306.15595",
    "year": 2023,
    "authors": "Chen et al.",
    "encodings": ("rope",),
    "training": "optional",
    "cost": "none",
    "native": "rope_type linear",
    "claim": "LLaMA-7B reaches perplexity 6.77 on PG19 at 32k after 1000 steps (Table 1)",
    "best_for": "short fine-tuning at the new length",
    "caution": "without training every distance shrinks, and short inputs suffer as well",
    "aliases": ("linear", "position_interpolation"),
}


@dataclass(frozen=True)
class PI:
    """Divide every frequency by the factor (Chen et al. 2023, equation 4).

    ``theta'_c = theta_c / s``, the same as ``p' = p / s``.
    """

    def frequencies(self, geometry: Geometry, factor: float, length: int) -> Frequencies:
        """The trained map divided by ``factor``."""
        return Frequencies(torch.tensor(geometry.inv_freq, dtype=torch.float64) / factor)

    def native(self, geometry: Geometry, factor: float) -> dict[str, Any]:
        """Transformers' own parameters for this map."""
        return {"rope_type": "linear", "factor": factor}
