"""LongRoPE: a searched factor for every pair, and untouched first positions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from longspan.errors import PlanError
from longspan.families import Frequencies
from longspan.geometry import Geometry
from longspan.methods.frequencies._ramp import kept_share

CARD = {
    "title": "LongRoPE",
    "source": "arXiv:2402.13753",
    "year": 2024,
    "authors": "Ding et al.",
    "encodings": ("rope",),
    "training": "optional",
    "cost": "none",
    "native": "rope_type longrope; first > 0 or switch needs longspan",
    "claim": "extends LLaMA2 and Mistral to 2048k tokens with at most 1k fine-tuning steps (abstract)",
    "best_for": "very large factors, with factors from a search",
    "caution": "without searched factors it starts from YaRN's map, as the search does",
    "aliases": (),
}


@dataclass(frozen=True)
class LongRoPE:
    """Divide each pair by its own factor, except at the first positions (Ding et al. 2024).

    ``theta'_c = theta_c / lambda_c`` for positions at or above ``first``; below it the trained map with
    magnitude 1 stays.

    Args:
        factors: ``lambda_c``, one per pair, non-decreasing, each at least 1. Empty: where the released
            search starts, ``s (1 - k) + k`` with YaRN's kept share ``k``.
        first: Positions that keep the trained map, tokens (the paper's n-hat).
        magnitude: Factor on cos and sin: ``su`` = ``sqrt(1 + ln s / ln window)``, ``yarn`` =
            ``0.1 ln s + 1``, ``none`` = 1.
        switch: Take all this only where an input is longer than the window. Up to the window the map is the trained
            one, magnitude 1 included; where ``short`` is given, ``theta_c / short_c`` with the same magnitude at
            every position, which is what transformers does.
        short: The paper's factors for inputs that fit the window, one per pair, under the rules of ``factors``.
    """

    step: ClassVar[int | None] = None

    factors: tuple[float, ...] = ()
    first: int = 0
    magnitude: Literal["su", "yarn", "none"] = "su"
    switch: bool = False
    short: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse factors that a search could not have produced."""
        for factors, key in ((self.factors, "long_factor"), (self.short, "short_factor")):
            numbers = all(isinstance(f, (int, float)) and 1 <= f < math.inf for f in factors)
            if not numbers or list(factors) != sorted(factors):
                raise PlanError(
                    f"longrope's {len(factors)} factors must be numbers of at least 1 that never decrease.",
                    f"give {key} as the checkpoint's rope_parameters hold it",
                )
        if self.first < 0:
            raise PlanError(f"longrope(first={self.first}) is negative.", "give 0 or a count of tokens")
        if self.short and not self.switch:
            raise PlanError(f"longrope never switches to its {len(self.short)} short factors.", "add switch=true")

    @property
    def by_length(self) -> bool:
        """Whether an input's own length chooses between two maps."""
        return self.switch

    def frequencies(self, geometry: Geometry, factor: float, length: int) -> Frequencies:
        """The rescaled map; with ``switch`` and within the window, the trained or the short one.

        Raises:
            PlanError: There is not one factor per pair.
        """
        trained = torch.tensor(geometry.inv_freq, dtype=torch.float64)
        if factor <= 1:
            return Frequencies(trained)
        long, short = _per_pair(self.factors, trained), _per_pair(self.short, trained)
        magnitude = self._magnitude(factor, geometry.window)
        if self.switch and length <= geometry.window:
            return Frequencies(trained) if short is None else Frequencies(trained / short, magnitude)
        if long is None:
            keep = kept_share(geometry, 32.0, 1.0, truncate=True)
            long = factor * (1 - keep) + keep
        return Frequencies(trained / long, magnitude, self.first)

    def _magnitude(self, factor: float, window: int) -> float:
        if self.magnitude == "su":
            return math.sqrt(1 + math.log(factor) / math.log(window))
        return 0.1 * math.log(factor) + 1 if self.magnitude == "yarn" else 1.0


def _per_pair(factors: tuple[float, ...], trained: Tensor) -> Tensor | None:
    if factors and len(factors) != len(trained):
        raise PlanError(
            f"longrope got {len(factors)} factors for {len(trained)} rotary pairs.", "give one factor per pair, or none"
        )
    return torch.tensor(factors, dtype=torch.float64) if factors else None
