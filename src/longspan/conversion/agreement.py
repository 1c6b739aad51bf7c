"""How well a student agrees with its teacher on texts that it was not trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from longspan.encoding.pooling import Head
from longspan.training.passages import Passages
from longspan.training.teacher import Teacher, whole

_FORWARD = 2048  # tokens
_NEIGHBOURS = 128  # passages whose nearest neighbours are compared: among few, most find the same one by chance
_NEIGHBOUR_TOKENS = 64


@dataclass(frozen=True)
class Neighbours:
    """Whether a student's vectors lie in the same order as its teacher's.

    Attributes:
        share: Of the passages, those whose nearest one is the same for both.
        passages: How many were compared with each other.
        tokens: Of each.
    """

    share: float
    passages: int
    tokens: int


@dataclass(frozen=True)
class Agreement:
    """The teacher's unit vectors of held-out passages, to compare a student's with.

    Attributes:
        passages: Of each length in tokens, int64 ``[rows, length]``.
        wanted: The teacher's vectors of them ``[rows, dimension]``.
        teacher: Whose vectors they are.
        held_out: Where the passages are from.
        seed: Which they are.
    """

    passages: Mapping[int, Tensor]
    wanted: Mapping[int, Tensor]
    teacher: Teacher
    held_out: Passages
    seed: int

    @classmethod
    def of(cls, teacher: Teacher, held_out: Passages, lengths: Sequence[int], rows: int, seed: int) -> Agreement:
        """Read ``rows`` held-out passages of each length with the teacher, fewer where there are fewer."""
        drawn = {n: _draw(held_out, n, rows, seed) for n in lengths}
        wanted = {n: _vectors(teacher.model, teacher.head, ids) for n, ids in drawn.items()}
        return cls(drawn, wanted, teacher, held_out, seed)

    def and_at_length(self, lengths: Sequence[int], rows: int) -> Agreement:
        """With ``rows`` passages of each length beyond the teacher's window, and what it makes of their chunks.

        Lengths are rounded to whole pieces; those that no held-out text has are left out.
        """
        drawn, wanted, piece = dict(self.passages), dict(self.wanted), self.teacher.piece
        for length in lengths:
            fitting = self.held_out.around(length // piece * piece)
            if self.held_out.places(fitting):
                ids = drawn[length] = _draw(self.held_out, fitting, rows, self.seed).to(self.teacher.head.device)
                wanted[length] = torch.stack([self.teacher.at_length(row)[0] for row in ids])
        return replace(self, passages=drawn, wanted=wanted)

    def __call__(self, student: Any) -> dict[int, float]:
        """Mean cosine of the student's and the teacher's vectors, by length in tokens."""
        return {
            length: float((_vectors(student, self.teacher.head, ids) * self.wanted[length]).sum(-1).mean())
            for length, ids in self.passages.items()
        }

    def neighbours(self, student: Any) -> Neighbours:
        """How many of about 128 passages have the same nearest one for student and teacher."""
        tokens = min(_NEIGHBOUR_TOKENS, self.held_out.longest)
        ids, head = _draw(self.held_out, tokens, _NEIGHBOURS, self.seed), self.teacher.head
        same = _nearest(_vectors(student, head, ids)) == _nearest(_vectors(self.teacher.model, head, ids))
        return Neighbours(float(same.float().mean()), len(ids), tokens)


def _draw(held_out: Passages, length: int, rows: int, seed: int) -> Tensor:
    draw = np.random.default_rng((seed, length))
    return held_out.batch(length, min(rows, held_out.places(length)), draw)


@torch.no_grad()
def _vectors(model: Any, head: Head, ids: Tensor) -> Tensor:
    """Unit vectors ``[rows, dimension]`` of passages of one length, float32."""
    rows = max(1, _FORWARD // ids.shape[1])
    parts = [ids[at : at + rows].to(head.device) for at in range(0, len(ids), rows)]
    found = [head.pool_whole(model(**whole(part)).last_hidden_state) for part in parts]
    return normalize(torch.cat(found).float(), dim=-1)


def _nearest(vectors: Tensor) -> Tensor:
    return (vectors @ vectors.mT).fill_diagonal_(-2).argmax(-1)
