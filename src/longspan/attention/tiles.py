"""Ranges cut into rectangles and triangles, the shapes that a fused attention kernel reads without a mask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor


class Tile(NamedTuple):
    """Some queries and some keys, ``blocks`` times, each ``stride`` further on.

    Attributes:
        shape: Which keys j of the tile its query i sees: ``full`` all, ``lower`` j <= i, ``upper`` j >= i; the
            last two are square.
        query: First query.
        queries: Count of queries.
        key: First key.
        keys: Count of keys.
        blocks: How many such tiles there are.
        stride: From one to the next, in queries and in keys.
    """

    shape: Literal["full", "lower", "upper"]
    query: int
    queries: int
    key: int
    keys: int
    blocks: int = 1
    stride: int = 0


def tiles(first: Tensor, last: Tensor) -> list[Tile]:
    """Cut what queries see into tiles: each pair stands in exactly one.

    Args:
        first: First key that each query sees, int64 ``[Q]``.
        last: One behind the last; nothing is seen where it is not above ``first``.
    """
    found: list[Tile] = []
    for tile in (tile for run in _runs(first.cpu(), last.cpu()) for tile in _cut(*run)):
        found[-1:] = _joined(found[-1], tile) if found else [tile]
    return found


def _joined(tile: Tile, other: Tile) -> list[Tile]:
    """Two tiles as one of more blocks where they are alike and apart, such as chunks."""
    step = other.query - tile.query - (tile.blocks - 1) * tile.stride
    along = step == other.key - tile.key - (tile.blocks - 1) * tile.stride and step >= max(tile.queries, tile.keys)
    alike = (tile.shape, tile.queries, tile.keys) == (other.shape, other.queries, other.keys)
    if alike and along and other.blocks == 1 and (tile.blocks == 1 or step == tile.stride):
        return [tile._replace(blocks=tile.blocks + 1, stride=step)]
    return [tile, other]


def _runs(first: Tensor, last: Tensor) -> Iterator[tuple[int, int, int, int, int, int]]:
    """Maximal runs of queries in which both borders stand still or move by one key a query.

    Yields:
        First query, count, ``first`` and ``last`` there, and by how much each moves.
    """
    live = last > first
    moves = torch.stack([first.diff(), last.diff()])
    regular = ((moves == 0) | (moves == 1)).all(0) & live[1:] & live[:-1]
    codes, counts = torch.unique_consecutive(
        torch.where(regular, 2 * moves[0] + moves[1], torch.full_like(moves[0], -1)), return_counts=True
    )
    place, begin = 0, 0  # the next query to give out; where the run of moves begins
    for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
        end = begin + count
        if code < 0:
            single = place + torch.nonzero(live[place:end]).flatten()
            yield from ((q, 1, int(first[q]), int(last[q]), 0, 0) for q in single.tolist())
            place = max(place, end)
        elif place <= end:
            yield place, end + 1 - place, int(first[place]), int(last[place]), code // 2, code % 2
            place = end + 1
        begin = end
    if place < len(first) and bool(live[place]):
        yield place, 1, int(first[place]), int(last[place]), 0, 0


def _cut(query: int, queries: int, first: int, last: int, first_moves: int, last_moves: int) -> Iterator[Tile]:
    if queries == 1 or not (first_moves or last_moves):
        yield Tile("full", query, queries, first, last - first)
    elif not first_moves:
        if last - 1 > first:
            yield Tile("full", query, queries, first, last - 1 - first)
        yield Tile("lower", query, queries, last - 1, queries)
    elif not last_moves:
        yield Tile("upper", query, queries, first, queries)
        if last > first + queries:
            yield Tile("full", query, queries, first + queries, last - first - queries)
    else:
        yield from _band(query, queries, first, last - first)


def _band(query: int, queries: int, first: int, width: int) -> Iterator[Tile]:
    """A band of constant width: blocks of as many queries, each an upper triangle and a strictly lower one."""
    blocks, rest = divmod(queries, width)
    if blocks:
        yield Tile("upper", query, width, first, width, blocks, width)
        if width > 1:
            yield Tile("lower", query + 1, width - 1, first + width, width - 1, blocks, width)
    done = blocks * width
    query, first = query + done, first + done
    if rest:
        yield Tile("upper", query, rest, first, rest)
        yield Tile("full", query, rest, first + rest, width - rest)
    if rest > 1:
        yield Tile("lower", query + 1, rest - 1, first + width, rest - 1)
