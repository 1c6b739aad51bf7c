"""Tiles: together they are exactly the pairs that queries see, in shapes a fused kernel reads without a mask."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from longspan.attention.tiles import Tile, tiles

Piece = tuple[int, int, int, int, int]
"""Queries, where both borders begin, and by how much each moves from one query to the next."""

_PIECES = st.lists(
    st.tuples(st.integers(1, 12), st.integers(0, 40), st.integers(-2, 15), *[st.sampled_from([0, 1, 1, 2, -1])] * 2),
    min_size=1,
    max_size=6,
)


def _borders(pieces: list[Piece]) -> tuple[Tensor, Tensor]:
    """``first`` and ``last`` of each query, a straight line within each piece; ``last`` may be below ``first``."""
    first, last = [], []
    for count, begin, width, first_moves, last_moves in pieces:
        first += [max(begin + first_moves * i, 0) for i in range(count)]
        last += [max(begin + width + last_moves * i, 0) for i in range(count)]
    return torch.tensor(first), torch.tensor(last)


def _seen(tile: Tile, queries: int, keys: int) -> Tensor:
    """How often a tile holds each pair ``[Q, K]``; no index may leave the table."""
    seen = torch.zeros(queries, keys, dtype=torch.int64)
    for block in range(tile.blocks):
        query, key = tile.query + block * tile.stride, tile.key + block * tile.stride
        assert 0 <= query < query + tile.queries <= queries
        assert 0 <= key < key + tile.keys <= keys
        for i in range(tile.queries):
            left, right = {"full": (0, tile.keys), "lower": (0, i + 1), "upper": (i, tile.keys)}[tile.shape]
            seen[query + i, key + left : key + right] += 1
    return seen


def _check(first: Tensor, last: Tensor) -> list[Tile]:
    found, keys = tiles(first, last), max(int(last.max()), 1)
    column = torch.arange(keys)
    wanted = ((column >= first[:, None]) & (column < last[:, None])).long()
    assert torch.equal(sum((_seen(tile, len(first), keys) for tile in found), torch.zeros_like(wanted)), wanted)
    assert all(tile.queries == tile.keys for tile in found if tile.shape != "full")
    assert all(tile.blocks == 1 or tile.stride >= tile.queries for tile in found)
    return found


@given(_PIECES)
@example([(1, 0, 1, 0, 0)])
@example([(7, 3, 0, 1, 1)])  # nothing is seen
@example([(9, 0, -2, 0, 1)])  # nothing at first, then one key more at each query
@example([(9, 0, 5, 1, 0)])  # one key less at each query, until nothing is left
@example([(12, 0, 1, 1, 1), (12, 20, 15, 1, 1)])
@example([(4, 0, 4, 0, 1), (4, 0, 8, 0, 1)])  # one straight line in two pieces
@example([(3, 5, 4, 2, 2), (3, 5, 4, -1, 0)])  # no border moves as tiles want it
def test_each_visible_pair_stands_in_exactly_one_tile(pieces: list[Piece]) -> None:
    _check(*_borders(pieces))


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=25))
def test_any_borders_are_cut(borders: list[tuple[int, int]]) -> None:
    first, last = torch.tensor(borders).T
    _check(first, last)


@given(st.integers(1, 40), st.integers(0, 30), st.integers(1, 40))
def test_a_causal_chunk_is_a_rectangle_and_a_triangle(queries: int, past: int, window: int) -> None:
    query = torch.arange(past, past + queries)
    shapes = [tile.shape for tile in _check(torch.zeros_like(query), query + 1)]
    assert shapes == (["full"] if queries == 1 else ["full", "lower"] if past else ["lower"])
    _check((query - window + 1).clamp(min=0), query + 1)


@pytest.mark.parametrize(("queries", "width", "most"), [(4096, 64, 5), (4096, 100, 5), (64, 4096, 3), (4096, 1, 1)])
def test_a_band_is_a_handful_of_tiles_however_long_it_is(queries: int, width: int, most: int) -> None:
    query = torch.arange(queries)
    found = tiles(query, query + width)
    assert len(found) <= most
    areas = {"full": lambda n, m: n * m, "lower": lambda n, m: n * (n + 1) // 2, "upper": lambda n, m: n * (n + 1) // 2}
    assert sum(tile.blocks * areas[tile.shape](tile.queries, tile.keys) for tile in found) == queries * width


def test_queries_that_see_nothing_have_no_tile() -> None:
    assert tiles(torch.tensor([3, 5, 9]), torch.tensor([3, 0, 8])) == []
