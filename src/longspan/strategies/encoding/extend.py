"""Extension: one forward pass over the longer window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from longspan.reading import Reading, Text, check, first_window

CARD = {
    "title": "One forward at the extended window",
    "source": "arXiv:2404.12096",
    "year": 2024,
    "authors": "Zhu et al.",
    "vectors": "one",
    "cost": "one window; attention grows with its square",
    "best_for": "one sentence anywhere in the document; one vector a document",
    "claim": "E5-Mistral rises from 64.4 to 75.3 on LongEmbed at 32k with NTK (Table 3)",
    "caution": "without training, a mean over thousands of tokens says less than the mean of chunks",
}


@dataclass(frozen=True)
class Extend:
    """One window from the start, as long as the extended model reads (Zhu et al. 2024).

    Args:
        to: Read by a twin of the model that is extended to so many tokens; None for a model that is extended already.
        method: Specification of the methods for ``to``, "" for the default of the model's encoding.
    """

    to: int | None = None
    method: str = ""
    window: ClassVar[None] = None
    top: ClassVar[int] = 1
    reads: ClassVar[str] = "whole"
    makes: ClassVar[str] = "windows"
    chunked: ClassVar[str] = "chunk_mean"

    def __post_init__(self) -> None:
        """Check the target."""
        check("extend", self.to)

    def read(self, text: Text, room: int) -> Reading:
        """The first ``room`` tokens."""
        windows = first_window(text.tokens, room)
        return Reading(windows, [(0, windows[0].end)])
