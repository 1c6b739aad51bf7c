"""Checks that the pairwise methods share."""

from __future__ import annotations

from longspan.errors import PlanError


def check_counts(method: str, **counts: int | None) -> None:
    """Refuse counts of tokens below 1; None stands for a default.

    Raises:
        PlanError: A count is below 1.
    """
    if any(count is not None and count < 1 for count in counts.values()):
        given = ", ".join(f"{name}={count}" for name, count in counts.items())
        raise PlanError(f"{method}({given}) needs counts of at least 1.", "give counts of tokens, or leave them out")


def near_border(method: str, near: int | None, window: int) -> int:
    """ReRoPE's w for a model: as given, else an eighth of the window, as released (512 of 4096) [tokens].

    Raises:
        PlanError: It is not below the window.
    """
    border = near or max(window // 8, 1)
    if border >= window:
        raise PlanError(
            f"{method}(near={border}) leaves nothing of the window of {window} for far keys.",
            f"give less than {window}",
        )
    return border
