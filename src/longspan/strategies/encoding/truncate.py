"""Truncation: one window from the start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from longspan.reading import Reading, Text, check, first_window

CARD = {
    "title": "Truncation",
    "source": "arXiv:1908.10084",
    "year": 2019,
    "authors": "Reimers and Gurevych",
    "vectors": "one",
    "cost": "one window",
    "best_for": "documents that say at the start what they are about; the baseline to beat",
    "claim": "what sentence-transformers does with a long text; the paper has no long texts",
    "caution": "whatever stands behind the window does not exist",
}


@dataclass(frozen=True)
class Truncate:
    """One window from the start of the text.

    Args:
        window: Tokens read, special ones included; None for all that the model reads.
    """

    window: int | None = None
    top: ClassVar[int] = 1
    reads: ClassVar[str] = "whole"
    makes: ClassVar[str] = "windows"
    chunked: ClassVar[str] = "chunk_mean"

    def __post_init__(self) -> None:
        """Check the window."""
        check("truncate", self.window)

    def read(self, text: Text, room: int) -> Reading:
        """The first ``room`` tokens."""
        windows = first_window(text.tokens, room)
        return Reading(windows, [(0, windows[0].end)])
