"""Position kernels: how they are read off scores, fitted with waves, and made of biases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from transformers.models.jina_embeddings_v3.modeling_jina_embeddings_v3 import apply_rotary_pos_emb

from longspan.conversion.kernel import fit_kernel, score_by_offset, wave_biases


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _waves(z: torch.Tensor, inv_freq: torch.Tensor, reach: int) -> torch.Tensor:
    """``Re(sum_p z_p exp(-i w_p o))`` at each offset, as cosine and phase."""
    return torch.stack(
        [(z.abs() * torch.cos(z.angle() - inv_freq * o)).sum(-1) for o in range(-reach, reach + 1)], dim=-1
    )


@pytest.mark.parametrize(("length", "reach"), [(3, 1), (3, 2), (9, 4)])
def test_scores_by_offset_are_those_of_a_double_loop(length: int, reach: int) -> None:
    query, key = _random(2, 3, length, 4, seed=1), _random(2, 3, length, 4, seed=2)
    expected = np.zeros((3, 2 * reach + 1))
    for head in range(3):
        for offset in range(-reach, reach + 1):
            found = [
                float(query[row, head, i] @ key[row, head, i + offset]) / 2.0  # sqrt(head_dim)
                for row in range(2)
                for i in range(length)
                if 0 <= i + offset < length
            ]
            expected[head, offset + reach] = sum(found) / len(found)
    assert score_by_offset(query, key, reach).numpy() == pytest.approx(expected, abs=1e-12)
    assert score_by_offset(query.float(), key.float(), reach).dtype == torch.float64


def _frequencies(pairs: int, head_dim: int) -> torch.Tensor:
    return torch.tensor([10_000.0 ** (-2 * pair / head_dim) for pair in range(pairs)], dtype=torch.float64)


def test_a_fit_without_penalty_finds_the_waves_it_is_given() -> None:
    inv_freq = _frequencies(4, 16)
    z = torch.complex(_random(3, 4, seed=1), _random(3, 4, seed=2))
    missing = _waves(z, inv_freq, 24)
    for constant in (0.0, 7.0, -300.0):
        torch.testing.assert_close(fit_kernel(missing + constant, inv_freq, 1e-12), z, rtol=1e-6, atol=1e-6)


def test_a_penalty_shrinks_the_waves_and_ignores_the_constant() -> None:
    inv_freq = _frequencies(9, 32)
    missing = _random(3, 49, seed=3)
    sizes = [fit_kernel(missing, inv_freq, ridge).abs().square().sum() for ridge in (0.02, 2.0, 200.0)]
    assert sizes[0] > sizes[1] > sizes[2] > 0
    torch.testing.assert_close(fit_kernel(missing + 50, inv_freq, 2.0), fit_kernel(missing, inv_freq, 2.0))


@pytest.mark.parametrize(("reach", "pairs", "ridge"), [(24, 9, 2.0), (24, 1, 0.5), (1, 9, 2.0), (0, 2, 2.0)])
def test_a_fit_is_least_squares_with_rows_for_the_penalty(reach: int, pairs: int, ridge: float) -> None:
    inv_freq = _frequencies(pairs, 32)
    missing = _random(2, 2 * reach + 1, seed=4)
    phase = np.arange(-reach, reach + 1)[:, None] * inv_freq.numpy()
    columns = np.concatenate((np.cos(phase), np.sin(phase), np.ones((len(phase), 1))), axis=1)
    penalty = math.sqrt(ridge) * np.eye(2 * pairs, 2 * pairs + 1)
    for head in range(2):
        target = np.concatenate((missing[head].numpy(), np.zeros(2 * pairs)))
        best = np.linalg.lstsq(np.concatenate((columns, penalty)), target, rcond=None)[0]
        found = fit_kernel(missing, inv_freq.float().double(), ridge)[head].numpy()
        assert found == pytest.approx(best[:pairs] + 1j * best[pairs:-1], abs=1e-6)


@pytest.mark.parametrize(("head_dim", "pairs"), [(2, 1), (8, 2), (32, 9), (32, 16)])
def test_rotated_biases_are_the_waves(head_dim: int, pairs: int) -> None:
    z = 5 * torch.complex(_random(3, pairs, seed=1), _random(3, pairs, seed=2))
    z[0] = 0
    query, key = (bias[None, :, None].expand(2, 3, 20, head_dim) for bias in wave_biases(z, head_dim))
    angle = torch.arange(20).double()[:, None] * _frequencies(head_dim // 2, head_dim)
    turn = torch.cat((angle, angle), dim=-1)[None]
    rotated = apply_rotary_pos_emb(query, key, turn.cos(), turn.sin())
    expected = _waves(z, _frequencies(pairs, head_dim), 7)
    torch.testing.assert_close(score_by_offset(*rotated, 7), expected, rtol=1e-10, atol=1e-10)


def test_query_and_key_biases_are_equally_long() -> None:
    query, key = wave_biases(torch.complex(_random(3, 4, seed=1), _random(3, 4, seed=2)), 16)
    torch.testing.assert_close(query.square().sum(-1), key.square().sum(-1))
