"""Hostile texts of any size, and how the time of a rule grows with them."""

from __future__ import annotations

import time
from collections.abc import Callable

SIZE = 2_500
"""Characters of the smaller text, at first."""

QUICK = 0.001
"""Seconds for twice ``SIZE``, 200 ns a character, in which no square is done: that would be 40 ps a step."""

MOST = 2.5
"""How much longer a text of twice the size may take."""

UNITS = (
    *'.#"([ \n\rx1-`',
    "\r\n",
    " \n",
    ".' ",
    "a.",
    "a. ",
    "Mr. ",
    "A, B and ",
    "\u3002\u300d",
    "e\u0301",
    "\u200d\x00",
    "```\n",
    "# x\n",
    "a\n---\n",
    "word ",
    "1,",
    "the answer is ",
    '{"a": [',
)


def text(unit: str, size: int, before: str = "") -> str:
    """A unit over and over, in the second half where the first is another's, and at the end what no pattern wants."""
    if before:
        return before * (size // 2 // len(before)) + text(unit, size // 2)
    return unit * (size // len(unit)) + "\x00"


def linear(run: Callable[[str], object], make: Callable[[int], str], size: int = SIZE) -> bool:
    """Whether a rule takes at most 2.5 times the time for a text of twice the size.

    Time of this thread's work, the least of several runs; where it is too much, larger texts are tried, which tell
    a square from a busy machine.

    Args:
        run: Reads a text.
        make: A text of about so many characters.
        size: Characters of the smaller text, at first.
    """
    if seconds(run, make(2 * size)) < QUICK:
        return True
    for larger in (size, 2 * size, 4 * size):
        once, twice = least(run, make(larger)), least(run, make(2 * larger))
        if twice <= MOST * once:
            return True
        if once > _LONG:
            return False
    return False


_LONG = 0.1
"""Seconds that no noise makes of a millisecond."""


def least(run: Callable[[str], object], given: str) -> float:
    """The least time of three runs, of one where that is long."""
    found = seconds(run, given)
    return found if found > _LONG else min(found, seconds(run, given), seconds(run, given))


def seconds(run: Callable[[str], object], given: str) -> float:
    """Processor time of this thread."""
    start = time.thread_time()
    run(given)
    return time.thread_time() - start
