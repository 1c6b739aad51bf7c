"""One seam alone, written into a model the way extend does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from longspan.seams.journal import Journal, own_configuration


def written(apply: Callable[..., None], model: Any, *given: Any, **options: Any) -> Callable[[], None]:
    """Apply a seam; returns the undo, which an exception has run already."""
    journal = Journal()
    try:
        own_configuration(model, journal)
        apply(model, journal, *given, **options)
    except BaseException:
        journal.undo()
        raise
    return journal.undo
