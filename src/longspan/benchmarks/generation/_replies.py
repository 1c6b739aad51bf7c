"""Reading a reply: the rules that several benchmarks judge by."""

from __future__ import annotations

import re
from collections.abc import Sequence

_INTEGER = re.compile(r"\d+")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def first_integer(reply: str) -> int | None:
    """The first run of digits in a reply, None where there is none (Mohtashami & Jaggi 2023; Pal et al. 2023)."""
    found = _INTEGER.search(reply)
    return integer(found[0]) if found else None


def integer(digits: str) -> int | None:
    """The number of a run of digits, with a sign or without; None for one longer than Python reads (4,300 digits)."""
    try:
        return int(digits)
    except ValueError:
        return None


def string_match_all(answers: Sequence[str], reply: str) -> float:
    """Share of the answers that occur in the reply, case ignored (Hsieh et al. 2024, RULER)."""
    return sum(answer.lower() in reply.lower() for answer in answers) / len(answers)


def first_uuids(reply: str, most: int) -> list[str]:
    """The first ``most`` UUIDs of a reply, in its order and in lower case."""
    return [found.lower() for found in _UUID.findall(reply)[:most]]
