"""longspan methods."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from longspan import registry
from longspan.cli.main import AsJson, say, say_json, verb


@verb
def methods(
    name: Annotated[str | None, typer.Argument(help="One method, with its parameters.")] = None,
    as_json: AsJson = False,
) -> None:
    """List every method, or describe one."""
    cards = registry.methods()
    if name is not None:
        _describe(name, as_json)
    elif as_json:
        say_json([asdict(card) for card in cards.values()])
    else:
        width = max(map(len, cards)) + 2
        for family in dict.fromkeys(card.family for card in cards.values()):
            say(f"{family}:")
            for card in cards.values():
                if card.family == family:
                    say(f"  {card.name:<{width}}{card.best_for}  ({card.authors} {card.year})")


def _describe(name: str, as_json: bool) -> None:
    from longspan.card import MethodCard

    component = registry.load(name, MethodCard)
    card = registry.methods()[component.__module__.rsplit(".", 1)[-1]]
    if as_json:
        say_json({**asdict(card), "specification": repr(component())})
        return
    say(f"{card.title} ({card.authors} {card.year}, {card.source})\n")
    say(f"{(component.__doc__ or '').rstrip()}\n")
    for fact in ("training", "cost", "native", "claim", "best_for", "caution"):
        say(f"{fact:<10}{getattr(card, fact) or '-'}")
    say(f"{'default':<10}{component()!r}")
