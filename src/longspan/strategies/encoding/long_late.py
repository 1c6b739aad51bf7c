"""Long late chunking: token states from overlapping windows, then a vector for every chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from longspan.reading import Reading, Text, check, full_windows
from longspan.strategies.encoding._chunks import Chunks, check_size, chunk

CARD = {
    "title": "Long late chunking",
    "source": "arXiv:2409.04701",
    "year": 2024,
    "authors": "Gunther et al.",
    "vectors": "several",
    "cost": "every token once and the overlaps twice; a vector for every chunk",
    "best_for": "passages of documents of any length, by windows of the size the model was trained on",
    "claim": "late chunking for documents beyond the window; no headline of its own",
    "caution": "a chunk knows its window, not the whole document",
    "aliases": ("long_late_chunking",),
}


@dataclass(frozen=True)
class LongLate:
    """Late chunking over windows that overlap (Gunther et al. 2024).

    Every window has the special tokens and the prompt, and is full: the last one is slid back. A token's
    state comes from the first window that reads it.

    Args:
        chunks: Fixed numbers of tokens, sentences, sections under Markdown headings, or spans of the caller.
        size: Tokens or sentences of a chunk (128 tokens or 5 sentences when None); of a section, tokens at most.
        window: Tokens of a window, special ones included; None for the model's native window.
        overlap: Tokens that neighbours share, at least; None for an eighth of the window.
        top: Vectors that a document's score is the mean of.
    """

    chunks: Chunks = "tokens"
    size: int | None = None
    window: int | None = None
    overlap: int | None = None
    top: int = 1
    reads: ClassVar[str] = "native"
    makes: ClassVar[str] = "spans"
    chunked: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Check the numbers."""
        check("long_late", self.window, self.top)
        check_size("long_late", self.chunks, self.size)

    def read(self, text: Text, room: int) -> Reading:
        """Every token, and the chunks of the whole text."""
        overlap = room // 8 if self.overlap is None else self.overlap
        return Reading(full_windows(text.tokens, room, overlap), chunk(text, text.tokens, self.chunks, self.size))
