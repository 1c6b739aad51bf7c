"""What a distillation reads, step by step: passages within the window and, in between, views of long texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from longspan.training.passages import Passages
from longspan.training.views import Views


@dataclass(frozen=True, eq=False)
class Lessons(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """A batch for each step, a function of seed and step alone, so that a resumed run reads what it would have.

    Attributes:
        passages: Those within the window.
        views: Of long texts, every second step; None for passages only.
        steps: How many.
        seed: What to draw.
    """

    passages: Passages
    views: Views | None
    steps: int
    seed: int

    def __len__(self) -> int:
        """How many steps."""
        return self.steps

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        """The batch of one step.

        Raises:
            IndexError: There is no such step.
        """
        if not 0 <= step < self.steps:
            raise IndexError(f"step {step} of {self.steps}")
        draw = np.random.default_rng((self.seed, step))
        return self.passages.draw(draw) if self.views is None or step % 2 == 0 else self.views.draw(draw)
