"""Finds every component by walking folders, and loads one by name.

A component is one file in ``methods/<family>/``, ``strategies/<family>/`` or ``benchmarks/``: its name is the
file's name, its card the literal ``CARD``, and its class the dataclass of the same name
(case and underscores ignored). There is no list to update.
"""

from __future__ import annotations

import difflib
import importlib
from functools import cache
from pathlib import Path
from typing import Any

from longspan.card import BenchmarkCard, Card, MethodCard, StrategyCard, read_card
from longspan.errors import CardError, SpecError

_PACKAGE = Path(__file__).parent
_KINDS: dict[str, type[Card]] = {kind.room: kind for kind in (MethodCard, BenchmarkCard, StrategyCard)}


def methods() -> dict[str, MethodCard]:
    """Cards of every method, by name, without importing any of them."""
    return {card.name: card for card in _cards("methods") if isinstance(card, MethodCard)}


def benchmarks() -> dict[str, BenchmarkCard]:
    """Cards of every benchmark, by name, without importing any of them."""
    return {card.name: card for card in _cards("benchmarks") if isinstance(card, BenchmarkCard)}


def strategies() -> dict[str, StrategyCard]:
    """Cards of every strategy, by name, without importing any of them."""
    return {card.name: card for card in _cards("strategies") if isinstance(card, StrategyCard)}


def load(name: str, kind: type[Card]) -> type[Any]:
    """Import the class of a component.

    Args:
        name: Name or alias; case, dashes and underscores are ignored.
        kind: The card whose room is looked in.

    Raises:
        SpecError: No component has that name.
        CardError: The file holds no class of its own name.
    """
    names = {plain(alias): card for card in _cards(kind.room) for alias in (card.name, *card.aliases)}
    card = names.get(plain(name))
    if card is None:
        close = difflib.get_close_matches(plain(name), names, n=1, cutoff=0.5)
        known = ", ".join(sorted({card.name for card in names.values()}))
        nearest = f"did you mean {names[close[0]].name}? " if close else ""
        raise SpecError(f"There is no {kind.noun} named {name!r}.", f"{nearest}known: {known}")
    family = "" if card.family == kind.room else f".{card.family}"
    module = importlib.import_module(f"longspan.{kind.room}{family}.{card.name}")
    for value in vars(module).values():
        if (
            isinstance(value, type)
            and value.__module__ == module.__name__
            and plain(value.__name__) == plain(card.name)
        ):
            return value
    raise CardError(f"{card.name}.py holds no class named like the file.", "spell the class as in the paper")


def plain(name: str) -> str:
    """Lower case without dashes and underscores, the form names are compared in."""
    return name.lower().replace("-", "").replace("_", "")


@cache
def _cards(room: str) -> tuple[Card, ...]:
    # A component file is one that writes a CARD; helpers of the room have none.
    paths = sorted((_PACKAGE / room).rglob("[!_]*.py"))
    return tuple(read_card(path, _KINDS[room]) for path in paths if "\nCARD = " in path.read_text(encoding="utf-8"))
