"""Dynamic YaRN: YaRN by the input's own length."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from longspan.families import Frequencies
from longspan.geometry import Geometry
from longspan.methods.frequencies._dynamic import check_step
from longspan.methods.frequencies._ramp import check_betas, kept_share

CARD = {
    "title": "Dynamic YaRN",
    "source": "arXiv:2309.00071",
    "year": 2023,
    "authors": "Peng et al.",
    "encodings": ("rope",),
    "training": "none",
    "cost": "none beyond rotating keys again",
    "native": "",
    "claim": "the scale follows the length, max(1, n / window), instead of being fixed (section 3.3)",
    "best_for": "YaRN without its price on short inputs: what fits the window is read as trained",
    "caution": "needs longspan at run time: transformers has no such type",
    "aliases": (),
}


@dataclass(frozen=True)
class DynamicYaRN:
    """YaRN with ``s = max(1, n / window)`` for an input of n tokens (Peng et al. 2023, sections 3.3 and 3.4).

    ``theta'_c = (1 - k) theta_c / s + k theta_c``, cos and sin times ``0.1 ln s + 1``. The kept share ``k`` runs
    over the pair index, as in every released implementation (the paper's runs over rotations).

    Args:
        beta_fast: Rotations in the window above which a pair is kept.
        beta_slow: Rotations in the window below which a pair is interpolated.
        truncate: Round the ramp's ends outward to whole pairs.
        step: Tokens that a decoder's length is rounded up to, so that a map lasts as long; the window when None.
    """

    by_length: ClassVar[bool] = True

    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    step: int | None = None

    def __post_init__(self) -> None:
        """Refuse a ramp that runs backwards."""
        check_betas(self.beta_fast, self.beta_slow)
        check_step("dynamic_yarn", self.step)

    def frequencies(self, geometry: Geometry, factor: float, length: int) -> Frequencies:
        """The map for an input of ``length`` tokens; ``factor``, the target's, plays no part."""
        trained = torch.tensor(geometry.inv_freq, dtype=torch.float64)
        if length <= geometry.window:
            return Frequencies(trained)
        s = length / geometry.window
        keep = kept_share(geometry, self.beta_fast, self.beta_slow, self.truncate)
        return Frequencies((1 - keep) * trained / s + keep * trained, 0.1 * math.log(s) + 1)
