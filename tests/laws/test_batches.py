"""Batch invariance: a row's states do not depend on its neighbours, on their lengths or on the side of padding."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from longspan import extend
from tests.laws import cases
from tests.laws.cases import LONG, WINDOW, every, fresh
from tests.models import states, tokens

PAD = 1
LENGTHS = (WINDOW // 2, WINDOW + 8, LONG)  # within the window, beyond it, at the target
BATCHES = [(0, 1), (0, 1, 2)]
COUNTS_ALL_TOKENS = ("bert", "electra", "distilbert", "gpt2")
"""Stock position ids that count padding too: left padding moves these models unless the plan chooses the ids."""

CLOSE = {"rtol": 3e-5, "atol": 3e-5}
SHIFTED = {"rtol": 1e-4, "atol": 1e-4}
"""Left padding turns queries and keys by other float32 angles to the same difference."""


def _row(index: int) -> torch.Tensor:
    return tokens(1, LENGTHS[index], seed=index)[0]


def _batch(rows: Sequence[int], side: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Padded ids and mask, ``[rows, tokens]``."""
    width = max(LENGTHS[row] for row in rows)
    ids, mask = torch.full((len(rows), width), PAD), torch.zeros(len(rows), width, dtype=torch.long)
    for place, row in enumerate(rows):
        span = slice(0, LENGTHS[row]) if side == "right" else slice(width - LENGTHS[row], width)
        ids[place, span], mask[place, span] = _row(row), 1
    return ids, mask


def _assert_rows_are_as_if_alone(model, side: str, close: dict[str, float]) -> None:
    alone = [states(model, _row(row).unsqueeze(0))[0] for row in range(len(LENGTHS))]
    for rows in BATCHES:
        ids, mask = _batch(rows, side)
        together = states(model, ids, mask)
        for place, row in enumerate(rows):
            torch.testing.assert_close(together[place][mask[place].bool()], alone[row], **close)


@every(cases.ALL)
def test_right_padding_and_neighbours_leave_a_row_alone(architecture: str, spec: str) -> None:
    _assert_rows_are_as_if_alone(extend(fresh(architecture), LONG, spec), "right", CLOSE)


def _can_be_left_padded(pair: tuple[str, str]) -> bool:
    return pair[0] not in COUNTS_ALL_TOKENS or pair[1].split(" + ")[0] in ("grouped", "interpolate")


@every([pair for pair in cases.ALL if _can_be_left_padded(pair)])
def test_left_padding_and_neighbours_leave_a_row_alone(architecture: str, spec: str) -> None:
    _assert_rows_are_as_if_alone(extend(fresh(architecture), LONG, spec), "left", SHIFTED)


@pytest.mark.parametrize("architecture", sorted({a for a, _ in cases.ALL} - set(COUNTS_ALL_TOKENS)))
def test_the_stock_models_ignore_left_padding_too(architecture: str) -> None:
    model, row = fresh(architecture), tokens(1, WINDOW // 2)
    ids = torch.cat([torch.full((1, WINDOW // 4), PAD), row], dim=1)
    padded = states(model, ids, (ids != PAD).long())[:, WINDOW // 4 :]
    torch.testing.assert_close(padded, states(model, row), **CLOSE)
