"""What a plan promises: what short inputs get, and what tools without longspan get."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from longspan.planning import Plan

ShortInputs = Literal["exact", "adaptive", "changed"]
_COMPARED = 2**25
"""Positions that are compared at most: all lengths of windows up to 5792 tokens, evenly spaced ones above."""


def beyond_stock(made: Plan) -> list[str]:
    """What of a plan stock tools, loading the saved checkpoint, do not apply."""
    parts = {
        "length-dependent positions": made.rewires_positions,
        "the distances of pairs": made.late and made.of("pairwise") is not None,
        "the length-dependent rotation": made.by_length,
        "the slopes": made.slopes is not None,
        "the factor on the logits": made.scale_home == "attention",
        "the untouched first positions": _keeps_first(made),
    }
    return [part for part, on in parts.items() if on]


def same_in_stock(made: Plan, length: int) -> bool:
    """Whether stock tools, loading the saved checkpoint, give the same vector at this length."""
    inside = length <= made.geometry.window
    if made.late and not (made.adaptive and inside):
        return False
    if made.slopes is not None and not (made.slopes_by_length and inside):
        return False
    if _keeps_first(made) or not torch.equal(made.position_ids(length), torch.arange(length)):
        return False
    return made.scale_home != "attention" or _unscaled(made, length)


def short_inputs(made: Plan) -> ShortInputs:
    """What happens to inputs within the trained window; ``Plan.short_inputs`` says what the words mean."""
    window = made.geometry.window
    new = made.frequencies_at(window) if made.by_length else made.frequencies
    trained = torch.tensor(made.geometry.inv_freq, dtype=torch.float64)
    if new is not None and (
        not torch.equal(new.inv_freq, trained) or new.attention_factor != made.geometry.attention_factor
    ):
        return "changed"
    unscaled = all(_unscaled(made, length) for length in {1, 2, window // 2, window} - {0})
    if not unscaled or (made.late and not made.adaptive):
        return "changed"
    if made.slopes is not None and not made.slopes_by_length:
        return "changed"
    if made.of("tables"):
        probe = torch.arange(window, dtype=torch.float64).unsqueeze(1)
        rows = made.table(probe)[:, 0]
        step = max(window**2 // _COMPARED, 1)
        if any(not torch.equal(rows[made.position_ids(n)], probe[:n, 0]) for n in range(window, 0, -step)):
            return "changed"
    return "adaptive" if made.rewires_positions or made.late or made.slopes is not None else "exact"


def _keeps_first(made: Plan) -> bool:
    return not made.by_length and made.frequencies is not None and made.frequencies.first > 0


def _unscaled(made: Plan, length: int) -> bool:
    factor = made.scale(torch.arange(length).unsqueeze(0), torch.tensor([[length]]))
    return bool((torch.as_tensor(factor) == 1).all())
