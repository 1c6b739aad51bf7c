"""What was found out about a model and need not be found out again: the method that won."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from longspan.disk import replaced
from longspan.errors import BenchmarkError
from longspan.jsons import parse


def cache_folder() -> Path:
    """Where longspan keeps what it need not compute twice: LONGSPAN_CACHE, or the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("LONGSPAN_CACHE") or Path(home) / "longspan")


def remember(model: str, to: int, outcome: dict[str, Any]) -> Path:
    """Keep what a comparison chose.

    Args:
        model: ``identity`` of the model.
        to: Target length [tokens].
        outcome: At least ``method``, ``why`` and ``date``.

    Returns:
        The file it is kept in.

    Raises:
        BenchmarkError: It cannot be written.
    """
    path = _place(model, to)
    with replaced(path, BenchmarkError) as half:
        half.write_text(json.dumps(outcome, indent=2, ensure_ascii=False), encoding="utf-8")
    return path


def recall(model: str, to: int) -> dict[str, Any] | None:
    """What a comparison chose for this model and length, None where there was none."""
    try:
        found = parse(_place(model, to).read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("method"), str) else None


def _place(model: str, to: int) -> Path:
    return cache_folder() / "compare" / f"{model[:16]}-{to}.json"
