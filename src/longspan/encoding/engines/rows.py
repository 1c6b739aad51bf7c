"""Rows of token ids as tensors, padded or side by side, and states back as rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from longspan.errors import EncodeError

Rows = Sequence[Sequence[int]]


def lengths_of(rows: Rows) -> list[int]:
    """Tokens of each row.

    Raises:
        EncodeError: There is no row, or one is empty.
    """
    lengths = [len(row) for row in rows]
    if not lengths or min(lengths) == 0:
        what = f"Row {lengths.index(0)} of {len(lengths)} has no token." if lengths else "There are no rows."
        raise EncodeError(what, "give each row its special tokens at least")
    return lengths


def pad(rows: Rows, token: int) -> tuple[Tensor, Tensor]:
    """Ids and mask of right-padded rows, int64 ``[rows, longest]``."""
    lengths = lengths_of(rows)
    ids = torch.full((len(rows), max(lengths)), token, dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : lengths[place]] = torch.tensor(row, dtype=torch.long)
    return ids, (torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)).long()


def side_by_side(rows: Rows, padding: int | None = None) -> tuple[Tensor, Tensor]:
    """Ids and positions of all rows in one, int64 ``[1, tokens]``; positions start again with each row.

    Args:
        rows: Token ids.
        padding: Row of the position table in front of position 0, for models that give it to every token of that
            id, also within a text, and count only the others (the RoBERTa family); None for positions from 0.
    """
    ids = torch.tensor([token for row in rows for token in row], dtype=torch.long)
    positions = torch.cat([torch.arange(len(row)) for row in rows])
    if padding is not None:
        positions += padding + 1
        if bool((ids == padding).any()):
            counted = [(own != padding).long() for own in torch.split(ids, [len(row) for row in rows])]
            positions = torch.cat([padding + own.cumsum(0) * own for own in counted])
    return ids.unsqueeze(0), positions.unsqueeze(0)


def apart(flat: Tensor, lengths: list[int], places: list[int]) -> Tensor:
    """States ``[tokens, width]`` of rows side by side as ``[rows, longest, width]``, float32, zeros at the ends.

    Args:
        flat: States, row after row.
        lengths: Tokens of each row, in that order.
        places: Where each row belongs in the result.
    """
    if len(set(lengths)) == 1 and places == sorted(places):
        return flat.float().reshape(len(lengths), lengths[0], -1)
    states = torch.zeros(len(lengths), max(lengths), flat.shape[-1], device=flat.device)
    for place, row in zip(places, torch.split(flat, lengths), strict=True):
        states[place, : len(row)] = row
    return states
