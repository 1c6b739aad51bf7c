"""Laws of the torch engine over every architecture: packed equals padded equals alone."""

from __future__ import annotations

import pytest
import torch

from longspan.encoding.engines.torch_ import TorchEngine
from longspan.seams import packing
from tests.models import ALIBI, LEARNED, ROPE, build, states

# T5's class is an encoder and a decoder, which no row of ids alone can feed.
EVERY = {**LEARNED, **ROPE, **ALIBI}
PADDED = {"mpnet", *ALIBI}
"""Attention not on transformers' interface, with a bias for distances that ends at no row."""

LENGTHS = (5, 32, 11, 11, 20)


def rows():
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(5, 120, (length,), generator=generator).tolist() for length in LENGTHS]


every_architecture = pytest.mark.parametrize("architecture", EVERY)


@every_architecture
def test_the_probe_says_where_packing_holds(architecture) -> None:
    assert TorchEngine(build(architecture)).packs == (architecture not in PADDED)


@every_architecture
def test_states_are_the_models_own_for_each_row_alone(architecture) -> None:
    model = build(architecture)
    for row, found in zip(rows(), TorchEngine(model).states(rows()), strict=True):
        expected = states(model, torch.tensor([row]))[0]
        torch.testing.assert_close(found[: len(row)], expected, rtol=0, atol=1e-5)
        assert not found[len(row) :].any()


@every_architecture
def test_states_do_not_depend_on_the_neighbours(architecture) -> None:
    ours = TorchEngine(build(architecture))
    together = ours.states(rows())
    for place, row in enumerate(rows()):
        alone = ours.states([row])[0]
        assert (together[place, : len(row)] - alone).abs().max() <= 1e-6 * alone.abs().max()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [None, 1, 64, 2000])
@pytest.mark.parametrize("kv_heads", [1, 4])
def test_attention_within_rows_is_masked_attention(causal, window, kv_heads) -> None:
    lengths = [3, 700, 3, 3]
    total = sum(lengths)
    query, key, value = (torch.randn(1, heads, total, 8) for heads in (4, kv_heads, kv_heads))
    found = packing.within_rows(query, key, value, lengths, causal=causal, scaling=0.3, window=window)
    row = torch.repeat_interleave(torch.arange(4), torch.tensor(lengths))
    distance = torch.arange(total)[:, None] - torch.arange(total)
    seen = (row[:, None] == row) & (distance.abs() < (window or total))
    if causal:
        seen &= distance >= 0
    scores = (query @ key.transpose(-1, -2) * 0.3).masked_fill(~seen, -torch.inf)
    torch.testing.assert_close(found, (scores.softmax(-1) @ value).transpose(1, 2), rtol=1e-4, atol=1e-5)
