"""Every rotation map, written again pair by pair from the paper or the released code."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import pytest
import torch

from longspan import registry
from longspan.spec import parse
from tests.laws import cases

SHAPES = [(8, 1e4, 512), (64, 1e4, 4096), (128, 5e5, 8192), (32, 160_000.0, 2048), (4, 1e4, 32)]
FACTORS = (2.0, 3.17, 8.0, 32.0)


def _wavelength(theta: float) -> float:
    return 2 * math.pi / theta


def _pi(theta: float, c: int, d: int, b: float, window: int, s: float) -> float:
    return theta / s


def _ntk(theta: float, c: int, d: int, b: float, window: int, s: float) -> float:
    return (b * s ** (d / (d - 2))) ** (-2 * c / d)


def _abf(theta: float, c: int, d: int, b: float, window: int, s: float) -> float:
    return 1e7 ** (-2 * c / d)


def _by_parts(theta: float, c: int, d: int, b: float, window: int, s: float) -> float:
    rotations, alpha, beta = window / _wavelength(theta), 1, 32
    if rotations < alpha:
        gamma = 0.0
    elif rotations > beta:
        gamma = 1.0
    else:
        gamma = (rotations - alpha) / (beta - alpha)
    return (1 - gamma) * theta / s + gamma * theta


def _correction(rotations: float, d: int, b: float, window: int) -> float:
    return d * math.log(window / (rotations * 2 * math.pi)) / (2 * math.log(b))


def _yarn_mask(c: int, d: int, b: float, window: int, fast: float = 32, slow: float = 1, whole: bool = True) -> float:
    low, high = _correction(fast, d, b, window), _correction(slow, d, b, window)
    if whole:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, d - 1)
    if low == high:
        high += 0.001
    return 1 - min(max((c - low) / (high - low), 0), 1)


def _yarn(theta: float, c: int, d: int, b: float, window: int, s: float) -> float:
    mask = _yarn_mask(c, d, b, window)
    return theta / s * (1 - mask) + theta * mask


def _yarn_of_gpt_oss(theta: float, c: int, d: int, b: float, window: int, s: float) -> float:
    mask = _yarn_mask(c, d, b, window, fast=16, slow=2, whole=False)
    return theta / s * (1 - mask) + theta * mask


def _longrope(theta: float, c: int, d: int, b: float, window: int, s: float) -> float:
    mask = _yarn_mask(c, d, b, window)
    return theta / (s * (1 - mask) + mask)


def _llama3(theta: float, c: int, d: int, b: float, window: int, s: float) -> float:
    low, high, wavelength = 1, 4, _wavelength(theta)
    if wavelength < window / high:
        return theta
    if wavelength > window / low:
        return theta / s
    smooth = (window / wavelength - low) / (high - low)
    return (1 - smooth) * theta / s + smooth * theta


def _power(theta: float, c: int, d: int, b: float, window: int, s: float) -> float:
    return theta * (1 - c / (d / 2)) ** 0.5


def _truncated(theta: float, c: int, d: int, b: float, window: int, s: float) -> float:
    if theta >= 2 * math.pi / window:
        return theta
    return 2 * math.pi / (16 * window) if theta >= 2 * math.pi / (8 * window) else 0.0


FORMULAS: dict[str, Callable[..., float]] = {
    "pi": _pi,
    "ntk": _ntk,
    "abf(base=1e7)": _abf,
    "ntk_by_parts": _by_parts,
    "ntk_by_parts(ramp='dimensions')": _yarn,
    "yarn": _yarn,
    "yarn(beta_fast=16, beta_slow=2, truncate=false)": _yarn_of_gpt_oss,
    "longrope": _longrope,
    "llama3": _llama3,
    "giraffe_power": _power,
    "giraffe_truncated": _truncated,
}
MAGNITUDES: dict[str, Callable[[float, int], float]] = {
    "yarn": lambda s, window: 0.1 * math.log(s) + 1,
    "yarn(beta_fast=16, beta_slow=2, truncate=false)": lambda s, window: 0.1 * math.log(s) + 1,
    "longrope": lambda s, window: math.sqrt(1 + math.log(s) / math.log(window)),
    "longrope(magnitude='yarn')": lambda s, window: 0.1 * math.log(s) + 1,
    "longrope(magnitude='none')": lambda s, window: 1.0,
}


def test_every_registered_map_has_its_formula_here() -> None:
    written = {registry.plain(type(parse(spec)[0]).__name__) for spec in FORMULAS}
    # Those of the maps that follow an input's own length are in test_dynamic_frequencies.
    maps = [card.name for card in registry.methods().values() if card.family == "frequencies"]
    assert written == {registry.plain(name) for name in maps if not getattr(parse(name)[0], "by_length", False)}


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("spec", FORMULAS)
def test_a_map_is_its_formula(spec: str, shape: tuple[int, float, int], factor: float) -> None:
    dim, base, window = shape
    geometry = cases.rotary(dim, base, window)
    wanted = [FORMULAS[spec](base ** (-2 * c / dim), c, dim, base, window, factor) for c in range(dim // 2)]
    new = parse(spec)[0].frequencies(geometry, factor, round(window * factor))
    torch.testing.assert_close(new.inv_freq, torch.tensor(wanted, dtype=torch.float64), rtol=1e-10, atol=0)


@pytest.mark.parametrize("spec", [*FORMULAS, *MAGNITUDES])
def test_a_magnitude_is_its_formula(spec: str) -> None:
    for factor, window in product(FACTORS, (512, 4096)):
        new = parse(spec)[0].frequencies(cases.rotary(window=window), factor, round(window * factor))
        wanted = MAGNITUDES.get(spec, lambda s, window: 1.0)(factor, window)
        assert new.attention_factor == pytest.approx(wanted, rel=1e-12)


def test_longrope_divides_each_pair_by_its_own_factor() -> None:
    factors = (1.0, 1.5, 3.0, 8.0)
    geometry = cases.rotary(8)
    new = parse(f"longrope(factors={factors}, first=4)")[0].frequencies(geometry, 8.0, 8 * geometry.window)
    wanted = [theta / factor for theta, factor in zip(geometry.inv_freq, factors, strict=True)]
    assert new.inv_freq.tolist() == pytest.approx(wanted, rel=1e-12)
    assert new.first == 4


def test_ntk_with_a_factor_of_its_own_ignores_the_ratio_of_lengths() -> None:
    geometry = cases.rotary()
    own = parse("ntk(factor=10)")[0].frequencies(geometry, 8.0, 8 * geometry.window)
    ten = parse("ntk")[0].frequencies(geometry, 10.0, 10 * geometry.window)
    assert torch.equal(own.inv_freq, ten.inv_freq)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_ntk_by_parts_over_dimensions_is_yarn_without_its_temperature(shape: tuple[int, float, int]) -> None:
    geometry = cases.rotary(*shape)
    parts, yarn = (
        parse(spec)[0].frequencies(geometry, 8.0, 8 * geometry.window)
        for spec in ("ntk_by_parts(ramp='dimensions')", "yarn")
    )
    assert torch.equal(parts.inv_freq, yarn.inv_freq)
    assert parts.attention_factor == 1 < yarn.attention_factor


def test_the_two_ramps_of_ntk_by_parts_differ_by_half_somewhere() -> None:
    geometry = cases.rotary(64, 1e4, 2048)
    paper, released = (
        parse(f"ntk_by_parts(ramp={ramp!r})")[0].frequencies(geometry, 8.0, 8 * geometry.window).inv_freq
        for ramp in ("rotations", "dimensions")
    )
    assert 0.4 < float((1 - paper / released).abs().max()) < 0.6


def test_the_map_of_llama3_is_the_papers_ramp_with_other_ends() -> None:
    geometry = cases.rotary(128, 5e5, 8192)
    llama3, parts = (
        parse(spec)[0].frequencies(geometry, 8.0, 8 * geometry.window).inv_freq
        for spec in ("llama3", "ntk_by_parts(beta_fast=4, beta_slow=1)")
    )
    torch.testing.assert_close(llama3, parts, rtol=1e-12, atol=0)
