"""Grouped positions: neighbours share a trained row."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CARD = {
    "title": "Grouped Positions (GP)",
    "source": "arXiv:2404.12096",
    "year": 2024,
    "authors": "Zhu et al.",
    "encodings": ("learned",),
    "training": "none",
    "cost": "none",
    "native": "a longer position table; exact short inputs need longspan",
    "claim": "E5-RoPE reaches 52.5 on LongEmbed at 4k, 40.5 unextended (Table 3)",
    "best_for": "a first training-free try",
    "caution": "order inside a group is lost",
    "aliases": ("group", "gp"),
}


@dataclass(frozen=True)
class Grouped:
    """Give ``s`` neighbours one trained row (Zhu et al. 2024).

    ``row(p) = max(1, floor(p window / n))``, which is the paper's ``floor(p / s)`` where ``s = n / window`` is
    whole; row 0 stays with [CLS]. The released code takes ``s`` from the padded batch, so that a vector depends
    on its batch mates; here ``n`` is the input's own length, or the target.

    Args:
        adaptive: Take ``n`` from each input (at least the window), so that short inputs are untouched.
            Otherwise ``n`` is the target for every input.
    """

    adaptive: bool = True

    def table(self, weight: Tensor, rows: int) -> Tensor:
        """``[window, E] -> [rows, E]``, each trained row repeated."""
        return weight[self._trained_row(torch.arange(rows), len(weight), rows)]

    def position_ids(self, length: int, window: int, rows: int) -> Tensor:
        """For each position the first row of the table that holds the trained row it is given."""
        position = torch.arange(length)
        if not self.adaptive:
            return position
        trained = self._trained_row(position, window, max(length, window))
        return torch.where(trained > 1, -(-trained * rows // window), trained)

    def _trained_row(self, position: Tensor, window: int, length: int) -> Tensor:
        return torch.where(position > 0, (position * window // length).clamp(min=1), position)
