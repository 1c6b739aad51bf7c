"""ALiBi interpolation: distances divided by the factor, through the slopes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from longspan.errors import PlanError
from longspan.geometry import Geometry

CARD = {
    "title": "ALiBi position interpolation",
    "source": "arXiv:2310.13017",
    "year": 2023,
    "authors": "Al-Khateeb et al.",
    "encodings": ("alibi",),
    "training": "none",
    "cost": "none",
    "native": "",
    "claim": "keeps quality to about twice the trained length, ALiBi alone to about 1.12 times (as the paper states)",
    "best_for": "ALiBi models up to about twice their window, without training",
    "caution": "flatter slopes act on short inputs as well, unless an encoder takes by_length",
    "aliases": ("alibi_pi",),
}


@dataclass(frozen=True)
class AlibiInterpolation:
    """Slopes ``m_h / factor``, so that ``factor`` tokens weigh as one (Al-Khateeb et al. 2023).

    The trained slopes are ALiBi's own (Press et al. 2021): ``m_h = 2^(-8 h / H)`` for ``h = 1 .. H`` heads, H a
    power of two; otherwise those of the power of two P below H, and behind them every second slope of 2P heads.

    Args:
        by_length: Divide by ``max(1, n / window)`` of each input's own real length n, as the released code does,
            so that inputs within the window stay as they are. Encoders only.
    """

    by_length: bool = False

    def slopes(self, geometry: Geometry, factor: float) -> Tensor:
        """The slope of each head, per token, float64 ``[heads]``.

        ``factor`` is target / window, or with ``by_length`` that of an input: max(1, n / window).

        Raises:
            PlanError: ``by_length`` on a decoder.
        """
        if self.by_length and geometry.role == "decoder":
            raise PlanError(
                "alibi_interpolation(by_length=True) changes the slopes while a decoder's input grows, but the cached "
                "states were computed with the earlier ones.",
                "leave by_length out",
            )
        heads = geometry.heads
        lower = 2 ** math.floor(math.log2(heads))
        return torch.cat([_geometric(lower), _geometric(2 * lower)[::2][: heads - lower]]) / factor


def _geometric(heads: int) -> Tensor:
    return torch.exp2(-8 * torch.arange(1, heads + 1, dtype=torch.float64) / heads)
