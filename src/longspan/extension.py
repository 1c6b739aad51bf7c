"""extend: write a plan into a model, take it back, or do both around a block."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from longspan import engines, spec
from longspan.checks import check_same, check_stored
from longspan.errors import InspectError, PlanError, SeamError
from longspan.identity import identity
from longspan.inspection import inspect, trained
from longspan.outcomes import recall
from longspan.planning import Methods, Plan, plan
from longspan.seams import anatomy, frequencies, limits, positions, queries, rotation, scale, slopes, table, trial
from longspan.seams.journal import Journal, keep_later_changes, own_configuration


class _Applied:
    """What was done to a model, kept on it.

    Attributes:
        plan: By which it was extended.
        had_engine_key: Whether the configuration told serving engines of dual chunk attention before.
        digests: Identities of the model before and after; "" for a model that was loaded extended.
        journal: Takes it back; None for a model that was loaded or copied extended.
    """

    def __init__(
        self, made: Plan, had_engine_key: bool, digests: tuple[str, str] = ("", ""), journal: Journal | None = None
    ) -> None:
        self.plan = made
        self.had_engine_key = had_engine_key
        self.digests = digests
        self.journal = journal

    def __deepcopy__(self, memo: dict[int, Any]) -> _Applied:
        return _Applied(self.plan, self.had_engine_key, self.digests)  # the journal belongs to the original

    def __reduce__(self) -> tuple[Any, ...]:
        return _Applied, (self.plan, self.had_engine_key, self.digests)


def extend(
    model: Any,
    to: int | None = None,
    method: Methods | Plan = None,
    *,
    window: int | None = None,
    attention: str | None = None,
) -> Any:
    """Give a model a longer window, in place.

    The plan stands in the model's configuration until ``restore``, so a checkpoint written by stock tools
    (``save_pretrained``, a Trainer, ``push_to_hub``) carries it and ``longspan.load`` restores it. Such a checkpoint
    is right in stock tools only where ``plan.native`` is true; they cannot warn, ``longspan.save`` does. The tokenizer
    of a bare transformers model is not at hand: raise its ``model_max_length``, or use ``longspan.save``.

    Args:
        model: A SentenceTransformer or a transformers model; the outermost one, since what holds the model may have
            the same configuration and would not be told.
        to: Target in tokens; not needed with a Plan.
        method: A specification ("interpolate + log_n"), a method, several, a Plan, None for the default, or "auto"
            for what ``automatic`` names.
        window: Trained length in tokens, where it is not what the model says.
        attention: How pairwise and length-dependent methods compute attention: ``eager``, ``sdpa`` or ``flex``.
            None: ``sdpa``, and ``eager`` for a model that bounds its logits or has attention sinks.

    Returns:
        The same object.

    Raises:
        PlanError: The methods do not fit, or the choice of attention would have no effect.
        SeamError: The plan cannot be written into this model, or it fails beyond its window all the same.

    After an exception of any class the model is as it was.

    Example:
        >>> extend(model, to=4096, method="tile").encode(long_text)
    """
    _check_plain(model)
    if isinstance(method, Plan):
        made = method
        check_same(inspect(model, window=made.geometry.window), made.geometry)
    elif to is None:
        raise PlanError("No target length was given.", "pass to=4096")
    else:
        if isinstance(method, str) and method.strip().lower() == "auto":
            method, why = automatic(model, to, window=window)
            logging.getLogger("longspan").info("method %s: %s", method, why)
        made = plan(inspect(model, window=window), method, to)
    if attention is not None and not made.late:
        raise PlanError(
            f"attention={attention!r} would have no effect: {spec.short(made.methods) or 'no method'} leaves attention "
            "to the model.",
            "leave attention out, or pass attn_implementation where the model is loaded",
        )
    return _apply(model, made, stored=False, attention=attention)


def automatic(model: Any, to: int, *, window: int | None = None) -> tuple[str, str]:
    """The method to take where none is named: what ``compare`` chose for this model and length, else its kind's rule.

    Args:
        model: A SentenceTransformer or a transformers model, not extended.
        to: Target in tokens.
        window: Trained length in tokens, where it is not what the model says.

    Returns:
        A specification, and in one clause where it comes from.

    Raises:
        PlanError: No method fits.
    """
    window = trained(window)
    if found := recall(identity(model, window=window), to):
        return found["method"], f"chosen by compare on {found.get('date')} as {found.get('why')}"
    geometry = inspect(model, window=window)
    rule = spec.short(plan(geometry, None, to).methods) or "none"
    return rule, f"the rule for {geometry.encoding} positions; `longspan compare` measures what is best"


def restore(model: Any) -> Any:
    """Take an extension back; outputs are bit-identical to those before it.

    An exception that comes in between is raised when all is taken back, or before anything is.

    Returns:
        The same object.

    Raises:
        SeamError: The model is not extended, or was loaded or copied extended.
    """
    applied = _applied(model)
    if applied is None or applied.journal is None:
        raise SeamError(
            "There is nothing to take back: the model is not extended, or was loaded or copied in that state.",
            "load the original model",
        )
    try:
        applied.journal.undo()
    except BaseException:
        applied.journal.undo()  # to its end: a model half extended is of no use
        raise
    return model


@contextmanager
def extended(
    model: Any,
    to: int | None = None,
    method: Methods | Plan = None,
    *,
    window: int | None = None,
    attention: str | None = None,
) -> Iterator[Any]:
    """``extend`` for a ``with`` block; restored at its end, also after an exception."""
    _check_plain(model)
    try:
        try:
            yield extend(model, to, method, window=window, attention=attention)
        finally:
            if _applied(model):
                restore(model)
    finally:
        if _applied(model):  # an exception came before restore had begun
            restore(model)


def plan_of(model: Any) -> Plan | None:
    """The plan a model was extended by, None when it was not."""
    applied = _applied(model)
    return applied.plan if applied else None


def original_of(model: Any) -> str:
    """The identity of what was extended, "" where the model was changed since, or not extended here."""
    applied = _applied(model)
    before, after = applied.digests if applied else ("", "")
    return before if after and _digest(model) == after else ""


def replaced_engine_key(model: Any) -> bool:
    """Whether an extended model's configuration told serving engines of dual chunk attention before it was extended."""
    applied = _applied(model)
    return applied is not None and applied.had_engine_key


def reapply(model: Any, made: Plan) -> None:
    """Add what a checkpoint of an extended model cannot hold: the length-dependent parts.

    Raises:
        PlanError: The plan was made for another model, or to another length than the model was extended to.
        SeamError: The plan cannot be written into this model.
    """
    check_stored(inspect(model), made, anatomy.text_config(anatomy.transformer(model)))
    _apply(model, made, stored=True)


def _applied(model: Any) -> _Applied | None:
    found: _Applied | None = getattr(getattr(anatomy.transformer(model), "base_model", None), anatomy.APPLIED, None)
    return found


def _check_plain(model: Any) -> None:
    if applied := _applied(model):
        source = applied.plan.geometry.source or "which was loaded before"
        hint = "call restore(model) first" if applied.journal else f"extend the original, {source}"
        raise PlanError(f"This model is already extended to {applied.plan.length} tokens.", hint)


def _apply(model: Any, made: Plan, *, stored: bool, attention: str | None = None) -> Any:
    journal = Journal()
    try:
        inner = anatomy.transformer(model)
        had_key = getattr(anatomy.text_config(inner), engines.ENGINE_KEY, None) is not None
        before = "" if stored else _digest(model)
        applied = _Applied(made, had_key, journal=None if stored else journal)
        journal.put(inner.base_model.__dict__, anatomy.APPLIED, applied)
        owned = own_configuration(inner, journal)
        _write(inner, journal, made, stored=stored, attention=attention)
        if not stored:
            limits.apply(model, journal, made.length)
            trial.beyond(inner, journal, made.geometry.window, made.length, counted=made.late)
            keep_later_changes(owned, journal)
            applied.digests = before, _digest(model)
        return model
    except BaseException:
        journal.undo()
        raise


def _digest(model: Any) -> str:
    try:
        return identity(model)
    except InspectError:  # weights are offloaded: such a model can be extended, and not be told from another one
        return ""


def _write(inner: Any, journal: Journal, made: Plan, *, stored: bool, attention: str | None) -> None:
    facts = made.geometry
    first = made.frequencies.first if made.frequencies else 0
    if made.rope_parameters and made.frequencies and (not stored or first):
        frequencies.apply(inner, journal, made.rope_parameters, made.frequencies, facts, made.length)
    if made.of("tables") and not stored:
        table.apply(inner, journal, made.table)
    if made.rewires_positions:
        positions.apply(inner, journal, made.position_ids)
    if made.scale_home == "queries" and not stored:
        queries.apply(inner, journal, made.constant_scale)
    if made.slopes is not None:
        slopes.apply(inner, journal, made.slopes, made.length, made.slopes_at if made.slopes_by_length else None)
    if made.late:
        rotation.apply(
            inner,
            journal,
            made.ranges,
            window=facts.window,
            causal=facts.role == "decoder",
            layer_type=facts.layer_type,
            backend=attention,
        )
    if made.scale_home == "attention":
        scale.apply(inner, journal, made.scale)
    _tell(anatomy.text_config(inner), made)


def _tell(config: Any, made: Plan) -> None:
    """Write the plan where every save carries it: for longspan, and for serving engines as they read it."""
    setattr(config, anatomy.PLAN_KEY, made.to_json())
    if (told := engines.dual_chunk(made)) is not None:
        setattr(config, engines.ENGINE_KEY, told)
    elif hasattr(config, engines.ENGINE_KEY):  # the original's, which is of the short model
        delattr(config, engines.ENGINE_KEY)
