"""Laws of rotation maps: pure functions of a geometry, a factor and a length."""

from __future__ import annotations

import math
from itertools import pairwise, product

import pytest
import torch

from longspan.geometry import Geometry
from longspan.spec import parse
from tests.laws import cases

SPECS = [
    *cases.specs("frequencies", "rope", "encoder"),
    "ntk(factor=10)",
    "yarn(beta_fast=16, beta_slow=2, truncate=false)",
    "longrope(magnitude='yarn')",
    "longrope(magnitude='none')",
    "longrope(switch=true)",
    "dynamic_ntk(factor=4)",
    "dynamic_yarn(beta_fast=16, beta_slow=2, truncate=false)",
    "giraffe_power(exponent=0.1)",
    "giraffe_truncated(cutoff=512)",
]
BASES = (1e4, 5e5, 1e6)
WINDOWS = (256, 512, 2048, 8192)
FACTORS = (1.5, 2.0, 8.0, 64.0)


def _llama3_scaled(dim: int, base: float, window: int) -> Geometry:
    plain = cases.rotary(dim, base, window // 8)
    scaled = parse("llama3")[0].frequencies(plain, 8.0, window).inv_freq
    return cases.rotary(dim, base, window, inv_freq=tuple(scaled.tolist()), rope_parameters={"rope_type": "llama3"})


PLAIN = [cases.rotary(*shape) for shape in product((8, 32, 64, 128), BASES, WINDOWS)]
GEOMETRIES = [*PLAIN, *(_llama3_scaled(*shape) for shape in product((8, 128), BASES, (2048, 8192)))]

every_spec = pytest.mark.parametrize("spec", SPECS)


def _maps(spec: str, factors: tuple[float, ...] = FACTORS, geometries: list[Geometry] = GEOMETRIES):
    method = parse(spec)[0]
    for geometry, factor in product(geometries, factors):
        trained = torch.tensor(geometry.inv_freq, dtype=torch.float64)
        yield trained, method.frequencies(geometry, factor, int(factor * geometry.window)), geometry, factor


@every_spec
def test_factor_1_gives_the_trained_map_without_a_temperature(spec: str) -> None:
    for trained, new, _, _ in _maps(spec, (1.0,)):
        torch.testing.assert_close(new.inv_freq, trained, rtol=1e-12, atol=0)
        assert new.attention_factor == 1


@every_spec
def test_a_map_is_finite_float64_with_one_number_for_each_pair(spec: str) -> None:
    for trained, new, _, _ in _maps(spec):
        assert new.inv_freq.dtype == torch.float64
        assert new.inv_freq.shape == trained.shape
        assert bool(new.inv_freq.isfinite().all())
        assert bool((new.inv_freq >= 0).all())
        assert isinstance(new.attention_factor, float)
        assert math.isfinite(new.attention_factor)


@every_spec
def test_a_later_pair_never_turns_faster(spec: str) -> None:
    for _, new, geometry, factor in _maps(spec, (1.0, *FACTORS)):
        assert bool((new.inv_freq.diff() <= 0).all()), (geometry, factor)


@every_spec
def test_no_pair_turns_faster_than_trained(spec: str) -> None:
    for trained, new, geometry, factor in _maps(spec):
        assert bool((new.inv_freq <= trained * (1 + 1e-12)).all()), (geometry, factor)


@every_spec
def test_where_a_pair_never_finished_a_turn_in_training_some_pair_turns_slower(spec: str) -> None:
    unfinished = [geometry for geometry in GEOMETRIES if geometry.inv_freq[-1] * geometry.window < 2 * math.pi]
    for trained, new, geometry, factor in _maps(spec, geometries=unfinished):
        assert bool((new.inv_freq < trained).any()), (geometry, factor)


@every_spec
def test_the_magnitude_never_falls_below_1(spec: str) -> None:
    for _, new, _, _ in _maps(spec):
        assert new.attention_factor >= 1


@every_spec
def test_a_larger_factor_turns_no_pair_faster(spec: str) -> None:
    method = parse(spec)[0]
    for geometry in GEOMETRIES:
        maps = [method.frequencies(geometry, s, int(s * geometry.window)) for s in (1.0, *FACTORS)]
        for near, far in pairwise(maps):
            assert bool((far.inv_freq <= near.inv_freq * (1 + 1e-12)).all()), geometry
            assert far.attention_factor >= near.attention_factor


@every_spec
def test_the_same_question_has_the_same_answer(spec: str) -> None:
    geometry = cases.rotary()
    first, again = (parse(spec)[0].frequencies(geometry, 8.0, 8 * geometry.window) for _ in range(2))
    assert torch.equal(first.inv_freq, again.inv_freq)
    assert first.attention_factor == again.attention_factor
    assert geometry == cases.rotary()


@pytest.mark.parametrize("spec", ["pi", "ntk"])
def test_the_slowest_pair_is_interpolated_by_exactly_the_factor(spec: str) -> None:
    for trained, new, _, factor in _maps(spec):
        assert float(new.inv_freq[-1]) == pytest.approx(float(trained[-1]) / factor, rel=1e-12)


@pytest.mark.parametrize("spec", ["ntk", "abf(base=1e7)", "giraffe_power"])
def test_the_fastest_pair_is_left_as_trained(spec: str) -> None:
    for trained, new, _, _ in _maps(spec):
        assert new.inv_freq[0] == trained[0]


@pytest.mark.parametrize("spec", ["pi", "ntk", "ntk_by_parts", "yarn", "llama3", "longrope"])
def test_no_pair_is_interpolated_by_more_than_the_factor(spec: str) -> None:
    for trained, new, geometry, factor in _maps(spec):
        assert bool((new.inv_freq >= trained / factor * (1 - 1e-12)).all()), (geometry, factor)
