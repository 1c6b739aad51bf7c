"""Laws of the rotation maps that follow an input's own length, besides those of every map."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
import torch

from longspan.errors import PlanError
from longspan.spec import parse
from tests.laws import cases

BY_LENGTH = [name for name in cases.specs("frequencies", "rope", "decoder") if getattr(parse(name)[0], "by_length", 0)]
STEPPED = [name for name in BY_LENGTH if "(" not in name]  # those that change more than once
SPECS = [*BY_LENGTH, "dynamic_ntk(factor=4)", "longrope(switch=true)"]
GEOMETRIES = [cases.rotary(*shape) for shape in product((8, 64, 128), (1e4, 5e5), (32, 512, 4096))]
FACTORS = (1.0, 1.5, 8.0, 64.0)

every_spec = pytest.mark.parametrize("spec", SPECS)


def test_the_maps_that_follow_a_length_say_so() -> None:
    assert {"dynamic_ntk", "dynamic_yarn", "clex"} <= set(BY_LENGTH)
    assert parse("longrope(switch=true)")[0].by_length
    assert not parse("longrope")[0].by_length


@every_spec
@pytest.mark.parametrize("factor", FACTORS)
def test_up_to_the_window_the_map_is_exactly_the_trained_one(spec: str, factor: float) -> None:
    for geometry in GEOMETRIES:
        trained = torch.tensor(geometry.inv_freq, dtype=torch.float64)
        for length in (1, geometry.window // 2, geometry.window - 1, geometry.window):
            new = parse(spec)[0].frequencies(geometry, factor, length)
            assert torch.equal(new.inv_freq, trained)
            assert (new.attention_factor, new.first) == (1, 0)


@every_spec
def test_one_token_more_changes_the_map(spec: str) -> None:
    for geometry in GEOMETRIES:
        new = parse(spec)[0].frequencies(geometry, 8.0, geometry.window + 1)
        assert not torch.equal(new.inv_freq, torch.tensor(geometry.inv_freq, dtype=torch.float64))


@every_spec
def test_a_longer_input_turns_no_pair_faster(spec: str) -> None:
    for geometry in GEOMETRIES:
        lengths = [int(geometry.window * share) for share in (0.5, 1, 1.01, 1.5, 2, 2.5, 8)]
        maps = [parse(spec)[0].frequencies(geometry, 8.0, length) for length in lengths]
        for shorter, longer in pairwise(maps):
            assert bool((longer.inv_freq <= shorter.inv_freq * (1 + 1e-12)).all()), geometry
            assert longer.attention_factor >= shorter.attention_factor


@pytest.mark.parametrize("spec", ["dynamic_ntk", "dynamic_ntk(factor=4)", "dynamic_yarn", "clex"])
def test_the_target_does_not_matter_only_the_length_does(spec: str) -> None:
    for geometry, length in product(GEOMETRIES, (700, 5000)):
        near, far = (parse(spec)[0].frequencies(geometry, factor, length) for factor in (1.5, 64.0))
        assert torch.equal(near.inv_freq, far.inv_freq)
        assert near.attention_factor == far.attention_factor


@pytest.mark.parametrize("spec", ["dynamic_ntk", "dynamic_yarn"])
def test_the_map_does_not_jump_at_the_window(spec: str) -> None:
    for geometry in GEOMETRIES:
        trained = torch.tensor(geometry.inv_freq, dtype=torch.float64)
        new = parse(spec)[0].frequencies(geometry, 8.0, geometry.window + 1)
        torch.testing.assert_close(new.inv_freq, trained, rtol=1 / geometry.window, atol=0)


@pytest.mark.parametrize("name", STEPPED)
@pytest.mark.parametrize("step", [0, -3])
def test_a_step_below_one_token_is_refused(name: str, step: int) -> None:
    with pytest.raises(PlanError, match=rf"{name}\(step={step}\)"):
        parse(f"{name}(step={step})")
    assert parse(f"{name}(step=1)")[0].step == 1
    assert parse(name)[0].step is None


@pytest.mark.parametrize("factor", [0.5, 0.0, -1.0])
def test_dynamic_ntk_refuses_to_scale_by_less_than_the_length_asks_for(factor: float) -> None:
    with pytest.raises(PlanError, match="give 1 or more"):
        parse(f"dynamic_ntk(factor={factor})")


def test_dynamic_yarn_refuses_a_ramp_that_runs_backwards() -> None:
    with pytest.raises(PlanError, match="must exceed"):
        parse("dynamic_yarn(beta_fast=1, beta_slow=2)")


def test_longrope_keeps_its_first_positions_beyond_the_window_only() -> None:
    method, geometry = parse("longrope(switch=true, first=4)")[0], cases.rotary()
    firsts = [method.frequencies(geometry, 8.0, length).first for length in (geometry.window, geometry.window + 1)]
    assert firsts == [0, 4]


@pytest.mark.parametrize(
    ("spec", "fact"),
    [
        ("longrope(short=(1, 2))", "never switches to its 2 short factors"),
        ("longrope(switch=true, short=(2, 1))", "must be numbers of at least 1 that never decrease"),
        ("longrope(switch=true, short=(0.5, 1))", "must be numbers of at least 1 that never decrease"),
    ],
)
def test_short_factors_that_no_search_gives_are_refused(spec: str, fact: str) -> None:
    with pytest.raises(PlanError, match=fact):
        parse(spec)


@pytest.mark.parametrize("length", [16, 4096])
def test_a_wrong_count_of_short_factors_is_told_at_every_length(length: int) -> None:
    method = parse("longrope(switch=true, short=(1, 2))")[0]
    with pytest.raises(PlanError, match="got 2 factors for 32 rotary pairs"):
        method.frequencies(cases.rotary(), 8.0, length)


def test_clex_reaches_its_largest_t_and_goes_no_further() -> None:
    geometry = cases.rotary(window=512)
    assert parse("clex")[0].reach(geometry, 4096) == 16 * 512
    method = parse("clex(max_factor=4)")[0]
    assert method.reach(geometry, 4096) == 4 * 512
    last, beyond = (method.frequencies(geometry, 8.0, length).inv_freq for length in (2048, 4096))
    assert torch.equal(last, beyond)
    with pytest.raises(PlanError, match="max_factor=0"):
        parse("clex(max_factor=0)")
