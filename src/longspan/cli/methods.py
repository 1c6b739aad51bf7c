"""longspan methods, longspan strategies, longspan benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer

from longspan import registry
from longspan.card import BenchmarkCard, MethodCard, StrategyCard
from longspan.cli.main import AsJson, say, say_json, verb

Name = Annotated[str | None, typer.Argument(help="One of them, with its parameters.")]


@verb
def methods(name: Name = None, as_json: AsJson = False) -> None:
    """List every method, or describe one."""
    facts = ("training", "cost", "native", "claim", "best_for", "caution")
    _tell(registry.methods(), MethodCard, name, facts, as_json)


@verb
def strategies(name: Name = None, as_json: AsJson = False) -> None:
    """List every way to read a long document, or describe one."""
    _tell(registry.strategies(), StrategyCard, name, ("vectors", "cost", "claim", "best_for", "caution"), as_json)


@verb
def benchmarks(name: Name = None, as_json: AsJson = False) -> None:
    """List every benchmark, or describe one."""
    facts = ("metrics", "scope", "diffusion", "licence", "claim", "caution")
    _tell(registry.benchmarks(), BenchmarkCard, name, facts, as_json)


def _tell(cards: Mapping[str, Any], kind: type[Any], name: str | None, facts: tuple[str, ...], as_json: bool) -> None:
    if name is not None:
        _describe(cards, kind, name, facts, as_json)
    elif as_json:
        say_json([asdict(card) for card in cards.values()])
    else:
        width = max(map(len, cards)) + 2
        for family in dict.fromkeys(card.family for card in cards.values()):
            say(f"{family}:")
            for card in cards.values():
                if card.family == family:
                    told = card.task if isinstance(card, BenchmarkCard) else card.best_for
                    say(f"  {card.name:<{width}}{told}  ({card.authors} {card.year})")


def _describe(cards: Mapping[str, Any], kind: type[Any], name: str, facts: tuple[str, ...], as_json: bool) -> None:
    component = registry.load(name, kind)
    card = cards[component.__module__.rsplit(".", 1)[-1]]
    if as_json:
        say_json({**asdict(card), "specification": repr(component())})
        return
    say(f"{card.title} ({card.authors} {card.year}, {card.source})\n")
    say(f"{(component.__doc__ or '').rstrip()}\n")
    for fact in facts:
        value = getattr(card, fact) or "-"
        say(f"{fact:<10}{', '.join(value) if isinstance(value, tuple) else value}")
    say(f"{'default':<10}{component()!r}")
