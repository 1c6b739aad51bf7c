"""The ramp over pair indices that YaRN, and NTK-by-parts as released, share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from longspan.errors import PlanError
from longspan.geometry import Geometry


def check_betas(beta_fast: float, beta_slow: float) -> None:
    """Refuse a ramp that runs backwards.

    Raises:
        PlanError: Not ``beta_fast > beta_slow > 0``.
    """
    if not math.inf > beta_fast > beta_slow > 0:
        raise PlanError(
            f"beta_fast={beta_fast:g} must exceed beta_slow={beta_slow:g}, and both must exceed 0.",
            "the paper's values are 32 and 1",
        )


def kept_share(geometry: Geometry, beta_fast: float, beta_slow: float, truncate: bool) -> Tensor:
    """How much of its trained frequency each pair keeps: 1 for fast pairs, 0 for slow ones, float64 ``[D / 2]``.

    With ``pair(r) = d ln(window / (2 pi r)) / (2 ln b)``, the pair that turns ``r`` times in the window,
    the share falls linearly in the pair index from ``pair(beta_fast)`` to ``pair(beta_slow)``. ``truncate``
    rounds both ends outward to whole pairs.
    """
    dim = geometry.rotary_dim

    def pair_turning(rotations: float) -> float:
        return dim * math.log(geometry.window / (2 * math.pi * rotations)) / (2 * math.log(geometry.base))

    low, high = pair_turning(beta_fast), pair_turning(beta_slow)
    if truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    width = high - low or 0.001  # as released: a ramp of no width becomes a step
    return 1 - ((torch.arange(dim // 2, dtype=torch.float64) - low) / width).clamp(0, 1)
