"""Views of long documents: pieces at their true positions, so that few tokens cover many positions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from longspan.encoding.tokens import Frame
from longspan.errors import ConvertError
from longspan.training.corpus import Corpus

_PIECE = 252  # content tokens; a window of 254 and two halves of 128 with [CLS] and [SEP]


@dataclass(frozen=True, eq=False)
class Views:
    """Long documents as a student reads them while it is trained at length.

    A span of one document is drawn, its length log-uniformly and rounded to whole pieces. Where it exceeds the budget,
    as many pieces of it as fit are kept, each at its own positions: the skips of PoSE (Zhu et al. 2023) with the text
    that really stands at the positions.

    Attributes:
        corpus: Where they are cut out.
        frame: Special tokens around a text.
        shortest: Tokens of the shortest span.
        longest: Of the longest.
        budget: Tokens of text to read at most, but never fewer than two pieces.
        piece: Content tokens of a piece, ``piece_size``.
    """

    corpus: Corpus
    frame: Frame
    shortest: int
    longest: int
    budget: int
    piece: int

    @cached_property
    def sizes(self) -> np.ndarray:
        """Tokens of each document."""
        return np.diff(self.corpus.starts)

    def draw(self, draw: np.random.Generator) -> dict[str, torch.Tensor]:
        """One view: ``input_ids`` and ``position_ids`` ``[1, tokens]``."""
        sizes, piece = self.sizes, self.piece
        wanted = round(np.exp(draw.uniform(np.log(self.shortest), np.log(self.longest))) / piece)
        pieces = max(2, min(wanted, int(sizes.max()) // piece))
        document = int(draw.choice(np.flatnonzero(sizes >= pieces * piece)))
        start = int(self.corpus.starts[document] + draw.integers(sizes[document] - pieces * piece + 1))
        read = min(pieces, max(2, self.budget // piece))
        kept = np.sort(draw.choice(pieces, size=read, replace=False))
        places = (kept[:, None] * piece + np.arange(piece)).reshape(-1)
        before, after = (np.asarray(ends, np.int64) for ends in (self.frame.before, self.frame.after))
        ids = np.concatenate((before, self.corpus.tokens[start + places], after))
        front = len(before)
        positions = np.concatenate((np.arange(front), front + places, front + pieces * piece + np.arange(len(after))))
        return {
            name: torch.from_numpy(row.astype(np.int64))[None]
            for name, row in (("input_ids", ids), ("position_ids", positions))
        }


def piece_size(window: int, frame: Frame) -> int:
    """Content tokens of a piece: 252, or the largest even number that a teacher's window holds.

    A teacher reads a piece at once, and in halves.

    Raises:
        ConvertError: The window holds no two tokens.
    """
    if (room := window - len(frame.before) - len(frame.after)) < 2:
        raise ConvertError(
            f"A window of {window} tokens holds no two tokens of text.", "convert a model with a longer one"
        )
    return min(_PIECE, room // 2 * 2)


def check_length(longest: int, window: int) -> None:
    """Refuse to learn a length that is within the window.

    Raises:
        ConvertError: It is.
    """
    if longest <= window:
        raise ConvertError(
            f"{longest} tokens are not more than the window of {window}.", f"give a length above {window}, or none"
        )


def views(corpus: Corpus, frame: Frame, *, window: int, longest: int, budget: int) -> Views:
    """Views of spans from ``window`` to ``longest`` tokens, or to what the corpus's longest document has.

    Raises:
        ConvertError: The span is no longer than the window, no document is, or the window holds no piece.
    """
    check_length(longest, window)
    made = Views(corpus, frame, window, longest, budget, piece_size(window, frame))
    if (most := int(made.sizes.max())) < max(window, 2 * made.piece):
        raise ConvertError(
            f"The longest text has {most} tokens, so there is nothing to learn about {longest}.",
            "give texts that are longer than the window, or no length",
        )
    return made
