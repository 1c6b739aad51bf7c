"""Values from outside, such as a file's or a user's, held against what a dataclass field declares."""

from __future__ import annotations

import operator
import types
from dataclasses import fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from longspan.errors import LongspanError, shown

_SMALLEST, _LARGEST = 1e-30, 1e30
"""Numbers that arithmetic on positions takes to any power it needs; 0 as well."""
_WHOLE = 2**53
"""Whole numbers up to here are the same as float64, and their products with a small count fit int64."""


def fitted(value: Any, hint: Any) -> Any:
    """A value as a field of this type holds it: 3 as 3.0, a list as a tuple.

    Numbers must be finite, and neither so large nor so small that arithmetic leaves its range.

    Args:
        value: Anything.
        hint: A type, a union, a Literal, ``tuple[item, ...]`` or ``dict[str, Any]``.

    Raises:
        ValueError: It is of another type or out of range; the text says what is wanted.
    """
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for option in options:
        if fits(value, option):
            return float(value) if option is float else tuple(value) if get_origin(option) is tuple else value
    raise ValueError(" or ".join(word for option in options for word in _words(option)))


def fits(value: Any, option: Any) -> bool:
    """Whether a value is of one type, which is no union, and in range."""
    kind = get_origin(option) or option
    if kind is Literal:
        return type(value) in map(type, get_args(option)) and value in get_args(option)
    if kind in (int, float):
        return is_number(value) and (kind is float or isinstance(value, int))
    if kind is tuple:
        items = get_args(option)[:1]
        return isinstance(value, (tuple, list)) and all(fits(each, item) for item in items for each in value)
    if kind is dict:
        return isinstance(value, dict) and is_plain(value)
    return kind is Any or isinstance(value, kind)


def is_number(value: Any) -> bool:
    """Whether it is a number that can be computed with: no truth value, finite, neither huge nor next to 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= _WHOLE if isinstance(value, int) else value == 0 or _SMALLEST <= abs(value) <= _LARGEST


def whole(value: Any, name: str, kind: type[LongspanError], hint: str) -> int:
    """A whole number as int, whatever holds it, such as numpy's integers; no truth value.

    Args:
        value: Anything.
        name: What it is, the subject of the error's sentence.
        kind: The error to raise.
        hint: Its hint.

    Raises:
        LongspanError: It is no whole number.
    """
    if not isinstance(value, bool):
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise kind(f"{name} must be a whole number, not {shown(value)}.", hint)


def is_plain(value: Any, depth: int = 16) -> bool:
    """Whether it is JSON data of numbers in range, not nested deeper than anyone writes it."""
    if isinstance(value, dict):
        return depth > 0 and all(isinstance(key, str) and is_plain(each, depth - 1) for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return depth > 0 and all(is_plain(each, depth - 1) for each in value)
    return value is None or isinstance(value, (str, bool)) or is_number(value)


def declared(kind: type[Any]) -> dict[str, Any]:
    """The fields of a dataclass and their types."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _words(option: Any) -> list[str]:
    if get_origin(option) is Literal:
        return [repr(choice) for choice in get_args(option)]
    if get_origin(option) is tuple:
        return [f"tuple of {' or '.join(_words(get_args(option)[0]))}"]
    return ["none" if option is type(None) else str(getattr(get_origin(option) or option, "__name__", option))]
