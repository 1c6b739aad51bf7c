"""MaxP: a vector for every window, and the best of them speak for the document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from longspan.reading import Reading, Text, check, full_windows

CARD = {
    "title": "MaxP (best chunks)",
    "source": "arXiv:1905.09217",
    "year": 2019,
    "authors": "Dai and Callan",
    "vectors": "several",
    "cost": "every token once; a vector for every window",
    "best_for": "questions that one passage answers; top=2 for questions to a document as a whole",
    "claim": "re-ranking by the best passage with BERT beats classical rankers on Robust04; no dense retrieval there",
    "caution": "as many vectors as windows, and an index that groups them by document",
    "aliases": ("maxp",),
}


@dataclass(frozen=True)
class ChunkMax:
    """A vector for every window; a document's score is the mean of its ``top`` best ones (Dai and Callan 2019).

    Args:
        window: Tokens of a window, special ones included; None for the model's native window.
        overlap: Tokens that neighbours share, at least.
        top: Vectors that a document's score is the mean of; 1 is MaxP.
    """

    window: int | None = None
    overlap: int = 0
    top: int = 1
    reads: ClassVar[str] = "native"
    makes: ClassVar[str] = "windows"
    chunked: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Check the numbers."""
        check("chunk_max", self.window, self.top)

    def read(self, text: Text, room: int) -> Reading:
        """Every token, the last window slid back to be full."""
        windows = full_windows(text.tokens, room, self.overlap)
        return Reading(windows, [(window.start, window.end) for window in windows])
