"""What a distillation can be asked for, and what it needs."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from longspan.errors import ConvertError, require
from longspan.training.run import Recipe, reached


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"budget": 0},
        {"check_every": 0},
        {"seed": -1},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"learning_rate": 2.0},
        {"until": 1.0},
        {"until": 0.0},
    ],
    ids=str,
)
def test_a_recipe_says_what_it_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConvertError) as caught:
        Recipe(**wrong)
    assert str(next(iter(wrong.values()))) in caught.value.fact
    assert caught.value.hint


def test_a_target_is_reached_by_the_least_cosine() -> None:
    assert reached(0.9, [0.95, 0.9])
    assert not reached(0.9, [0.95, 0.89])
    assert not reached(None, [1.0])
    assert not reached(0.9, [])


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ConvertError, match=r"(?s)needs accelerate.*longspan\[train\]"):
        require("accelerate", "A distillation", "train", ConvertError)
