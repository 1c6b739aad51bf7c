"""The loss of a distillation: the student's token states, vectors and similarities beside the teacher's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

_VECTOR, _SIMILARITY = 4.0, 2.0


def distillation_loss(student: Sequence[Tensor], teacher: Sequence[Tensor], vectors: Tensor, wanted: Tensor) -> Tensor:
    """How far a student is from its teacher, unitless.

        sum_l (l / L)^2 |s_l - t_l|^2 / |t_l - mean t_l|^2  +  4 (1 - mean cos(v, w))  +  2 mean((v v^T - w w^T)^2)

    The first term gives every token of every layer a direction to go, the second is what is wanted, the third keeps
    a batch's neighbours in order. Layers count the more the nearer they are to the vector.

    Args:
        student: Token states of layers 1 to L, each ``[rows, tokens, hidden]``.
        teacher: The same of the teacher.
        vectors: The student's vectors ``[rows, dimension]``.
        wanted: The teacher's.

    Returns:
        A scalar, 0 where both are equal.
    """
    layers = len(student)
    tokens = sum(
        ((layer + 1) / layers) ** 2 * relative_error(ours, theirs)
        for layer, (ours, theirs) in enumerate(zip(student, teacher, strict=True))
    )
    ours, theirs = normalize(vectors.float(), dim=-1), normalize(wanted.float(), dim=-1)
    turned = 1 - cosine_similarity(ours, theirs).mean()
    similarity = (ours @ ours.mT - theirs @ theirs.mT).square().mean()
    return tokens + _VECTOR * turned + _SIMILARITY * similarity


def relative_error(ours: Tensor, theirs: Tensor) -> Tensor:
    """Squared error in units of the teacher's variance over tokens; float32 also where states are bfloat16."""
    ours, theirs = ours.float(), theirs.float()
    spread = (theirs - theirs.mean((0, 1), keepdim=True)).square().mean()
    return (ours - theirs).square().mean() / torch.clamp(spread, min=1e-12)
