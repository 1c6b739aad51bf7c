"""Dynamic NTK: a base that is raised as far as the input is long."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from longspan.errors import PlanError
from longspan.families import Frequencies
from longspan.geometry import Geometry
from longspan.methods.frequencies._dynamic import check_step, with_base_times

CARD = {
    "title": "Dynamic NTK",
    "source": "arXiv:2309.00071",
    "year": 2023,
    "authors": "emozilla; Peng et al.",
    "encodings": ("rope",),
    "training": "none",
    "cost": "none beyond rotating keys again",
    "native": "",
    "claim": "right while decoding only if keys are cached before their rotation (section 3.3); no table of its own",
    "best_for": "one model for short and long inputs, without training: what fits the window is read as trained",
    "caution": "needs longspan at run time: transformers' own type keeps rotated keys, and maps of earlier inputs",
    "aliases": ("dynamic",),
}


@dataclass(frozen=True)
class DynamicNTK:
    """NTK-aware scaling by the input's own ratio to the window (Peng et al. 2023, section 3.3).

    ``b' = b alpha^(d/(d-2))`` with ``alpha = f n / window - (f - 1)``, where n is the input's length in tokens,
    so that up to the window nothing changes. The paper's scale ``n / window`` is f = 1; transformers and the YaRN
    repository multiply by their configured factor, which gives ``alpha = f (s - 1) + 1`` at s windows.

    Args:
        factor: f, unitless.
        step: Tokens that a decoder's length is rounded up to, so that a map lasts as long; the window when None.
    """

    by_length: ClassVar[bool] = True

    factor: float = 1.0
    step: int | None = None

    def __post_init__(self) -> None:
        """Refuse a factor that scales by less than the length asks for."""
        if not 1 <= self.factor < math.inf:
            raise PlanError(
                f"dynamic_ntk(factor={self.factor}) scales by less than the length asks for.", "give 1 or more"
            )
        check_step("dynamic_ntk", self.step)

    def frequencies(self, geometry: Geometry, factor: float, length: int) -> Frequencies:
        """The map for an input of ``length`` tokens; ``factor``, the target's, plays no part."""
        over = max(length / geometry.window - 1, 0.0)
        return Frequencies(with_base_times(geometry, 1 + self.factor * over))
