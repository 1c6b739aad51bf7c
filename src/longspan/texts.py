"""What callers hand over as texts: read by position whatever holds it, and told where there is nothing to read."""

from __future__ import annotations

import unicodedata
from collections.abc import KeysView, Mapping, Set
from operator import index
from typing import Any

from longspan.errors import EncodeError, LongspanError


def listed(given: Any, what: str = "texts", kind: type[LongspanError] = EncodeError) -> list[Any]:
    """What a caller gave as a list, by position, whatever holds it and whatever its index says.

    Lists, tuples, iterators, the views of a dict, a Series of pandas or polars, arrays of numpy and pyarrow, a column
    of datasets: all that has one dimension and an order. Items are not looked at.

    Args:
        given: What the caller gave.
        what: Its items, for the error.
        kind: The error to raise.

    Raises:
        LongspanError: It is one text, has no order, or holds more than one column.
    """
    name = type(given).__name__
    if isinstance(given, str):
        raise kind(f"One string was given, not a list of {what}.", "write [text]")
    shape = getattr(given, "shape", (0,))
    if isinstance(shape, tuple) and len(shape) != 1:
        sizes = " x ".join(map(str, shape)) or "one value"
        raise kind(f"A {name} of {sizes} is no list of {what}.", "give one column, such as table['text']")
    if isinstance(given, Mapping) or (isinstance(given, Set) and not isinstance(given, KeysView)):
        raise kind(
            f"A {name} does not say which of its {what} is the first.",
            "give a list, such as list(texts.values()) of a dict",
        )
    if isinstance(given, (bytes, bytearray, memoryview)) or not hasattr(type(given), "__iter__"):
        raise kind(f"A {name} is no list of {what}.", f"give a list of {what}")
    return [_plain(one) for one in given]


def spans_of(given: Any, texts: int) -> list[Any]:
    """What a caller gave as spans, one entry for each text, by position.

    Args:
        given: For each text its spans [characters], None where it has none; or None for no text at all.
        texts: How many texts there are.

    Returns:
        For each text a list of pairs of int, None, or the EncodeError that its entry deserves.

    Raises:
        EncodeError: They are not as many as the texts.
    """
    if given is None:
        return [None] * texts
    every = _rows(given)
    if len(every) != texts:
        raise EncodeError(f"{len(every)} lists of spans for {texts} texts.", "give one list, or None, a text")
    return [None if one is None else _pairs(one) for one in every]


def blank(text: str) -> bool:
    """Whether a text shows nothing: it is empty, or all of it is white space, control or formatting characters."""
    return all(character.isspace() or unicodedata.category(character) in ("Cc", "Cf") for character in text)


def _pairs(given: Any) -> Any:
    try:
        return [_pair(one) for one in _rows(given)]
    except (EncodeError, TypeError, ValueError):
        return EncodeError(
            f"Its spans are a {type(given).__name__} that holds something else than pairs of whole numbers.",
            "give [(0, 120), (120, 260)], or None where a text has no spans",
        )


def _rows(given: Any) -> list[Any]:
    """Spans, or the two ends of one, by position; an array may hold those of all texts."""
    return listed(given.tolist() if hasattr(given, "tolist") else given, "spans")


def _pair(given: Any) -> tuple[int, int]:
    start, end = _rows(given)
    if isinstance(start, bool) or isinstance(end, bool):
        raise TypeError("a truth value counts no characters")
    return index(start), index(end)


def _plain(item: Any) -> Any:
    """A value of Python where an array of Arrow has one of its own around it."""
    if not hasattr(item, "as_py"):
        return item
    try:
        return item.as_py()
    except UnicodeDecodeError:  # Arrow does not check what a string column holds
        return item
