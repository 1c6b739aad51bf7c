"""NTK-aware scaling: raise the base so that fast pairs keep their resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from longspan.errors import PlanError
from longspan.families import Frequencies
from longspan.geometry import Geometry

CARD = {
    "title": "NTK-aware scaling",
    "source": "arXiv:2309.00071",
    "year": 2023,
    "authors": "bloc97; Peng et al.",
    "encodings": ("rope",),
    "training": "none",
    "cost": "none",
    "native": "a new rope_theta",
    "claim": "E5-Mistral rises from 64.4 to 75.3 on LongEmbed at 32k (arXiv:2404.12096, Table 3)",
    "best_for": "training-free extension of RoPE embedding models",
    "caution": "middle pairs leave their trained range, so ask for a larger factor than the length needs",
    "aliases": ("ntk_aware",),
}


@dataclass(frozen=True)
class NTK:
    """Raise the base to ``b' = b s^(d/(d-2))`` (Peng et al. 2023, definition 1).

    The slowest pair is interpolated by exactly ``s``, the fastest is untouched:
    ``theta'_c = theta_c s^(-2c/(d-2))``.

    Args:
        factor: ``s``, unitless; the target length over the window when None. LongEmbed uses
            3, 5, 10 for 2x, 4x, 8x in the form ``b' = s b``.
    """

    factor: float | None = None

    def __post_init__(self) -> None:
        """Refuse a factor that would shrink the window."""
        if self.factor is not None and not 1 <= self.factor < math.inf:
            raise PlanError(f"ntk(factor={self.factor}) would shrink the window.", "give a factor of 1 or more")

    def frequencies(self, geometry: Geometry, factor: float, length: int) -> Frequencies:
        """The trained map, slowed more the slower a pair turns."""
        trained = torch.tensor(geometry.inv_freq, dtype=torch.float64)
        pair = torch.arange(len(trained), dtype=torch.float64)
        return Frequencies(trained * self._scale(factor) ** (-2 * pair / max(geometry.rotary_dim - 2, 1)))

    def native(self, geometry: Geometry, factor: float) -> dict[str, Any]:
        """Transformers' own parameters for this map."""
        dim = geometry.rotary_dim
        return {"rope_type": "default", "rope_theta": geometry.base * self._scale(factor) ** (dim / max(dim - 2, 1))}

    def _scale(self, factor: float) -> float:
        return factor if self.factor is None or factor <= 1 else self.factor
