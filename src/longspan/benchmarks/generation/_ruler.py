"""RULER's needles (Hsieh et al. 2024): magic numbers and UUIDs in prose or among needles of the same form."""

from __future__ import annotations

import random
import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import cache, partial

from longspan.benchmarks.generation._draws import fresh, uuid, whole, words
from longspan.benchmarks.generation._grow import Make, endless, scatter, share
from longspan.benchmarks.haystack import prose, sentence_starts
from longspan.benchmarks.tasks import Question

_CAPITAL = re.compile(r"[\"'(\[]*[A-Z0-9]")

NEW_TOKENS = 128
"""What RULER lets a model write on a needle task."""


def needle(kind: str, key: str, value: str) -> str:
    """The sentence that tells a value; ``kind`` is "numbers" or "uuids"."""
    return f"One of the special magic {kind} for {key} is: {value}."


def value(rng: random.Random, kind: str) -> str:
    """A number of seven digits, or a UUID."""
    return uuid(rng) if kind == "uuids" else str(whole(rng, 1_000_000, 9_999_999))


def values(rng: random.Random, kind: str, number: int) -> list[str]:
    """So many values, no two alike."""
    seen: set[str] = set()
    return [fresh(lambda _: value(rng, kind), seen) for _ in range(number)]


def question(context: str, kind: str, key: str, answers: Sequence[str], depth: float) -> Question:
    """RULER's template around a context, in the singular where there is one answer."""
    if len(answers) == 1:
        kind, some, are, asked = kind[:-1], "A", "is", "is the"
    else:
        some, are, asked = "Some", "are", "are all the"
    prompt = (
        f"{some} special magic {kind} {are} hidden within the following text. Make sure to memorize it. I will quiz "
        f"you about the {kind} afterwards.\n{context}\nWhat {asked} special magic {kind} for {key} mentioned in the "
        f"provided text? The special magic {kind} for {key} mentioned in the provided text {are}"
    )
    return Question(prompt, tuple(answers), ", ".join(answers), new_tokens=NEW_TOKENS, depth=depth)


def in_prose(kind: str, key: str, answers: Sequence[str], needles: Sequence[str], aims: Sequence[float]) -> Make:
    """Needles at sentence starts of prose; the first so many as there are answers are the ones asked for."""

    def make(number: int) -> Question:
        context, depths = hide(needles, aims, number)
        return question(context, kind, key, answers, min(depths[: len(answers)]))

    return make


def among_needles(rng: random.Random, kind: str, key: str, told: str, aim: float, draw: Callable[[], str]) -> Make:
    """A needle among needles of other keys, one to a line; ``draw`` gives the next of those keys."""
    first = endless(lambda: needle(kind, draw(), value(rng, kind)))

    def make(number: int) -> Question:
        lines = scatter(first(number), [needle(kind, key, told)], [aim])
        return question("\n".join(lines), kind, key, [told], share(aim, number))

    return make


def keys(rng: random.Random, kind: str) -> Callable[[], str]:
    """A row of keys, no two alike: UUIDs for "uuids", else adjective-noun."""
    return partial(fresh, (lambda _: uuid(rng)) if kind == "uuids" else partial(words, rng), set())


def hide(needles: Sequence[str], aims: Sequence[float], number: int) -> tuple[str, list[float]]:
    """The first so many words of the prose with needles between its sentences.

    Args:
        needles: Sentences to hide.
        aims: Depth aimed at, one for each [0..1); the nearest sentence start is taken.
        number: Words of prose; from its end on it begins again.

    Returns:
        The text, and the share of the words before each needle.
    """
    shipped = prose()
    rounds = number // len(shipped) + 1
    stream = (shipped * rounds)[:number]
    places = [_nearest(_starts(), len(shipped), number, aim) for aim in aims]
    text: list[str] = []
    last = 0
    for _, place, hidden in sorted(zip(aims, places, needles, strict=True)):
        text += [*stream[last:place], hidden, " "]
        last = place
    text += stream[last:]
    return "".join(text).rstrip(), [place / number if number else 0.0 for place in places]


def _nearest(starts: Sequence[int], period: int, number: int, aim: float) -> int:
    goal = aim * number
    rounds = int(goal) // period * period
    at = bisect_left(starts, goal - rounds)
    # The beginning of the next round is a start as well.
    near = [rounds + s for s in (*starts[max(at - 1, 0) : at + 1], period) if rounds + s <= number]
    return min(near, key=lambda place: abs(place - goal))


@cache
def _starts() -> tuple[int, ...]:
    # A full stop within a sentence ("per cent. advance") ends none.
    return tuple(i for i in sentence_starts(prose()) if i == 0 or _CAPITAL.match(prose()[i]))
