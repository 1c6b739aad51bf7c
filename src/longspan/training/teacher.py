"""The teacher of a distillation: what a student's states and vectors are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from longspan.encoding.pooling import Head
from longspan.encoding.tokens import Frame
from longspan.training.objective import distillation_loss, relative_error
from longspan.training.targets import balanced_mean

_FORWARD = 2048  # tokens of a long text to read at once
_VECTOR, _TOKENS = 4.0, 0.5


@dataclass(frozen=True)
class Teacher:
    """An encoder to resemble; a text that exceeds its window it reads in chunks.

    Attributes:
        model: A transformers encoder; expected to be ``frozen``.
        head: What makes a vector of token states, the student's as well.
        frame: Special tokens around a text.
        piece: Content tokens of the chunks of a long text, even (``piece_size``); it is read in their halves as well.
        centre: Mean vector of texts at large ``[dimension]``, for targets at length; None without these.
    """

    model: Any
    head: Head
    frame: Frame
    piece: int
    centre: Tensor | None = None

    def loss(self, student: Any, batch: Mapping[str, Tensor]) -> Tensor:
        """How far a student is from it, a scalar, unitless.

        Args:
            student: A transformers encoder.
            batch: ``input_ids`` of passages ``[rows, tokens]``; with ``position_ids``, of one view of a long text.
                On the device of both models.
        """
        if "position_ids" in batch:
            return self._loss_at_length(student, batch["input_ids"], batch["position_ids"])
        read = {**whole(batch["input_ids"]), "output_hidden_states": True}
        with torch.no_grad():
            theirs = self.model(**read)
            wanted = self.head.pool_whole(theirs.last_hidden_state)
        ours = student(**read)
        vectors = self.head.pool_whole(ours.last_hidden_state)
        return distillation_loss(ours.hidden_states[1:], theirs.hidden_states[1:], vectors, wanted)

    def _loss_at_length(self, student: Any, ids: Tensor, positions: Tensor) -> Tensor:
        """Of the student's one vector and its token states from what the teacher makes of chunks.

        4 (1 - cos(v, target)) + 0.5 |s - t|^2 / |t - mean t|^2
        """
        target, states = self.at_length(ids[0])
        ours = student(**whole(ids), position_ids=positions).last_hidden_state
        turned = 1 - cosine_similarity(self.head.pool_whole(ours).float(), target[None]).mean()
        first, last = self._content(ids[0])
        return _VECTOR * turned + _TOKENS * relative_error(ours[:, first:last], states)

    @torch.no_grad()
    def at_length(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """What one forward over a long text should give.

        The vector is the sum of two ``balanced_mean``, of the text's pieces and of their halves.

        Args:
            ids: Whole pieces between special tokens ``[tokens]``.

        Returns:
            A unit vector ``[dimension]``, and the content's token states within the larger chunks
            ``[1, content, hidden]``.
        """
        first, last = self._content(ids)
        read = [
            self._chunks(ids[:first], ids[first:last].view(-1, size), ids[last:])
            for size in (self.piece, self.piece // 2)
        ]
        centre = 0.0 if self.centre is None else self.centre
        targets = [balanced_mean(normalize(self.head.pool_whole(states).float(), dim=-1), centre) for states in read]
        states = read[0][:, first : first + self.piece].flatten(0, 1)[None]
        return normalize(torch.stack(targets).sum(0), dim=0), states

    def _chunks(self, before: Tensor, chunks: Tensor, after: Tensor) -> Tensor:
        rows = len(chunks)
        framed = torch.cat((before.expand(rows, -1), chunks, after.expand(rows, -1)), dim=1)
        parts = torch.split(framed, max(1, _FORWARD // framed.shape[1]))
        return torch.cat([self.model(**whole(part)).last_hidden_state for part in parts])

    def _content(self, ids: Tensor) -> tuple[int, int]:
        return len(self.frame.before), len(ids) - len(self.frame.after)


def whole(ids: Tensor) -> dict[str, Tensor]:
    """Inputs of rows without padding."""
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
