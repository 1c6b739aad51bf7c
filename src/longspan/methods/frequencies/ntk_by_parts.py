"""NTK-by-parts: interpolate slow pairs, leave fast ones, blend between."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch

from longspan.families import Frequencies
from longspan.geometry import Geometry
from longspan.methods.frequencies._ramp import check_betas, kept_share

CARD = {
    "title": "NTK-by-parts interpolation",
    "source": "arXiv:2309.00071",
    "year": 2023,
    "authors": "Peng et al.",
    "encodings": ("rope",),
    "training": "optional",
    "cost": "none",
    "native": "rope_type yarn with attention_factor 1 (ramp='dimensions'), longrope (ramp='rotations')",
    "claim": "the map of YaRN before its temperature is added (section 3.2); no table of its own",
    "best_for": "separating YaRN's map from its temperature",
    "caution": "the paper's ramp and the released one differ by up to half in the middle pairs",
    "aliases": ("by_parts",),
}


@dataclass(frozen=True)
class NTKByParts:
    """Blend ``theta/s`` and ``theta`` by how often a pair turns in the window (Peng et al. 2023, section 3.2).

    ``theta'_c = (1 - g) theta_c / s + g theta_c`` with ``r_c = window theta_c / (2 pi)`` and

    * ``ramp="rotations"`` (the paper): ``g`` rises linearly in ``r_c`` from ``beta_slow`` to ``beta_fast``;
    * ``ramp="dimensions"`` (every released implementation): ``g`` falls linearly in the pair index
      between the pairs that turn ``beta_fast`` and ``beta_slow`` times.

    Args:
        beta_fast: Pairs that turn more often keep their frequency, rotations.
        beta_slow: Pairs that turn less often are fully interpolated, rotations.
        ramp: Which of the two functions.
        truncate: Round the ramp's ends outward to whole pairs (``dimensions`` only; gpt-oss does not).
    """

    beta_fast: float = 32.0
    beta_slow: float = 1.0
    ramp: Literal["rotations", "dimensions"] = "rotations"
    truncate: bool = True

    def __post_init__(self) -> None:
        """Refuse a ramp that runs backwards."""
        check_betas(self.beta_fast, self.beta_slow)

    def frequencies(self, geometry: Geometry, factor: float, length: int) -> Frequencies:
        """The blended map."""
        trained = torch.tensor(geometry.inv_freq, dtype=torch.float64)
        if self.ramp == "rotations":
            rotations = geometry.window * trained / (2 * math.pi)
            keep = ((rotations - self.beta_slow) / (self.beta_fast - self.beta_slow)).clamp(0, 1)
        else:
            keep = kept_share(geometry, self.beta_fast, self.beta_slow, self.truncate)
        return Frequencies((1 - keep) * trained / factor + keep * trained)

    def native(self, geometry: Geometry, factor: float) -> dict[str, Any] | None:
        """Transformers' own parameters; None for the paper's ramp, and where it would not read ``truncate``."""
        if self.ramp == "rotations" or (geometry.layer_type and not self.truncate):
            return None
        return {
            "rope_type": "yarn",
            "factor": factor,
            "attention_factor": 1.0,
            "beta_fast": self.beta_fast,
            "beta_slow": self.beta_slow,
            "truncate": self.truncate,
            "original_max_position_embeddings": geometry.window,
        }
