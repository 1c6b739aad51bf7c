"""The rows of a forward call without their padding: which tokens are real, and which rows go together."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from longspan.errors import SeamError
from longspan.seams.arguments import key_mask, read_rows

Place = slice | Tensor
"""Tokens of a row: a slice where they stand side by side, their columns otherwise."""


class Group(NamedTuple):
    """Rows whose real tokens stand at the same places.

    Attributes:
        rows: The rows.
        query: Columns of the real queries.
        key: Columns of the real keys, cached ones included.
        start: Position of the first query.
        length: Real tokens of each row, cached ones included.
        columns: All columns of the keys, padding included.
    """

    rows: slice
    query: Place
    key: Place
    start: int
    length: int
    columns: int

    def keys_of(self, columns: int) -> tuple[Place, int]:
        """Where the real keys stand in a layer that keeps the last ``columns`` ones, and the first one's position.

        A static cache has more columns than were filled; they are behind the real ones.
        """
        gone = max(self.columns - columns, 0)
        if isinstance(self.key, slice):
            begin = max(self.key.start, gone)
            return slice(begin - gone, self.key.stop - gone), begin - self.key.start
        left = self.key[self.key >= gone]
        return left - gone, len(self.key) - len(left)


def groups(arguments: dict[str, Any]) -> list[Group]:
    """Group the rows of a base model's forward; neighbours with the same padding are one group.

    Raises:
        SeamError: The attention mask has another rank than 2, or position ids were given that do not count each
            row's real tokens from 0.
    """
    given, read = arguments.get("position_ids"), read_rows(arguments)
    if given is not None and bool(((given != read.position) & read.real).any()):
        raise SeamError(
            "The position ids given do not count each row's real tokens from 0, and this extension does.",
            "leave position_ids out; pass a mask of shape [batch, tokens] where rows are padded; generate from padded "
            "rows with a dynamic cache, since a static one hides their mask",
        )
    mask = key_mask(arguments).bool().cpu()
    columns, found = mask.shape[1], []
    before = columns - read.real.shape[1]  # cached ones
    borders = (1 + torch.nonzero((mask[1:] != mask[:-1]).any(1)).flatten()).tolist()
    for begin, end in pairwise([0, *borders, len(mask)]):
        key = torch.nonzero(mask[begin]).flatten()
        query = key[key >= before] - before
        if len(query):
            rows = slice(begin, end)
            found.append(Group(rows, _place(query), _place(key), len(key) - len(query), len(key), columns))
    return found


def _place(columns: Tensor) -> Place:
    first, last = int(columns[0]), int(columns[-1]) + 1
    return slice(first, last) if last - first == len(columns) else columns
