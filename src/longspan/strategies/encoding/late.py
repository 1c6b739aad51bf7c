"""Late chunking: one forward, then a vector for every chunk from the states of its tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from longspan.reading import Reading, Text, check, first_window
from longspan.strategies.encoding._chunks import Chunks, check_size, chunk

CARD = {
    "title": "Late chunking",
    "source": "arXiv:2409.04701",
    "year": 2024,
    "authors": "Gunther et al.",
    "vectors": "several",
    "cost": "one window; a vector for every chunk",
    "best_for": "passages of documents that fit the window, each read in the light of the others",
    "claim": "nDCG@10 higher than that of naive chunking by 2.7 to 3.6 % relative, mean of four BEIR sets",
    "caution": "in a window extended without training it is worse than `long_late` in native windows",
    "aliases": ("late_chunking",),
}


@dataclass(frozen=True)
class Late:
    """Means of token states over chunks, after one forward over all of them (Gunther et al. 2024).

    The first chunk takes in the special tokens and the prompt in front, the last one those behind: one chunk
    over a whole text is the text's ordinary vector.

    Args:
        chunks: Fixed numbers of tokens, sentences, sections under Markdown headings, or spans of the caller.
        size: Tokens or sentences of a chunk (128 tokens or 5 sentences when None); of a section, tokens at most.
        window: Tokens of the forward, special ones included; None for all that the model reads.
        top: Vectors that a document's score is the mean of.
    """

    chunks: Chunks = "tokens"
    size: int | None = None
    window: int | None = None
    top: int = 1
    reads: ClassVar[str] = "whole"
    makes: ClassVar[str] = "spans"
    chunked: ClassVar[str] = "long_late"

    def __post_init__(self) -> None:
        """Check the numbers."""
        check("late", self.window, self.top)
        check_size("late", self.chunks, self.size)

    def read(self, text: Text, room: int) -> Reading:
        """The first ``room`` tokens, and the chunks within them."""
        windows = first_window(text.tokens, room)
        return Reading(windows, chunk(text, windows[-1].end, self.chunks, self.size))
