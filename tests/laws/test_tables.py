"""Laws of learned tables: pure functions of the trained rows and a target."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longspan import registry
from longspan.planning import plan
from longspan.spec import parse
from tests.laws import cases

SPECS = cases.specs("tables", "learned", "encoder")
KEEPS_EVERY_ROW = [spec for spec in SPECS if spec != "interpolate(anchors=false)"]
DTYPES = (torch.float32, torch.bfloat16, torch.float16)

every_spec = pytest.mark.parametrize("spec", SPECS)


@st.composite
def _targets(draw: st.DrawFn) -> tuple[int, int]:
    window = draw(st.integers(2, 130))
    return window, draw(st.integers(window, 9 * window + 7))


any_target = given(target=_targets())


def _numbered(window: int) -> torch.Tensor:
    """A table whose rows hold their own index."""
    return torch.arange(window, dtype=torch.float64).unsqueeze(1)


def _random(window: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(window, 6, generator=torch.Generator().manual_seed(0)).to(dtype)


def test_every_registered_table_method_is_tried() -> None:
    tried = {type(parse(spec)[0]).__name__.lower() for spec in SPECS}
    assert tried == {registry.plain(card.name) for card in registry.methods().values() if card.family == "tables"}


@every_spec
@any_target
def test_the_table_has_as_many_rows_as_asked_for(spec: str, target: tuple[int, int]) -> None:
    window, rows = target
    assert parse(spec)[0].table(_random(window), rows).shape == (rows, 6)


@every_spec
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_table_keeps_the_type_of_the_trained_rows(spec: str, dtype: torch.dtype) -> None:
    table = parse(spec)[0].table(_random(32, dtype), 101)
    assert table.dtype == dtype
    assert bool(table.isfinite().all())


@every_spec
def test_the_table_stays_on_the_device_of_the_trained_rows(spec: str) -> None:
    assert parse(spec)[0].table(_random(32).to("meta"), 101).device.type == "meta"


@pytest.mark.parametrize("spec", KEEPS_EVERY_ROW)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@any_target
def test_every_trained_row_is_a_row_of_the_new_table(spec: str, dtype: torch.dtype, target: tuple[int, int]) -> None:
    window, rows = target
    trained = _random(window, dtype)
    new = {tuple(row) for row in parse(spec)[0].table(trained, rows).tolist()}
    assert {tuple(row) for row in trained.tolist()} <= new


@every_spec
@any_target
def test_row_0_stands_at_position_0(spec: str, target: tuple[int, int]) -> None:
    window, rows = target
    trained = _random(window)
    assert torch.equal(parse(spec)[0].table(trained, rows)[0], trained[0])


@every_spec
@any_target
def test_row_0_is_mixed_into_no_other_row(spec: str, target: tuple[int, int]) -> None:
    window, rows = target
    trained = _random(window)
    trained[0] = torch.nan
    assert not bool(parse(spec)[0].table(trained, rows)[1:].isnan().any())


@every_spec
@any_target
def test_rows_come_in_the_order_of_training_until_they_recur(spec: str, target: tuple[int, int]) -> None:
    window, rows = target
    new = parse(spec)[0].table(_numbered(window), rows)[:, 0]
    falls = new.diff() < 0
    assert bool((new[1:][falls] == 1).all())  # only a new round may go back, and it starts behind [CLS]


@every_spec
@given(window=st.integers(2, 130))
def test_a_target_of_the_window_gives_the_trained_table_back(spec: str, window: int) -> None:
    trained, method = _random(window), parse(spec)[0]
    assert torch.equal(method.table(trained, window), trained)
    assert torch.equal(method.position_ids(window, window, window), torch.arange(window))


@every_spec
@given(target=_targets(), share=st.floats(0, 1))
def test_position_ids_are_rows_of_the_table_in_order(spec: str, target: tuple[int, int], share: float) -> None:
    window, rows = target
    length = max(1, round(share * rows))
    ids = parse(spec)[0].position_ids(length, window, rows)
    assert ids.dtype == torch.int64
    assert ids.shape == (length,)
    assert ids[0] == 0
    assert bool((ids < rows).all())
    assert bool((ids.diff() >= 0).all())


@every_spec
@any_target
def test_the_longest_input_reads_up_to_the_last_trained_row(spec: str, target: tuple[int, int]) -> None:
    window, rows = target
    method = parse(spec)[0]
    read = method.table(_numbered(window), rows)[method.position_ids(rows, window, rows), 0]
    assert float(read.max()) == window - 1


@every_spec
@any_target
def test_short_inputs_are_what_the_plan_says(spec: str, target: tuple[int, int]) -> None:
    window, rows = target
    made = plan(cases.learned(window), spec, rows)
    table, counted = made.table(_random(window)), torch.arange(rows)
    same = all(torch.equal(table[made.position_ids(n)], _random(window)[:n]) for n in range(1, window + 1))
    by_length = any(not torch.equal(made.position_ids(n), counted[:n]) for n in range(1, rows + 1))
    assert made.short_inputs == (("adaptive" if by_length else "exact") if same else "changed")


@pytest.mark.parametrize("spec", ["grouped", "interpolate"])
def test_adaptive_tables_say_so(spec: str) -> None:
    assert plan(cases.learned(512), spec, 4096).short_inputs == "adaptive"


def test_tiling_is_exact_and_fixed_groups_are_not() -> None:
    said = {spec: plan(cases.learned(512), spec, 4096).short_inputs for spec in SPECS}
    assert said["tile"] == "exact"
    assert said["grouped(adaptive=false)"] == said["interpolate(anchors=false)"] == "changed"


@given(target=_targets())
def test_an_adaptive_group_at_the_target_is_the_fixed_group(target: tuple[int, int]) -> None:
    window, rows = target
    adaptive, fixed = parse("grouped + grouped(adaptive=false)")
    read = adaptive.table(_numbered(window), rows)[adaptive.position_ids(rows, window, rows)]
    assert torch.equal(read, fixed.table(_numbered(window), rows))
