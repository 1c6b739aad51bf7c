"""Slopes: their published formula, and that a model's bias becomes the one built from the new slopes."""

from __future__ import annotations

import math
import sys
from dataclasses import replace

import pytest
import torch
from transformers.models.bloom import modeling_bloom
from transformers.models.mpt import modeling_mpt

from longspan.methods.slopes.alibi_interpolation import AlibiInterpolation
from longspan.seams import slopes as seam
from tests.laws import cases
from tests.laws.cases import LONG, WINDOW, fresh
from tests.laws.test_slopes import by_length, encoder
from tests.models import states, tokens
from tests.written import written

CLOSE = {"rtol": 1e-4, "atol": 1e-4}
SIX_HEADS = {
    "bloom": {"n_head": 6, "hidden_size": 48},
    "mpt": {"n_heads": 6, "d_model": 48},
    "falcon": {"num_attention_heads": 6, "hidden_size": 48},
}


def _published(heads: int) -> list[float]:
    """Press et al.'s recursion over powers of two."""
    if math.log2(heads).is_integer():
        start = 2 ** (-(2 ** -(math.log2(heads) - 3)))
        return [start**head for head in range(1, heads + 1)]
    lower = 2 ** math.floor(math.log2(heads))
    return _published(lower) + _published(2 * lower)[0::2][: heads - lower]


@pytest.mark.parametrize("factor", [1.0, 1.5, 8.0])
@pytest.mark.parametrize("heads", [1, 2, 3, 4, 6, 8, 12, 16, 20, 32, 40, 64, 71, 112])
def test_slopes_are_their_formula_divided(heads: int, factor: float) -> None:
    got = AlibiInterpolation().slopes(replace(cases.learned(heads=heads), encoding="alibi"), factor)
    wanted = torch.tensor(_published(heads), dtype=torch.float64) / factor
    torch.testing.assert_close(got, wanted, rtol=1e-12, atol=0)


@pytest.mark.parametrize("heads", [4, 6, 12, 32, 71])
def test_slopes_are_those_of_transformers(heads: int) -> None:
    got = AlibiInterpolation().slopes(replace(cases.learned(heads=heads), encoding="alibi"), 1.0).float()
    torch.testing.assert_close(got, modeling_bloom._get_alibi_slopes(heads, torch.device("cpu")), rtol=1e-5, atol=0)
    torch.testing.assert_close(got, -modeling_mpt.build_mpt_alibi_tensor(heads, 2)[:, 0, 0], rtol=1e-5, atol=0)


@pytest.fixture
def divide_slopes(monkeypatch):
    """Lets transformers itself build the bias of other slopes."""

    def divide(architecture: str, divisors: torch.Tensor) -> None:
        module = sys.modules[f"transformers.models.{architecture}.modeling_{architecture}"]
        if architecture == "bloom":
            trained = modeling_bloom._get_alibi_slopes
            monkeypatch.setattr(module, "_get_alibi_slopes", lambda heads, device: trained(heads, device) / divisors)
        elif architecture == "mpt":
            slopes = torch.tensor(_published(len(divisors))) / divisors
            monkeypatch.setattr(
                module,
                "build_mpt_alibi_tensor",
                lambda heads, length, *given: slopes[:, None, None] * torch.arange(1 - length, 1),
            )
        else:
            slopes = (torch.tensor(_published(len(divisors))) / divisors).bfloat16()

            def build(mask, heads, dtype):
                place = (mask.cumsum(-1) - 1) * mask
                return (slopes[:, None] * place[:, None]).reshape(-1, 1, mask.shape[1]).to(dtype)

            monkeypatch.setattr(module, "build_alibi_tensor", build)

    return divide


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("heads", [4, 6])
@pytest.mark.parametrize(
    ("architecture", "attention"),
    [("bloom", "eager"), ("mpt", "eager"), ("falcon", "eager"), ("falcon", "sdpa")],  # falcon alone has a choice
)
def test_a_power_of_two_is_bit_for_bit_the_bias_of_divided_slopes(
    architecture: str, attention: str, heads: int, padded: bool, divide_slopes
) -> None:
    changes = SIX_HEADS[architecture] if heads == 6 else {}
    ours, theirs = fresh(architecture, **changes), fresh(architecture, **changes)
    for model in (ours, theirs):
        model.config._attn_implementation = attention
    ids, mask = tokens(2, LONG), torch.ones(2, LONG, dtype=torch.long)
    mask[1, : 40 * padded] = 0
    divisors = 2.0 ** torch.arange(1, heads + 1)  # another one for each head
    written(seam.apply, ours, 1 / divisors, LONG)
    got = states(ours, ids, mask)
    if architecture == "mpt":
        theirs.config.max_seq_len = LONG
    before = states(theirs, ids, mask)
    divide_slopes(architecture, divisors)
    wanted = states(theirs, ids, mask)
    torch.testing.assert_close(got, wanted, rtol=0, atol=0)
    assert float((before - wanted).abs().max()) > 1e-3


@pytest.mark.parametrize("factor", [1.7, 3.0, LONG / WINDOW])
@pytest.mark.parametrize("architecture", ["bloom", "mpt"])  # falcon rounds every bias to bfloat16
def test_any_factor_is_the_bias_of_divided_slopes(architecture: str, factor: float, divide_slopes) -> None:
    ours, theirs = fresh(architecture), fresh(architecture)
    written(seam.apply, ours, torch.full((4,), 1 / factor, dtype=torch.float64), LONG)
    got = states(ours, tokens(2, LONG))
    if architecture == "mpt":
        theirs.config.max_seq_len = LONG
    divide_slopes(architecture, torch.full((4,), factor))
    torch.testing.assert_close(got, states(theirs, tokens(2, LONG)), **CLOSE)


@pytest.mark.parametrize("as_buffer", [True, False])
@pytest.mark.parametrize("factor", [2.0, 4.0, 3.0, LONG / WINDOW])
@pytest.mark.parametrize("length", [1, WINDOW, LONG, LONG + 20])
def test_an_encoder_has_the_bias_of_divided_slopes(as_buffer: bool, factor: float, length: int) -> None:
    ours, theirs = encoder(as_buffer), encoder(as_buffer, factor)
    written(seam.apply, ours, torch.full((4,), 1 / factor, dtype=torch.float64), LONG)
    assert ours.encoder.alibi.shape == (1, 4, LONG, LONG)
    torch.testing.assert_close(states(ours, tokens(2, length)), states(theirs, tokens(2, length)), **CLOSE)
    place = torch.arange(ours.encoder.alibi.shape[-1], dtype=torch.float64)
    wanted = -torch.tensor(_published(4), dtype=torch.float64)[:, None, None] / factor * (place[:, None] - place).abs()
    assert torch.equal(ours.encoder.alibi[0], wanted.float()) or factor not in (2.0, 4.0)
    torch.testing.assert_close(ours.encoder.alibi[0].double(), wanted, rtol=1e-6, atol=0)


@pytest.mark.parametrize("as_buffer", [True, False])
@pytest.mark.parametrize("length", [9, WINDOW, WINDOW + 1, 70, LONG, LONG + 20])
def test_by_length_divides_by_the_inputs_own_length_over_the_window(as_buffer: bool, length: int) -> None:
    ours, theirs = encoder(as_buffer), encoder(as_buffer, max(1.0, length / WINDOW))
    written(seam.apply, ours, torch.full((4,), 0.01), LONG, by_length=by_length)
    torch.testing.assert_close(states(ours, tokens(2, length)), states(theirs, tokens(2, length)), **CLOSE)
