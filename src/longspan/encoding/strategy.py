"""What a strategy means for a model: its specification, its window, what reads what it drops."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from longspan import registry, spec
from longspan.card import StrategyCard
from longspan.errors import EncodeError, SpecError
from longspan.extension import plan_of
from longspan.reading import Strategy
from longspan.seams import anatomy
from longspan.twin import extended_twin


def takes_spans(strategy: Any) -> bool:
    """Whether spans of the caller have an effect; a strategy of one's own may read them however it likes."""
    return getattr(strategy, "chunks", "") == "spans" or not type(strategy).__module__.startswith("longspan.")


def check_spans(strategy: Strategy, spans: Any) -> None:
    """Refuse spans that would have no effect.

    Raises:
        EncodeError: The strategy makes its chunks in another way.
    """
    if spans is not None and not takes_spans(strategy):
        raise EncodeError(
            f"Spans were given, and {spec.short([strategy])} takes no notice of them.",
            "use \"late(chunks='spans')\" or \"long_late(chunks='spans')\", or leave them out",
        )


def as_strategy(strategy: str | Strategy | None) -> Strategy:
    """A strategy from its specification; an object with the verb as it is, truncation for None.

    Raises:
        SpecError: The text does not parse, or names several strategies.
        EncodeError: The object is no strategy.
    """
    if strategy is not None and not isinstance(strategy, str):
        # ``makes`` as well as the verb, which an open file has too; a class has both, but reads nothing.
        if isinstance(strategy, type) or not (hasattr(strategy, "read") and hasattr(strategy, "makes")):
            raise EncodeError(
                f"A {type(strategy).__name__} is no strategy, which has the verb read and says what it makes.",
                "give a specification such as 'chunk_mean(window=256)'",
            )
        return strategy
    made: tuple[Strategy, ...] = spec.parse(strategy or "truncate", StrategyCard)
    if len(made) > 1:
        raise SpecError(f"{strategy!r} names {len(made)} strategies; a text is read in one way.", "keep one")
    return made[0]


def chunked(strategy: Strategy) -> Strategy:
    """The strategy that reads whole what this one cuts, with the fields they share."""
    kind = registry.load(strategy.chunked, StrategyCard)
    shared = vars(strategy).keys() & {field.name for field in fields(kind)} - {"limit"}
    made: Strategy = kind(**{name: getattr(strategy, name) for name in shared})
    return made


def window_of(model: Any, strategy: Strategy) -> int:
    """Tokens that a window of the strategy holds, special ones included.

    Raises:
        EncodeError: The model has no positions for so many.
    """
    made, window = plan_of(model), strategy.window
    if window is None:
        window = made.geometry.window if made and strategy.reads == "native" else int(model.max_seq_length)
    table = anatomy.position_table(anatomy.transformer(model))
    room = table.module.num_embeddings - anatomy.pad_offset(table.module) if table else window
    if window > room:
        raise EncodeError(
            f"A window of {window} tokens is more than the {room} rows of the position table.",
            f"use at most {room}, or extend the model to {window}",
        )
    return window


def methods_of(model: Any, strategy: Any) -> list[Any]:
    """What a model is extended by, and by what a strategy would."""
    made, asked = plan_of(model), getattr(strategy, "method", "")
    return [*(made.methods if made else ()), *(spec.parse(asked) if asked and asked != "none" else ())]


def reading_longer(model: Any, strategy: Any, to: int) -> tuple[Any, Any]:
    """The model and the strategy that read texts which are too long: in chunks, or by a twin of ``to`` tokens.

    Args:
        model: A SentenceTransformer.
        strategy: What does not read them whole.
        to: Tokens of the twin, 0 for chunks.

    Raises:
        EncodeError: The strategy reads native windows, whatever the model's.
    """
    if not to:
        return model, chunked(strategy)
    if strategy.reads == "native":
        name = spec.short([strategy])
        raise EncodeError(f"A longer window does not make {name} read more.", "use on_overflow='chunk'")
    if hasattr(strategy, "to"):
        return model, replace(strategy, to=to)
    return extended_twin(model, to), replace(strategy, window=None)
