"""A plan in words and numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from longspan import spec
from longspan.promises import beyond_stock

if TYPE_CHECKING:
    from longspan.planning import Plan


def describe(made: Plan) -> str:
    """What changes, what it costs and where it comes from, as aligned text."""
    geometry = made.geometry
    rows = {
        "length": f"{geometry.window} -> {made.length} tokens ({made.factor:g}x)",
        "methods": spec.short(made.methods) or "none: positions beyond the window are used untrained",
        "short inputs": made.short_inputs,
        "stock tools": "same vectors at every length" if made.native else _without(made),
        "position data": f"{made.position_bytes:,} bytes",
    }
    if geometry.role == "decoder":
        rows["KV cache"] = f"{geometry.cache_bytes(made.length):,} bytes a sequence at {made.length} tokens"
    rows["attention"] = f"{made.factor**2:g}x the score pairs of {geometry.window} tokens"
    for card in made.cards:
        rows.setdefault("training", card.training)
        if card.training == "required":
            rows["training"] = f"required by {card.name}: expect losses without it"
        rows[f"source {card.name}" if len(made.methods) > 1 else "source"] = (
            f"{card.authors} {card.year}, {card.source}"
        )
    width = max(map(len, rows)) + 2
    return "\n".join(f"{name:<{width}}{value}" for name, value in rows.items())


def _without(made: Plan) -> str:
    return f"load it without {' and '.join(beyond_stock(made))}; longspan.load restores all"
