"""YaRN: NTK-by-parts with an attention temperature."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from longspan.families import Frequencies
from longspan.geometry import Geometry
from longspan.methods.frequencies._ramp import check_betas, kept_share

CARD = {
    "title": "YaRN",
    "source": "arXiv:2309.00071",
    "year": 2023,
    "authors": "Peng et al.",
    "encodings": ("rope",),
    "training": "optional",
    "cost": "none",
    "native": "rope_type yarn",
    "claim": "Llama-2 7B has perplexity 2.37 on Proof-pile at 128k after 600 steps (Table 2)",
    "best_for": "the first thing to try on a RoPE model, trained or not",
    "caution": "the temperature acts on short inputs as well",
    "aliases": (),
}


@dataclass(frozen=True)
class YaRN:
    """NTK-by-parts with cos and sin times ``0.1 ln s + 1`` (Peng et al. 2023, section 3.4).

    ``theta'_c = (1 - k) theta_c / s + k theta_c``, where the kept share ``k`` runs over the pair index, as in
    every released implementation. The paper's ramp over rotations is ``ntk_by_parts``.

    Args:
        beta_fast: Rotations in the window above which a pair is kept.
        beta_slow: Rotations in the window below which a pair is interpolated.
        truncate: Round the ramp's ends outward to whole pairs; gpt-oss does not.
    """

    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True

    def __post_init__(self) -> None:
        """Refuse a ramp that runs backwards."""
        check_betas(self.beta_fast, self.beta_slow)

    def frequencies(self, geometry: Geometry, factor: float, length: int) -> Frequencies:
        """The blended map and its temperature."""
        trained = torch.tensor(geometry.inv_freq, dtype=torch.float64)
        keep = kept_share(geometry, self.beta_fast, self.beta_slow, self.truncate)
        temperature = 0.1 * math.log(factor) + 1 if factor > 1 else 1.0
        return Frequencies((1 - keep) * trained / factor + keep * trained, temperature)

    def native(self, geometry: Geometry, factor: float) -> dict[str, Any] | None:
        """Transformers' own parameters; None where it would not read ``truncate``: in those of one layer type."""
        if geometry.layer_type and not self.truncate:
            return None
        return {
            "rope_type": "yarn",
            "factor": factor,
            "beta_fast": self.beta_fast,
            "beta_slow": self.beta_slow,
            "truncate": self.truncate,
            "original_max_position_embeddings": geometry.window,
        }
