"""Position ids from each input's own length, so that a vector never depends on its batch mates."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from longspan.errors import SeamError
from longspan.seams import anatomy
from longspan.seams.arguments import intercept, read_rows
from longspan.seams.journal import Journal


class PositionIds:
    """Fills ``position_ids`` where the caller gave none.

    Args:
        ids: Table rows for an input of so many real tokens, int64 ``[tokens]``.
        offset: Rows of the table in front of position 0.
    """

    def __init__(self, ids: Callable[[int], Tensor], offset: int) -> None:
        self.ids = ids
        self.offset = offset

    def __call__(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Add per-row ids ``[B, N]``; padding reads the row in front of position 0, or position 0."""
        if arguments.get("position_ids") is not None:
            return arguments
        rows = read_rows(arguments)
        filled = torch.full_like(rows.position, max(self.offset - 1, 0))
        for row, (real, length) in enumerate(zip(rows.real, rows.length.flatten().tolist(), strict=True)):
            filled[row, real] = self.ids(length).to(filled.device) + self.offset
        return {**arguments, "position_ids": filled}


def count_real(arguments: dict[str, Any]) -> dict[str, Any]:
    """Count positions from each row's first real token where the caller gave none: ``arange`` counts padding."""
    if arguments.get("position_ids") is not None:
        return arguments
    return {**arguments, "position_ids": read_rows(arguments).position}


def apply(model: Any, journal: Journal, ids: Callable[[int], Tensor]) -> None:
    """Let every forward of the base model choose table rows by real length.

    Raises:
        SeamError: The model has no learned table, takes no ``position_ids``, or its forward was replaced.
    """
    slot = anatomy.position_table(model)
    if slot is None:
        raise SeamError(f"A {type(model).__name__} has no learned position table.", "use a frequency method")
    if "position_ids" not in inspect.signature(type(model.base_model).forward).parameters:
        # Not even where it takes any keyword: the encoders of the BART family swallow what they do not know.
        raise SeamError(
            f"A {type(model).__name__} takes no position_ids, so it cannot read other rows for another length.",
            "use tile, whose rows are read in their order",
        )
    intercept(model.base_model, journal, PositionIds(ids, anatomy.pad_offset(slot.module)))
