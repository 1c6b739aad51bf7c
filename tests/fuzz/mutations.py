"""Mutations of JSON data, of its text and of bytes, written once for all targets; functions of a random generator."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

Parent = Any  # a list or a dict, with one of its keys

_DEEP: Any = [0]
for _ in range(200):
    _DEEP = [_DEEP]
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3, 7, 100, 0.5, -0.0, 1.5, 1e-320, 1e-12, 1e12, 1e308),
    *(float("inf"), float("-inf"), float("nan"), 2**31, -(2**31), 2**53 + 1, 2**63, -(2**63), 3 * 10**9, 10**30),
    *(10**400, "", "x", "many", "512", "NaN", "\x00", "\ud800", "\u2028", "\x1b[31m", "' or \"", "../..", "é" * 300),
    *([], {}, [1], [None], ["x"], [[1, 2]], {"x": 1}, {"": None}, "A" * 5000, [0] * 500, _DEEP),
)
"""What stands in for anything: other types, ends of ranges, text that is no text, much of one thing."""
_SNIPPETS = (
    b"\xef\xbb\xbf",
    b"NaN",
    b"-Infinity",
    b"9" * 5000,
    b"[" * 10_000,
    b'{"a":' * 3000,
    b"\xff",
    b"\x00",
    b"\n",
)


def changed(data: Any, draw: random.Random) -> Any:
    """JSON data with one to three of its values, keys or items changed."""
    data = copy.deepcopy(data)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        places = list(_places(data))
        if not places:
            return draw.choice(VALUES)
        parent, key = draw.choice(places)
        draw.choice(_CHANGES)(parent, key, draw)
    return data


def written(data: Any, draw: random.Random) -> bytes:
    """JSON data as text, changed as data, as text, or both."""
    kind = draw.randrange(8)
    text = json.dumps(changed(data, draw) if kind < 6 else data, ensure_ascii=bool(draw.randrange(4))).encode(
        "utf-8", "surrogatepass"
    )
    if kind >= 5:
        text = draw.choice((_doubled_key, _with_snippet, blurred))(text, draw)
    return text


def blurred(data: bytes, draw: random.Random) -> bytes:
    """Bytes with some of them changed, moved, doubled or lost."""
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        data = draw.choice(_BLURS)(data, draw)
    return data


def _places(data: Any) -> Iterator[tuple[Parent, Any]]:
    keys = data.keys() if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
    for key in keys:
        yield data, key
        yield from _places(data[key])


def _replace(parent: Parent, key: Any, draw: random.Random) -> None:
    parent[key] = copy.deepcopy(draw.choice(VALUES))


def _remove(parent: Parent, key: Any, draw: random.Random) -> None:
    del parent[key]


def _rename(parent: Parent, key: Any, draw: random.Random) -> None:
    if isinstance(parent, dict):
        parent[draw.choice((f"{key}_", str(key).upper(), "", "x", "\u2028", "_attn_implementation"))] = parent.pop(key)
    else:
        parent.insert(key, copy.deepcopy(parent[key]))


def _exchange(parent: Parent, key: Any, draw: random.Random) -> None:
    other = draw.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
    parent[key], parent[other] = parent[other], parent[key]


def _number(parent: Parent, key: Any, draw: random.Random) -> None:
    value = parent[key]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        near = (
            -value,
            value + 1,
            value - 1,
            value * 2,
            value * 1000,
            value // 3 if isinstance(value, int) else value / 3,
        )
        parent[key] = draw.choice((*near, str(value)))
    elif isinstance(value, str):
        parent[key] = blurred(value.encode("utf-8", "surrogatepass"), draw).decode("utf-8", "replace")
    else:
        parent[key] = [value]


_CHANGES: tuple[Callable[[Parent, Any, random.Random], None], ...] = (
    *(_replace, _replace, _replace, _number, _number, _remove, _rename, _exchange),
)


def _doubled_key(text: bytes, draw: random.Random) -> bytes:
    places = [place for place in range(len(text)) if text[place : place + 1] == b"{"]
    place = draw.choice(places) + 1 if places else 0
    key = text[place:].split(b":", 1)[0][:60]
    value = json.dumps(draw.choice(VALUES)).encode()
    return text[:place] + key + b": " + value + b", " + text[place:]


def _with_snippet(text: bytes, draw: random.Random) -> bytes:
    place, snippet = draw.choice((0, draw.randrange(len(text) + 1))), draw.choice(_SNIPPETS)
    return text[:place] + snippet + text[place:]


def _flip(data: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(data) or 1)
    return data[:place] + bytes([draw.randrange(256)]) + data[place + 1 :]


def _cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data) + 1)] if draw.randrange(4) == 0 else _flip(data, draw)


def _lose(data: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(data) + 1)
    return data[:place] + data[place + draw.choice((1, 2, 8, 64)) :]


def _double(data: bytes, draw: random.Random) -> bytes:
    place, size = draw.randrange(len(data) + 1), draw.choice((1, 4, 32))
    return data[:place] + data[place : place + size] * draw.choice((2, 3, 100)) + data[place + size :]


def _swap(data: bytes, draw: random.Random) -> bytes:
    one, other = sorted(draw.randrange(len(data) + 1) for _ in range(2))
    return data[:one] + data[other : other + 4] + data[one + 4 : other] + data[one : one + 4] + data[other + 4 :]


def _wide(data: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(data) + 1)
    number = draw.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1))
    return data[:place] + number.to_bytes(8, "little") + data[place + 8 :]


_BLURS = (_flip, _flip, _flip, _cut, _lose, _double, _swap, _wide)
