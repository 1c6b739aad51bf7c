"""Passages of a corpus: what a distillation reads, cut out by lot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from longspan.encoding.tokens import Frame
from longspan.errors import ConvertError
from longspan.training.corpus import Corpus

_ENDS = (".", "!", "?", "\u3002", "\uff01", "\uff1f", "\u0964", "\u061f")  # Latin, Chinese, Hindi, Arabic
_TOKENS_A_SENTENCE = 200  # with fewer marked ends than one in so many tokens, passages begin anywhere
_STARTS = 4_000_000  # where they begin anywhere, about so many places are enough


@dataclass(frozen=True, eq=False)
class Passages:
    """Batches of passages of one length each, so that nothing is padded.

    The length of a batch is drawn log-uniformly: every octave from ``shortest`` to ``longest`` is read in equally
    many tokens. A passage begins at a sentence's start and lies within one document.

    Attributes:
        corpus: Where they are cut out.
        starts: Where a passage may begin [tokens of the corpus], those with the most room last.
        room: Tokens from each start to the end of its document, ascending.
        frame: Special tokens around a passage.
        shortest: Tokens of the shortest passage, special ones included.
        longest: Of the longest.
        budget: Tokens of a batch.
    """

    corpus: Corpus
    starts: np.ndarray
    room: np.ndarray
    frame: Frame
    shortest: int
    longest: int
    budget: int

    def draw(self, draw: np.random.Generator) -> dict[str, torch.Tensor]:
        """One batch: ``input_ids [rows, length]``."""
        length = round(np.exp(draw.uniform(np.log(self.shortest), np.log(self.longest))))
        return {"input_ids": self.batch(length, max(1, self.budget // length), draw)}

    def around(self, content: int) -> int:
        """Tokens of a passage of so much content, special ones included."""
        return content + self._special

    def places(self, length: int) -> int:
        """How many starts leave room for a passage of ``length`` tokens, special ones included."""
        return len(self.room) - int(np.searchsorted(self.room, length - self._special))

    def batch(self, length: int, rows: int, draw: np.random.Generator) -> torch.Tensor:
        """Passages of one length, int64 ``[rows, length]``; none twice where the corpus has enough of them.

        Raises:
            ConvertError: No document is so long.
        """
        if not (places := self.places(length)):
            raise ConvertError(
                f"No text has a passage of {length} tokens; the longest text has {self.room[-1]}.", "give longer texts"
            )
        first = self.starts[-1 - draw.choice(places, rows, replace=places < rows)]
        ids = self.corpus.tokens[first[:, None] + np.arange(length - self._special)]
        before, after = (
            np.tile(np.asarray(side, ids.dtype), (rows, 1)) for side in (self.frame.before, self.frame.after)
        )
        return torch.from_numpy(np.concatenate((before, ids, after), axis=1).astype(np.int64))

    @property
    def _special(self) -> int:
        return len(self.frame.before) + len(self.frame.after)


def passages(corpus: Corpus, tokenizer: Any, frame: Frame, *, longest: int, budget: int, shortest: int = 8) -> Passages:
    """Passages of ``shortest`` to ``longest`` tokens; of no more than the corpus's longest document has.

    Args:
        corpus: Where they are cut out.
        tokenizer: Of the corpus; tells where sentences end.
        frame: Special tokens around a passage.
        longest: Tokens of the longest passage, special ones included.
        budget: Tokens of a batch.
        shortest: Tokens of the shortest passage.

    Raises:
        ConvertError: No document has ``shortest`` tokens.
    """
    special = len(frame.before) + len(frame.after)
    most = int(np.diff(corpus.starts).max()) + special
    if most < shortest:
        raise ConvertError(
            f"The longest text has {most - special} tokens, too few for one sentence.", "give texts of whole sentences"
        )
    starts = _sentence_starts(corpus, tokenizer)
    room = corpus.starts[np.searchsorted(corpus.starts, starts, side="right")] - starts
    # Sorted by room, the starts that are valid for a length are the last ones: a batch costs no search for them.
    order = np.argsort(room, kind="stable")
    longest = min(longest, most)
    return Passages(corpus, starts[order], room[order], frame, min(shortest, longest), longest, budget)


def _sentence_starts(corpus: Corpus, tokenizer: Any) -> np.ndarray:
    known = [i for i in tokenizer.convert_tokens_to_ids(list(_ENDS)) if i is not None and i != tokenizer.unk_token_id]
    behind = np.flatnonzero(np.isin(corpus.tokens[:-1], known)) + 1
    if len(behind) * _TOKENS_A_SENTENCE < len(corpus.tokens):
        behind = np.arange(0, len(corpus.tokens), -(-len(corpus.tokens) // _STARTS))
    return np.union1d(behind, corpus.starts[:-1])
