"""What a plan refuses, and what it offers instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from longspan import registry, spec
from longspan.errors import PlanError, shown
from longspan.families import ENCODINGS, family_of
from longspan.geometry import MAX_FACTOR, MAX_LENGTH, MAX_ROWS, Geometry
from longspan.values import is_number, whole

if TYPE_CHECKING:
    from longspan.planning import Plan


def check_length(geometry: Geometry, given: object) -> int:
    """Refuse a target that is no length, or not one of this model.

    Returns:
        The target [tokens].

    Raises:
        PlanError: It is no whole number of tokens, below the window, or out of reach.
    """
    length = whole(given, "The target in tokens", PlanError, "write to=4096")
    if not is_number(length):
        raise PlanError(f"A target of {shown(length)} tokens is out of reach.", "write to=4096")
    if length < geometry.window:
        raise PlanError(
            f"The target of {length} tokens is below the trained window of {geometry.window}.",
            f"ask for more than {geometry.window}; to read less, set the pipeline's max_seq_length",
        )
    if length > MAX_FACTOR * geometry.window:
        raise PlanError(
            f"The target of {length} tokens is {length / geometry.window:g} times the window of {geometry.window}.",
            f"ask for at most {MAX_FACTOR * geometry.window}",
        )
    most, what = (MAX_ROWS, "rows") if geometry.encoding == "learned" else (MAX_LENGTH, "tokens")
    if length > most:
        raise PlanError(f"A target of {length} {what} is out of reach.", f"ask for at most {most}")
    return length


SHAPE = ("architecture", "role", "layers", "heads", "head_dim", "hidden", "pad_offset")
"""Facts that no extension changes."""


def check_same(found: Geometry, planned: Geometry, facts: Sequence[str] = (*SHAPE, "encoding", "base")) -> None:
    """Refuse a plan that was made for another model.

    Raises:
        PlanError: The models differ in one of the facts.
    """
    if wrong := [fact for fact in facts if getattr(found, fact) != getattr(planned, fact)]:
        told = ", ".join(f"{fact} {getattr(found, fact)} instead of {getattr(planned, fact)}" for fact in wrong)
        raise PlanError(f"The plan was made for another model: this one has {told}.", "plan for this model")


def check_stored(found: Geometry, made: Plan, config: Any) -> None:
    """Refuse a stored plan that is not the one its checkpoint was extended by, as far as its sizes and maps tell.

    Args:
        found: What ``inspect`` reads of the checkpoint's model.
        made: The plan it carries.
        config: The configuration of the model's text part.

    Raises:
        PlanError: The plan was made for another model, or to another length.
    """
    scaled = ("scalable_queries",) if made.constant_scale != 1 else ()  # whether the factor is in the weights
    check_same(found, made.geometry, (*SHAPE, "layer_type", *scaled))
    limit = getattr(config, "max_position_embeddings", None)
    wrong = ""
    if found.encoding == "learned" and found.window != made.length:
        wrong = f"{found.window} rows of positions"
    elif isinstance(limit, int) and limit < made.length:
        wrong = f"max_position_embeddings={limit}"
    elif made.frequencies and not _turns_by(found, made):
        wrong = "another rotation map"
    if wrong:
        raise PlanError(
            f"The stored plan is to {made.length} tokens by {spec.short(made.methods) or 'no method'}, "
            f"and its checkpoint has {wrong}.",
            "undo what was edited in config.json, or extend the original again",
        )


def _turns_by(found: Geometry, made: Plan) -> bool:
    """Whether a model has the map that an extension by this plan leaves in it."""
    left = made.frequencies if made.rope_parameters else None
    wanted = torch.tensor(made.geometry.inv_freq, dtype=torch.float64) if left is None else left.inv_freq
    factor = made.geometry.attention_factor if left is None else left.attention_factor
    got = torch.tensor(found.inv_freq, dtype=torch.float64)
    same = got.shape == wanted.shape and torch.allclose(got, wanted, rtol=1e-5, atol=1e-12)
    return same and abs(found.attention_factor - factor) <= 1e-6


def check_model(geometry: Geometry) -> None:
    """Refuse a model whose positions cannot be extended.

    Raises:
        PlanError: It is extended already, has no window, never looks past it, or switches maps by itself.
    """
    if geometry.extended:
        raise PlanError(
            f"This model is already extended to {geometry.extended.get('length')} tokens "
            f"by {geometry.extended.get('methods')}.",
            f"extend the original, {geometry.extended.get('geometry', {}).get('source') or 'or call restore first'}",
        )
    if geometry.window < 2:
        raise PlanError("A window of 1 token has no distances to extend.", "give the trained length as window")
    if geometry.reach is not None and geometry.reach <= geometry.window:
        raise PlanError(
            f"No attention layer looks back further than {geometry.reach} tokens, so no distance leaves the window.",
            "such a model reads any length as it is",
        )
    parameters = geometry.rope_parameters
    two_maps = geometry.rope_type == "longrope" and parameters.get("short_factor") != parameters.get("long_factor")
    if geometry.rope_type == "dynamic" or two_maps:
        raise PlanError(
            f"The model already switches its rotation by length (rope_type {geometry.rope_type}).",
            "set rope_type to default in its config.json and extend from the original window",
        )


def _or_convert(made: Plan) -> str:
    """What makes an encoder with a table take any method."""
    learned = made.geometry.encoding == "learned" and made.geometry.role == "encoder"
    return "; longspan convert gives BERT-family encoders rotary positions" if learned else ""


def _kind(geometry: Geometry) -> str:
    return "none that longspan knows" if geometry.encoding == "none" else f"{geometry.encoding} ones"


def check_methods(made: Plan) -> None:
    """Refuse methods that do not fit the model, the length or one another.

    Raises:
        PlanError: They do not fit.
    """
    geometry = made.geometry
    owners: dict[str, object] = {}
    for method in made.methods:
        family = family_of(method)
        if family in owners:
            raise PlanError(
                f"{owners[family]!r} and {method!r} both write the {family} seam.", "keep one method of a family"
            )
        owners[family] = method
        reach = getattr(method, "reach", None)
        if reach and made.length > (furthest := reach(geometry, made.length)):
            raise PlanError(
                f"{spec.short([method])} reaches {furthest} tokens from a window of {geometry.window}, "
                f"not {made.length}.",
                f"ask for at most {furthest}, or change its parameters",
            )
        if geometry.encoding not in ENCODINGS[family]:
            fitting = [name for name, verb in ENCODINGS.items() if geometry.encoding in verb]
            names = [card.name for card in registry.methods().values() if card.family in fitting]
            raise PlanError(
                f"{spec.short([method])} needs {' or '.join(ENCODINGS[family])} positions; "
                f"this {geometry.architecture} has {_kind(geometry)}.",
                (f"these apply: {', '.join(names)}" if names else "no method here applies to it") + _or_convert(made),
            )
    if geometry.encoding == "learned" and made.length > geometry.window and "tables" not in owners:
        raise PlanError(
            f"No method gives positions {geometry.window} to {made.length - 1} a row of the table.",
            f"add one of: {', '.join(c.name for c in registry.methods().values() if c.family == 'tables')}",
        )
    if geometry.role == "decoder" and made.rewires_positions:
        raise PlanError(
            f"{spec.short(made.methods)} gives a token another position once the sequence grows, "
            "but its cached keys keep the old one.",
            "on a decoder use tile, interpolate(anchors=false) or grouped(adaptive=false)",
        )
    if "pairwise" in owners and made.factor > 1 and made.frequencies and made.frequencies.first:
        raise PlanError(
            f"{spec.short([owners['frequencies']])} keeps the first {made.frequencies.first} positions, and "
            f"{spec.short([owners['pairwise']])} gives a position another value in every range.",
            "leave first at 0",
        )
    # Methods may refuse the model as well: a role, a base, a count of factors, a size.
    made.scale(torch.ones(1, 1), torch.ones(1, 1))
    if made.late:
        made.ranges(torch.arange(1), torch.arange(1), 1)
    if "slopes" in owners:
        made.slopes_at(made.length)
    new, trained = made.frequencies, torch.tensor(geometry.inv_freq, dtype=torch.float64)
    if new and "frequencies" in owners and made.factor > 1 and torch.equal(new.inv_freq, trained):
        raise PlanError(
            f"{spec.short([owners['frequencies']])} leaves the rotation of this {geometry.architecture} as it is "
            f"at {made.length} tokens.",
            "leave it out, or change its parameters",
        )
