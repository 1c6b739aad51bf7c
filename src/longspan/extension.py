"""extend: write a plan into a model, take it back, or do both around a block."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from longspan import spec
from longspan.errors import PlanError, SeamError
from longspan.geometry import Geometry
from longspan.identity import identity
from longspan.inspection import inspect
from longspan.outcomes import recall
from longspan.planning import Methods, Plan, plan
from longspan.seams import anatomy, frequencies, limits, positions, queries, rotation, scale, slopes, table


class _Applied:
    """What was done to a model, kept on it, and the digests of the model before and after."""

    def __init__(self, made: Plan, undos: list[Callable[[], None]], digests: tuple[str, str] = ("", "")) -> None:
        self.plan = made
        self.undos = undos
        self.digests = digests

    def __deepcopy__(self, memo: dict[int, Any]) -> _Applied:
        return _Applied(self.plan, [], self.digests)  # the undos belong to the original

    def __reduce__(self) -> tuple[Any, ...]:
        return _Applied, (self.plan, [], self.digests)


def extend(
    model: Any,
    to: int | None = None,
    method: Methods | Plan = None,
    *,
    window: int | None = None,
    attention: str | None = None,
) -> Any:
    """Give a model a longer window, in place.

    Args:
        model: A SentenceTransformer or a transformers model.
        to: Target in tokens; not needed with a Plan.
        method: A specification ("interpolate + log_n"), a method, several, a Plan, None for the default, or "auto"
            for what ``automatic`` names.
        window: Trained length in tokens, where it is not what the model says.
        attention: How pairwise and length-dependent methods compute attention: ``eager``, ``sdpa`` or ``flex``.
            None: ``sdpa``, and ``eager`` for a model that bounds its logits or has attention sinks.

    Returns:
        The same object.

    Raises:
        PlanError: The methods do not fit, or the choice of attention would have no effect. The model is unchanged.
        SeamError: The plan cannot be written into this model. The model is unchanged.

    Example:
        >>> extend(model, to=4096, method="tile").encode(long_text)
    """
    if plan_of(model) is not None:
        raise PlanError("This model is already extended.", "call restore(model) first")
    if isinstance(method, Plan):
        made = method
        _check_same(inspect(model, window=made.geometry.window), made.geometry)
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
    before = identity(model)
    _apply(model, made, stored=False, attention=attention)
    try:
        _applied(model).digests = (before, identity(model))
    except BaseException:
        restore(model)
        raise
    return model


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
    if found := recall(identity(model), to):
        return found["method"], f"chosen by compare on {found.get('date')} as {found.get('why')}"
    geometry = inspect(model, window=window)
    rule = spec.short(plan(geometry, None, to).methods) or "none"
    return rule, f"the rule for {geometry.encoding} positions; `longspan compare` measures what is best"


def restore(model: Any) -> Any:
    """Take an extension back; outputs are bit-identical to those before it.

    Returns:
        The same object.

    Raises:
        SeamError: The model is not extended, or was loaded or copied extended.
    """
    owner = anatomy.transformer(model).base_model
    applied: _Applied | None = getattr(owner, anatomy.APPLIED, None)
    if applied is None or not applied.undos:
        raise SeamError(
            "There is nothing to take back: the model is not extended, or was loaded or copied in that state.",
            "load the original model",
        )
    for undo in reversed(applied.undos):
        undo()
    delattr(owner, anatomy.APPLIED)
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
    extend(model, to, method, window=window, attention=attention)
    try:
        yield model
    finally:
        restore(model)


def plan_of(model: Any) -> Plan | None:
    """The plan a model was extended by, None when it was not."""
    applied = _applied(model)
    return applied.plan if applied else None


def original_of(model: Any) -> str:
    """The digest of what was extended, "" where the model was changed since, or not extended here."""
    before, after = _applied(model).digests if _applied(model) else ("", "")
    return before if after and identity(model) == after else ""


def _applied(model: Any) -> Any:
    return getattr(getattr(anatomy.transformer(model), "base_model", None), anatomy.APPLIED, None)


def reapply(model: Any, made: Plan) -> None:
    """Add what a checkpoint of an extended model cannot hold: the length-dependent parts.

    Raises:
        SeamError: The plan cannot be written into this model.
    """
    _apply(model, made, stored=True)


def _check_same(found: Geometry, planned: Geometry) -> None:
    facts = ("architecture", "encoding", "role", "layers", "heads", "head_dim", "hidden", "pad_offset", "base")
    if wrong := [fact for fact in facts if getattr(found, fact) != getattr(planned, fact)]:
        told = ", ".join(f"{fact} {getattr(found, fact)} instead of {getattr(planned, fact)}" for fact in wrong)
        raise PlanError(f"The plan was made for another model: this one has {told}.", "plan for this model")


def _apply(model: Any, made: Plan, *, stored: bool, attention: str | None = None) -> None:
    inner = anatomy.transformer(model)
    undos: list[Callable[[], None]] = []
    first = made.frequencies.first if made.frequencies else 0
    try:
        if made.rope_parameters and made.frequencies and (not stored or first):
            undos.append(frequencies.apply(inner, made.rope_parameters, made.frequencies, made.geometry, made.length))
        if made.of("tables") and not stored:
            undos.append(table.apply(inner, made.table))
        if made.rewires_positions:
            undos.append(positions.apply(inner, made.position_ids))
        if made.scale_home == "queries" and not stored:
            undos.append(queries.apply(inner, made.constant_scale))
        if made.slopes is not None:
            by_length = made.slopes_at if made.slopes_by_length else None
            undos.append(slopes.apply(inner, made.slopes, made.length, by_length))
        if made.late:
            facts = made.geometry
            undos.append(
                rotation.apply(
                    inner,
                    made.ranges,
                    window=facts.window,
                    causal=facts.role == "decoder",
                    layer_type=facts.layer_type,
                    backend=attention,
                )
            )
        if made.scale_home == "attention":
            undos.append(scale.apply(inner, made.scale))
        if not stored:
            undos.append(limits.apply(model, made.length))
    except Exception:
        for undo in reversed(undos):
            undo()
        raise
    setattr(inner.base_model, anatomy.APPLIED, _Applied(made, [] if stored else undos))
