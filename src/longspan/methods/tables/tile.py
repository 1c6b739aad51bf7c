"""Recurrent positions: the trained rows again and again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CARD = {
    "title": "Recurrent Positions (RP)",
    "source": "arXiv:2404.12096",
    "year": 2024,
    "authors": "Zhu et al.",
    "encodings": ("learned",),
    "training": "optional",
    "cost": "none",
    "native": "a longer position table",
    "claim": "tuning on recurrent rows stays below tuning on interpolated rows (Figure 5b)",
    "best_for": "keeping short inputs exact in every tool",
    "caution": "positions a window apart look the same",
    "aliases": ("recurrent", "rp"),
}


@dataclass(frozen=True)
class Tile:
    """Repeat the trained rows (Zhu et al. 2024): ``row(p) = p mod window``.

    Row 0 stays with [CLS]: after the first window rows 1 to window - 1 repeat,
    ``row(p) = 1 + (p - 1) mod (window - 1)``.
    """

    def table(self, weight: Tensor, rows: int) -> Tensor:
        """``[window, E] -> [rows, E]``."""
        position = torch.arange(rows)
        return weight[torch.where(position > 0, 1 + (position - 1) % (len(weight) - 1), position)]

    def position_ids(self, length: int, window: int, rows: int) -> Tensor:
        """Every row in turn."""
        return torch.arange(length)
