"""What the maps that follow an input's own length share."""

from __future__ import annotations

import torch
from torch import Tensor

from longspan.errors import PlanError
from longspan.geometry import Geometry


def check_step(name: str, step: int | None) -> None:
    """Refuse a length that is rounded to nothing.

    Raises:
        PlanError: The step is below 1 token.
    """
    if step is not None and step < 1:
        raise PlanError(f"{name}(step={step}) is not a count of tokens.", "give 1 or more, or none for the window")


def with_base_times(geometry: Geometry, alpha: float) -> Tensor:
    """The trained map as if its base were ``b alpha^(d/(d-2))``, radians per token, float64 ``[D / 2]``.

    ``theta'_c = theta_c alpha^(-2c/(d-2))``, which also holds where the trained map is scaled already.
    """
    trained = torch.tensor(geometry.inv_freq, dtype=torch.float64)
    pair = torch.arange(len(trained), dtype=torch.float64)
    return trained * alpha ** (-2 * pair / max(geometry.rotary_dim - 2, 1))
