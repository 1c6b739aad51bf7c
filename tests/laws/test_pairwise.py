"""Laws of pairwise methods: what their ranges cover, how far they reach, and what they may depend on."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from longspan import registry
from longspan.card import MethodCard
from longspan.errors import PlanError
from longspan.families import family_of
from longspan.geometry import Geometry
from longspan.spec import parse
from tests.laws import cases

CARDS = [card for card in registry.methods().values() if card.family == "pairwise"]
VARIANTS = {
    "self_extend": ("self_extend", "self_extend(group=8, near=5)", "self_extend(group=3)"),
    "rerope": ("rerope", "rerope(near=7)", "rerope(near=1)"),
    "leaky_rerope": ("leaky_rerope", "leaky_rerope(near=5, leak=12.5)", "leaky_rerope(near=1, leak=3)"),
    "dca": ("dca", "dca(chunk=20, local=15)", "dca(chunk=32, local=1)", "dca(chunk=31)"),
    "gali": ("gali", "gali(local=1, chunk=7)", "gali(local=31)", "gali(chunk=1000)"),
}
LENGTHS = {32: (101, 256), 64: (101, 512), 100: (256, 800)}
"""Windows and their targets, tokens; some are whole multiples."""
SPECS = [spec for card in CARDS for spec in VARIANTS.get(card.name, (card.name,))]


@dataclass(frozen=True)
class Case:
    """A method, a model and a target."""

    spec: str
    role: str
    window: int
    target: int

    def __str__(self) -> str:
        return f"{self.spec}-{self.role}-{self.window}-{self.target}"

    @property
    def geometry(self) -> Geometry:
        return cases.rotary(rotary_dim=16, window=self.window, role=self.role)

    def reached(self) -> int:
        """The target, or what the method reaches of it."""
        method = parse(self.spec)[0]
        reach = method.reach(self.geometry, self.target) if hasattr(method, "reach") else self.target
        return min(self.target, reach)

    def ranges(self, query: Tensor, key: Tensor, length: int) -> list:
        return parse(self.spec)[0].ranges(query, key, length, self.geometry, self.target)

    def pairs(self, query: Tensor, key: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """How many ranges each pair is in, and its distance, not a number where it is in none."""
        shape = len(query), len(key)
        count = torch.zeros(shape, dtype=torch.int64)
        distance = torch.full(shape, torch.nan, dtype=torch.float64)
        for part in self.ranges(query, key, length):
            seen = (key >= part.first[:, None]) & (key < part.last[:, None])
            count += seen
            distance = torch.where(seen, part.query[:, None] - part.key, distance)
        return count, distance

    def square(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of all pairs of an input: the true distance, the count of ranges, and the distance given."""
        at = torch.arange(self.reached())
        return (at[:, None] - at, *self.pairs(at, at, len(at)))


def _cases(role: str) -> list[Case]:
    names = {card.name for card in CARDS if role in card.roles}
    specs = [spec for spec in SPECS if spec.split("(")[0] in names]
    return [
        Case(spec, role, window, target) for spec in specs for window, targets in LENGTHS.items() for target in targets
    ]


DECODERS, ENCODERS = _cases("decoder"), _cases("encoder")
every_case = pytest.mark.parametrize("case", DECODERS + ENCODERS, ids=str)
every_decoder = pytest.mark.parametrize("case", DECODERS, ids=str)
every_encoder = pytest.mark.parametrize("case", ENCODERS, ids=str)


@pytest.mark.parametrize("spec", SPECS)
def test_a_method_is_of_the_family_and_adaptive_unless_told_otherwise(spec: str) -> None:
    method = parse(spec)[0]
    assert family_of(method) == "pairwise"
    assert fields(method)[-1].name == "adaptive"
    assert method.adaptive is True


@every_case
def test_every_visible_pair_is_in_exactly_one_range(case: Case) -> None:
    true, count, _ = case.square()
    assert torch.equal(count, (true >= 0).long() if case.role == "decoder" else torch.ones_like(count))


@every_case
def test_a_range_has_a_position_for_each_query_and_key(case: Case) -> None:
    query, key = torch.arange(90, 101), torch.arange(40, 101)
    for part in case.ranges(query, key, 101):
        assert [part.query.dtype, part.key.dtype] == [torch.float64, torch.float64]
        assert [part.first.dtype, part.last.dtype] == [torch.int64, torch.int64]
        assert [len(part.query), len(part.first), len(part.last), len(part.key)] == [11, 11, 11, 61]
        assert bool(part.query.isfinite().all())
        assert bool(part.key.isfinite().all())


@every_case
def test_no_distance_leaves_the_window(case: Case) -> None:
    _, _, distance = case.square()
    assert float(distance.nan_to_num(0).abs().max()) <= case.window


@every_decoder
def test_no_key_moves_behind_its_query(case: Case) -> None:
    true, _, distance = case.square()
    assert bool((distance[true >= 0] >= 0).all())


def _near(case: Case) -> int:
    """Up to which distance a method says that distances are true; 1 where it does not say."""
    method, geometry = parse(case.spec)[0], case.geometry
    name = case.spec.split("(")[0]
    if name == "self_extend":
        return method.sizes(geometry, case.target)[1] - 1
    if name == "dca":
        chunk, size = method.sizes(geometry)
        return min(chunk - size + 1, size)
    return (method.near or case.window // 8) if hasattr(method, "near") else 1


@pytest.mark.parametrize("case", [case for case in DECODERS + ENCODERS if "gali" not in case.spec], ids=str)
def test_distances_next_to_the_diagonal_are_true(case: Case) -> None:
    true, _, distance = case.square()
    near = (true.abs() <= max(_near(case), 1)) & ~distance.isnan()
    torch.testing.assert_close(distance[near], true[near].double(), rtol=0, atol=1e-9)
    assert not torch.equal(distance.nan_to_num(0), true.double().where(~distance.isnan(), 0))


@pytest.mark.parametrize("case", [case for case in DECODERS + ENCODERS if "gali" in case.spec], ids=str)
def test_galis_distances_are_true_between_the_last_tokens_of_a_chunk(case: Case) -> None:
    method, (true, _, distance) = parse(case.spec)[0], case.square()
    local = method.local or case.window // 4
    length, chunk = len(true), method.chunk or case.window
    ends = range(case.window, length, chunk) if case.role == "decoder" else ()
    seen = (true >= 0) | (case.role == "encoder")
    for last in (slice(end - local, end) for end in (*ends, length)):
        whole = seen[last, last]
        assert torch.equal(distance[last, last][whole], true[last, last][whole].double())
    assert bool((distance - distance.floor()).nan_to_num(0).any())


@pytest.mark.parametrize("case", [case for case in DECODERS if "gali" in case.spec], ids=str)
def test_galis_first_chunk_is_plain(case: Case) -> None:
    true, _, distance = case.square()
    plain = (true >= 0)[: case.window]
    assert torch.equal(distance[: case.window][plain], true[: case.window][plain].double())


@every_decoder
def test_prefill_and_decoding_give_what_one_call_gives(case: Case) -> None:
    _, count, distance = case.square()
    length = len(count)
    borders = sorted({0, case.window - 3, case.window, case.window + 1, length - 30, length - 2, length - 1, length})
    for start, end in pairwise(borders):
        query, key = torch.arange(start, end), torch.arange(end)
        part_count, part = case.pairs(query, key, end)
        assert torch.equal(part_count, count[start:end, :end])
        torch.testing.assert_close(part, distance[start:end, :end], rtol=0, atol=0, equal_nan=True)


@every_case
def test_a_pair_does_not_depend_on_other_queries_and_keys(case: Case) -> None:
    _, count, distance = case.square()
    length = len(count)
    for rows, columns in ((slice(50, 90), slice(33, 90)), (slice(length - 1, length), slice(length - 20, length))):
        query, key = torch.arange(length)[rows], torch.arange(length)[columns]
        part_count, part = case.pairs(query, key, length)
        assert torch.equal(part_count, count[rows, columns])
        torch.testing.assert_close(part, distance[rows, columns], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("case", [case for case in ENCODERS if "gali" not in case.spec], ids=str)
def test_an_encoders_distances_change_sign_with_the_order_of_a_pair(case: Case) -> None:
    _, _, distance = case.square()
    torch.testing.assert_close(distance, -distance.T, rtol=0, atol=1e-9)


@pytest.mark.parametrize("case", [case for case in ENCODERS if "gali" in case.spec], ids=str)
def test_galis_encoder_distances_change_sign_between_whole_positions_only(case: Case) -> None:
    _, _, distance = case.square()
    fraction = distance.diagonal()  # the query stands at the next whole position
    torch.testing.assert_close(distance + distance.T, fraction[:, None] + fraction, rtol=0, atol=1e-9)
    assert bool(((fraction >= 0) & (fraction < 1)).all())
    assert bool((fraction > 0).any())


@every_case
def test_borders_of_a_range_stand_or_move_with_the_query(case: Case) -> None:
    at = torch.arange(case.reached())
    for part in case.ranges(at, at, len(at)):
        for border in (part.first, part.last):
            slope = border.diff()
            jump = (slope != 0) & (slope != 1)
            bend = ~jump[1:] & ~jump[:-1] & (slope[1:] != slope[:-1])
            # The shortest chunks of the variants hold 5 queries: each may bring one jump and one bend.
            assert int(jump.sum()) <= len(at) // 5
            assert int(bend.sum()) <= len(at) // 5


@pytest.mark.parametrize("spec", ["self_extend(group=8, near=5)", "leaky_rerope(near=5, leak=12.5)"])
@pytest.mark.parametrize("role", ["decoder", "encoder"])
def test_a_method_reaches_until_distances_fill_the_window(spec: str, role: str) -> None:
    reach = parse(spec)[0].reach(cases.rotary(window=32, role=role), 1000)
    for extra, fits in ((0, True), (14, False)):
        _, distance = Case(spec, role, 32, 1000).pairs(
            torch.tensor([reach + extra - 1]), torch.arange(1), reach + extra
        )
        assert (float(distance) <= 32) is fits


@pytest.mark.parametrize("role", ["decoder", "encoder"])
def test_self_extend_takes_a_target_of_one_window(role: str) -> None:
    true, count, distance = Case("self_extend", role, 64, 64).square()
    assert float(distance.nan_to_num(0).abs().max()) < 64
    assert torch.equal(count, (true >= 0).long() if role == "decoder" else torch.ones_like(count))


WRONG_FIELDS = [
    *(f"self_extend({field}={count})" for field in ("group", "near") for count in (0, -1)),
    *(f"{name}(near={count})" for name in ("rerope", "leaky_rerope") for count in (0, -1)),
    *(f"leaky_rerope(leak={leak})" for leak in (0, 0.5, -2)),
    *(f"dca({field}={count})" for field in ("chunk", "local") for count in (0, -1)),
    *(f"gali({field}={count})" for field in ("chunk", "local") for count in (0, -1)),
]


@pytest.mark.parametrize("spec", WRONG_FIELDS)
def test_fields_out_of_range_are_refused(spec: str) -> None:
    with pytest.raises(PlanError, match=r"(?s)-?\d.*hint: "):
        parse(spec)


@pytest.mark.parametrize("role", ["decoder", "encoder"])
@pytest.mark.parametrize(
    "spec",
    [
        "self_extend(near=64)",
        "rerope(near=64)",
        "leaky_rerope(near=100)",
        "dca(chunk=65)",
        "dca(local=48)",
        "dca(chunk=10, local=10)",
        "gali(local=64)",
    ],
)
def test_fields_that_do_not_fit_the_window_are_refused(spec: str, role: str) -> None:
    with pytest.raises(PlanError, match=r"(?s)64.*hint: "):
        Case(spec, role, 64, 256).pairs(torch.arange(3), torch.arange(3), 3)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_grid_tries_the_method_itself(card) -> None:
    assert {type(parse(spec)[0]) for spec in card.grid} == {registry.load(card.name, MethodCard)}
