"""Position kernels: what a head's scores owe to the distance of two tokens, and biases that put it back."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def score_by_offset(query: Tensor, key: Tensor, reach: int) -> Tensor:
    """Each head's mean score at each offset, ``K(o) = mean_i q_i . k_(i+o) / sqrt(head_dim)``.

    Args:
        query: Rotated queries ``[rows, heads, tokens, head_dim]``.
        key: Rotated keys, the same shape.
        reach: Largest offset, below the number of tokens [tokens].

    Returns:
        Float64 ``[heads, 2 reach + 1]``, offsets -reach to reach.
    """
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    offsets = range(-reach, reach + 1)
    return torch.stack([scores.diagonal(o, -2, -1).double().mean((0, -1)) for o in offsets], dim=-1)


def fit_kernel(missing: Tensor, inv_freq: Tensor, ridge: float) -> Tensor:
    """The waves that come closest to what a head's scores miss.

    Least squares with a penalty, ``min_z |missing - c - Re(sum_p z_p exp(-i w_p o))|^2 + ridge |z|^2``; the constant
    ``c`` is free since softmax does not see it.

    Args:
        missing: Scores that are missing at offsets -reach to reach, float64 ``[heads, 2 reach + 1]``.
        inv_freq: Frequencies to use [radians a token] ``[pairs]``.
        ridge: The penalty, above 0, which keeps large waves from cancelling each other.

    Returns:
        Amplitude and phase as complex numbers ``z [heads, pairs]``.
    """
    reach, pairs = missing.shape[-1] // 2, len(inv_freq)
    angle = torch.arange(-reach, reach + 1, dtype=torch.float64)[:, None] * inv_freq.double()
    waves = torch.cat((angle.cos(), angle.sin(), torch.ones(len(angle), 1, dtype=torch.float64)), dim=-1)
    penalty = torch.diag(torch.tensor([ridge] * 2 * pairs + [0.0], dtype=torch.float64))
    found = torch.linalg.solve(waves.mT @ waves + penalty, waves.mT @ missing.mT).mT
    return torch.complex(found[:, :pairs], found[:, pairs : 2 * pairs])


def wave_biases(waves: Tensor, head_dim: int) -> tuple[Tensor, Tensor]:
    """Biases of query and key whose rotated product is a sum of waves.

    Two biases of one rotary pair, read as complex numbers ``a`` and ``b``, add ``Re(conj(a) b exp(i w o)) /
    sqrt(head_dim)`` to the score of tokens ``o`` apart. With ``m = sqrt(sqrt(head_dim) |z|)``, ``a = m`` and
    ``b = m exp(-i arg z)`` share a wave's amplitude equally, so that neither meets the other side's content more
    than it must.

    Args:
        waves: ``z`` of the first pairs, the fastest ``[heads, pairs]``.
        head_dim: Channels of a head.

    Returns:
        What to add to the biases of queries and of keys, float64 ``[heads, head_dim]``.
    """
    heads, pairs = waves.shape
    strength = (math.sqrt(head_dim) * waves.abs()).sqrt()
    turned = torch.polar(strength, -waves.angle())
    query = torch.zeros(heads, head_dim, dtype=torch.float64)
    key = torch.zeros_like(query)
    second = slice(head_dim // 2, head_dim // 2 + pairs)
    query[:, :pairs], key[:, :pairs], key[:, second] = strength, turned.real, turned.imag
    return query, key
