"""Position Interpolation of a learned table: new rows lie between the trained ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CARD = {
    "title": "Position Interpolation of the table (PI)",
    "source": "arXiv:2404.12096",
    "year": 2024,
    "authors": "Zhu et al.",
    "encodings": ("learned",),
    "training": "optional",
    "cost": "none",
    "native": "a longer position table; exact short inputs need longspan",
    "claim": "E5-Base rises from 41.0 to 56.6 on LongEmbed with the new rows tuned to 4k (Table 2)",
    "best_for": "a table that is to be tuned afterwards",
    "caution": "neighbouring rows become nearly equal, so local order blurs; chunk averaging often beats it untrained",
    "grid": ("interpolate", "interpolate(anchors=false)"),
    "aliases": ("position_interpolation_table",),
}


@dataclass(frozen=True)
class Interpolate:
    """Spread the trained rows over the target and interpolate linearly (Zhu et al. 2024).

    Row 0 stays with [CLS] and is mixed into nothing; rows 1 to window - 1 are spread evenly over
    positions 1 to rows - 1.

    Args:
        anchors: Round the spread so that every trained row is a row of the new table, and let inputs
            within the window read exactly those. Without anchors short inputs read stretched rows too.
    """

    anchors: bool = True

    def table(self, weight: Tensor, rows: int) -> Tensor:
        """``[window, E] -> [rows, E]``, computed in float64."""
        place = self._places(len(weight), rows)
        position = torch.arange(rows, dtype=torch.float64)
        right = torch.searchsorted(place, position).clamp(1, len(weight) - 1)
        left = (right - 1).clamp(min=1)
        left[0] = right[0] = 0
        width = (place[right] - place[left]).clamp(min=1e-9)
        share = ((position - place[left]) / width).clamp(0, 1).unsqueeze(1).to(weight.device)
        exact = weight.double()
        return (exact[left] * (1 - share) + exact[right] * share).to(weight.dtype)

    def position_ids(self, length: int, window: int, rows: int) -> Tensor:
        """The anchors for an input within the window, every row in turn for a longer one."""
        if self.anchors and length <= window:
            return self._places(window, rows)[:length].long()
        return torch.arange(length)

    def _places(self, window: int, rows: int) -> Tensor:
        # Position of each trained row in the new table, float64 [window]; the last row keeps the last place.
        index = torch.arange(window, dtype=torch.float64)
        place = 1 + (index - 1) * (rows - 2) / max(window - 2, 1)
        place[0] = 0
        return place.round() if self.anchors else place
