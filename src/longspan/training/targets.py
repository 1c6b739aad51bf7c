"""The vector a long document should have: made of a teacher's vectors of its chunks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

RIDGE = 5.0


def balanced_mean(chunks: Tensor, centre: Tensor | float, ridge: float = RIDGE) -> Tensor:
    """A vector that is about equally near to every chunk, where the mean is nearest to what is said most often.

    Generalised max pooling (Murray and Perronnin 2014, equation 11) of what chunks differ in from texts at large:

        r = R^T (R R^T + ridge I)^-1 1,  R = rows c_i - mu
        v = normalise(mu + mean_i |c_i - mu| r / |r|)

    A large ridge gives the mean of the chunks, 0 the same cosine to each. One chunk gives that chunk.

    Args:
        chunks: Unit vectors ``[chunks, dimension]``.
        centre: Mean vector of chunks of other texts, ``mu [dimension]``, on the device of the chunks; or 0.
        ridge: How much repetition counts.

    Returns:
        A unit vector ``[dimension]``.
    """
    # On the CPU, which has float64; not every accelerator does.
    apart = (chunks - centre).cpu().double()
    gram = apart @ apart.mT + ridge * torch.eye(len(apart), dtype=torch.float64)
    direction = apart.mT @ torch.linalg.solve(gram, torch.ones(len(apart), dtype=torch.float64))
    away = apart.norm(dim=-1).mean() * normalize(direction, dim=0)
    return normalize(torch.as_tensor(centre).cpu() + away, dim=0).to(chunks)
