"""A few mutations of every kind of input; ``make fuzz`` tries ten thousand of each."""

from __future__ import annotations

import json
import random

import pytest

from longspan.errors import LongspanError
from tests.fuzz import run
from tests.fuzz.mutations import written
from tests.fuzz.targets import TARGETS, Target

FEW = {"config": 12, "job": 12, "cache": 12}
ENOUGH = 80


@pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])
def test_nothing_but_typed_errors_and_right_results(target: Target) -> None:
    found = run.failures(target, FEW.get(target.name, ENOUGH))
    assert not found, "\n\n".join(map(str, found))


def _raw(data: bytes) -> None:
    raise KeyError("raw")


def _large(data: bytes) -> None:
    bytearray(2**32)


def _slow(data: bytes) -> None:
    while True:
        pass


def _bare(data: bytes) -> None:
    raise LongspanError("No hint.")


def _typed(data: bytes) -> None:
    raise LongspanError("Typed.", "as it should be")


@pytest.mark.parametrize(
    ("check", "told"),
    [
        (_raw, "KeyError: 'raw'"),
        (_large, "MemoryError"),
        (_slow, "TooSlow"),
        (_bare, "no error for people"),
        (_typed, ""),
    ],
)
def test_what_goes_wrong_is_found_and_told_with_how_to_run_it_again(check, told: str, monkeypatch) -> None:
    monkeypatch.setattr(run, "SECONDS", 0.1)
    target = Target("faulty", lambda folder: (lambda draw: draw.randbytes(8), check))
    found = run.failures(target, 1, seed=1, first=7)
    assert [told in failure.error for failure in found] == [True] * bool(told)
    for one in found:
        assert "--only faulty --seed 1 --first 7 --mutations 1" in str(one)
        assert repr(one.data) in str(one)


def test_a_seed_makes_the_same_mutations_each_of_its_own_and_most_of_them_json() -> None:
    data = {"a": [1, 2.5, {"b": "text"}], "c": None}
    first, again = ([written(data, random.Random(f"{n}")) for n in range(300)] for _ in range(2))
    assert first == again
    assert len(set(first)) > 200

    def is_json(text: bytes) -> bool:
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return False
        return True

    assert 200 < sum(map(is_json, first)) < 300


def test_a_long_input_is_shown_in_part() -> None:
    assert len(str(run.Failure("plan", 0, 0, "error", b"x" * 10_000))) < 1000
