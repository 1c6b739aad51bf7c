"""JSON from outside, read by one rule."""

from __future__ import annotations

import json
from typing import Any, NoReturn


def parse(text: bytes | str, *, finite: bool = True) -> Any:
    """What a JSON text says, where it says one thing.

    Args:
        text: UTF-8 with or without a byte order mark, or characters.
        finite: Refuse NaN and Infinity, which Python writes and no other reader takes.

    Raises:
        ValueError: It is no JSON, names a key twice, nests too deeply, or holds a number of thousands of digits.

    Example:
        >>> parse(b'{"window": 512}')
        {'window': 512}
    """
    constant = _refused if finite else float
    try:
        characters = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        return json.loads(characters, object_pairs_hook=_once, parse_constant=constant)
    except RecursionError:
        raise ValueError("it nests too deeply") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return found


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")
