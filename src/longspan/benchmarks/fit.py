"""Growing a synthetic prompt until it fills a number of tokens."""

from __future__ import annotations

from collections.abc import Callable

from longspan.benchmarks.tasks import Count
from longspan.errors import BenchmarkError

_FIRST, _AHEAD = 16, 16


def fit(build: Callable[[int], str], room: int, count: Count, least: int = 0, guess: int | None = None) -> int:
    """The largest number of units whose prompt has at most ``room`` tokens.

    Tokens grow almost evenly with units, so each trial stands on the line through the nearest prompts known to be
    short enough and too long; every third halves the interval, which bounds the trials where growth is uneven.

    Args:
        build: Units, ``least`` or more, to a prompt; a unit more should not make it shorter.
        room: Tokens there are for the prompt.
        count: Tokens of a text; slow, so it is called as rarely as possible.
        least: The fewest units that make a prompt.
        guess: Where to begin, such as the units of a prompt much like this one; None without an idea.

    Returns:
        n with count(build(n)) <= room < count(build(n + 1)).

    Raises:
        BenchmarkError: The prompt of ``least`` units has more tokens than the room.

    Example:
        >>> fit(lambda units: "word " * units, room=7, count=lambda text: len(text.split()))
        7
    """
    step = _FIRST if guess is None else 1
    low = least if guess is None else max(guess, least)
    below = count(build(low))
    high, above = low, below
    if below > room and low > least:
        low, below = least, count(build(least))
    if below > room:
        raise BenchmarkError(
            f"The smallest prompt has {below} tokens, and there is room for {room}.",
            f"a length that is greater by {below - room} or more",
        )
    while above <= room:
        high = low + step
        above = count(build(high))
        if above <= room:
            # A few units may not be like the rest: no step is more than 16 times the one before.
            ahead = step * (room - below) // (above - below) if above > below else _AHEAD * step
            step = min(max(ahead - step, 1), _AHEAD * step)
            low, below = high, above
    trial = 0
    while high - low > 1:
        line = low + (room - below) * (high - low) // (above - below)
        middle = (low + high) // 2 if trial % 3 == 2 else min(max(line, low + 1), high - 1)
        tokens = count(build(middle))
        if tokens > room:
            high, above = middle, tokens
        else:
            low, below = middle, tokens
        trial += 1
    return low
