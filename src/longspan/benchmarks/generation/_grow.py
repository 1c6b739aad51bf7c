"""What synthetic prompts share: one question drawn for each generator, grown to the length, at a known depth."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from longspan.benchmarks.fit import fit
from longspan.benchmarks.haystack import generator
from longspan.benchmarks.tasks import Count, Question, Questions, name_of, usual_count
from longspan.errors import BenchmarkError

T = TypeVar("T")
Make = Callable[[int], Question]
"""Units of filler, 0 or more, to a question."""


@dataclass(frozen=True)
class Grown(ABC):
    """Questions in filler that is grown to the length; a set is named like the file of its class.

    A set that can fill depths equally adds the field ``depths``: 0 for random places, k for k depths.

    Attributes:
        questions: Prompts at each length.
    """

    questions: int = 50

    def __post_init__(self) -> None:
        """Check the counts."""
        check_questions(name_of(self), self.questions, self._depths())

    def examples(self, length: int | None, seed: int, count: Count = usual_count) -> Questions:
        """Build the set.

        Args:
            length: Tokens of a prompt and its longest reply together.
            seed: Same seed, same bytes.
            count: Tokens of a text.

        Raises:
            BenchmarkError: The length is missing or too short.
        """
        return grow(name_of(self), length, seed, count, self.questions, self._draw, self._depths())

    @abstractmethod
    def _draw(self, rng: random.Random, aim: float) -> Make:
        """What ``grow`` calls ``draw``."""

    def _depths(self) -> int:
        return getattr(self, "depths", 0)


def check_questions(name: str, questions: int, depths: int = 0) -> None:
    """Check the size of a synthetic set.

    Raises:
        BenchmarkError: A number is out of range, or the depths would get unequal numbers of questions.
    """
    if questions < 1:
        raise BenchmarkError(f"{name} needs at least 1 question, got {questions}.", f"{name}(questions=50)")
    if depths < 0 or depths > questions:
        raise BenchmarkError(f"{name} has {questions} questions, depths={depths}.", f"depths=0 or 1 to {questions}")
    if depths and questions % depths:
        raise BenchmarkError(
            f"{questions} questions do not fill {depths} depths equally.",
            f"questions={questions - questions % depths} for {depths} depths",
        )


def grow(
    name: str,
    length: int | None,
    seed: int,
    count: Count,
    questions: int,
    draw: Callable[[random.Random, float], Make],
    depths: int = 0,
) -> Questions:
    """Draw questions and give each as much filler as its prompt and its reply leave room for.

    Question i has a generator of its own, which does not know the length: at every length it hides the same needle
    at the same share of the filler, so scores at two lengths differ by the length.

    Args:
        name: The set's name.
        length: Tokens of a prompt and its longest reply together.
        seed: Same seed, same bytes.
        count: Tokens of a text.
        questions: How many there are.
        draw: From a generator and a depth aimed at [0..1), a function of the units of filler that makes the
            question; its ``depth`` is where the needle stands.
        depths: 0 aims at uniformly random depths; k > 0 aims question i at ((i mod k) + 0.5) / k and notes that.

    Raises:
        BenchmarkError: The length is missing or too short, for a prompt or for so many depths.
    """
    if length is None:
        raise BenchmarkError(f"{name} is made for a length, and none was given.", "give a length in tokens, as 4096")
    made: dict[str, Question] = {}
    units = None
    for i in range(questions):
        rng = generator(f"{name} {i}", seed)
        aim = rng.random()
        if depths:
            aim = (i % depths + 0.5) / depths
        question, units = _grown(name, length, count, draw(rng, aim), units)
        if depths:
            if question.depth is None or abs(question.depth - aim) >= 0.5 / depths:
                raise BenchmarkError(
                    f"{name} at length {length} has no place within half a step of depth {aim:.3f}.",
                    f"fewer than {depths} depths, or a greater length",
                )
            question = replace(question, depth=aim)
        made[f"q{i:04d}"] = question
    return Questions(name, length, made)


def scatter(filler: Sequence[str], needles: Sequence[str], aims: Sequence[float]) -> list[str]:
    """Lines of filler with needles among them, each at its share of the filler [0..1)."""
    lines: list[str] = []
    last = 0
    for aim, needle in sorted(zip(aims, needles, strict=True)):
        place = int(aim * (len(filler) + 1))
        lines += [*filler[last:place], needle]
        last = place
    return lines + list(filler[last:])


def share(aim: float, units: int) -> float:
    """Share of the filler before a needle that ``scatter`` puts there."""
    return int(aim * (units + 1)) / units if units else 0.0


def endless(draw: Callable[[], T]) -> Callable[[int], list[T]]:
    """The first n of an endless row of draws; asking for fewer or for more later changes none of them."""
    drawn: list[T] = []

    def first(number: int) -> list[T]:
        drawn.extend(draw() for _ in range(number - len(drawn)))
        return drawn[:number]

    return first


def _grown(name: str, length: int, count: Count, make: Make, guess: int | None) -> tuple[Question, int]:
    try:
        units = fit(lambda number: make(number).prompt, length - make(0).new_tokens, count, guess=guess)
    except BenchmarkError as error:
        raise BenchmarkError(f"{name} has no prompts of length {length}. {error.fact}", error.hint) from None
    return make(units), units
