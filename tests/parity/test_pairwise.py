"""Pairwise methods against each published formula, written again as a dense matrix of distances."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from longspan.families import Range
from longspan.spec import parse
from tests.laws import cases

DIM, BASE = 16, 1e4
THETA = torch.tensor([BASE ** (-2 * pair / DIM) for pair in range(DIM // 2)], dtype=torch.float64)
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def _states(length: int) -> list[Tensor]:
    drawn = torch.Generator().manual_seed(length)
    return [torch.randn(length, DIM, generator=drawn, dtype=torch.float64) for _ in range(3)]


def _angles(position: Tensor) -> tuple[Tensor, Tensor]:
    return torch.cos(position[:, None] * THETA), torch.sin(position[:, None] * THETA)


def _turn(states: Tensor, position: Tensor, lookup: str) -> Tensor:
    cos, sin = _angles(position)
    if lookup == "linear":
        (low_cos, low_sin), (high_cos, high_sin) = _angles(position.floor()), _angles(position.ceil())
        share = (position - position.floor())[:, None]
        cos, sin = torch.lerp(low_cos, high_cos, share), torch.lerp(low_sin, high_sin, share)
    left, right = states.chunk(2, dim=-1)
    return torch.cat([left * cos - right * sin, left * sin + right * cos], dim=-1)


def _evaluate(ranges: list[Range], query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """One softmax over all ranges of queries and keys that both start at position 0."""
    logits = torch.full((len(query), len(key)), -torch.inf, dtype=torch.float64)
    column = torch.arange(len(key))
    for part in ranges:
        seen = (column >= part.first[:, None]) & (column < part.last[:, None])
        table = _turn(query, part.query, part.lookup) @ _turn(key, part.key, part.lookup).T
        logits = torch.where(seen, table, logits)
    return (logits / math.sqrt(DIM)).softmax(-1) @ value


def _ours(spec: str, role: str, window: int, length: int) -> tuple[Tensor, Tensor]:
    """The distance of each visible pair, 0 elsewhere, and the attention output."""
    geometry = cases.rotary(rotary_dim=DIM, base=BASE, window=window, role=role)
    at = torch.arange(length)
    ranges = parse(spec)[0].ranges(at, at, length, geometry, length)
    distance = torch.zeros(length, length, dtype=torch.float64)
    for part in ranges:
        seen = (at >= part.first[:, None]) & (at < part.last[:, None])
        distance = torch.where(seen, part.query[:, None] - part.key, distance)
    return distance, _evaluate(ranges, *_states(length))


def _logits(query: Tensor, key: Tensor, distance: Tensor) -> Tensor:
    """``Re sum_c q_c conj(k_c) exp(i theta_c distance)``, pairs as complex numbers."""
    rows, columns = (torch.complex(*half.chunk(2, dim=-1)) for half in (query, key))
    waves = torch.polar(torch.ones_like(distance)[..., None], distance[..., None] * THETA)
    return torch.einsum("ic,jc,ijc->ij", rows, columns.conj(), waves).real


def _softmax(logits: Tensor, role: str, value: Tensor) -> Tensor:
    hidden = torch.ones_like(logits).triu(1).bool() if role == "decoder" else torch.zeros_like(logits).bool()
    return (logits / math.sqrt(DIM)).masked_fill(hidden, -torch.inf).softmax(-1) @ value


def _self_extend(i: int, j: int, group: int, near: int) -> float:
    d = i - j
    shift = near - near // group
    return d if abs(d) < near else i // group - j // group + (shift if d > 0 else -shift)


def _rerope(i: int, j: int, near: int) -> float:
    d = i - j
    return min(d, near) if d >= 0 else max(d, -near)


def _leaky_rerope(i: int, j: int, near: int, leak: float) -> float:
    d = abs(i - j)
    return math.copysign(d if d < near else near + (d - near) / leak, i - j)


def _dca(i: int, j: int, chunk: int, local: int) -> float:
    if j > i:
        return -_dca(j, i, chunk, local)
    size = chunk - local
    intra = list(range(size))
    successive = [min(at + size, chunk) for at in intra]
    apart = i // size - j // size
    query = {0: intra[i % size], 1: successive[i % size]}.get(apart, successive[size - 1])
    return query - intra[j % size]


FORMULAS: list[tuple[str, int, Callable[[int, int], float]]] = [
    ("self_extend(group=4, near=8)", 32, lambda i, j: _self_extend(i, j, 4, 8)),
    ("self_extend(group=3, near=4)", 64, lambda i, j: _self_extend(i, j, 3, 4)),
    ("rerope(near=9)", 32, lambda i, j: _rerope(i, j, 9)),
    ("rerope", 64, lambda i, j: _rerope(i, j, 8)),
    ("leaky_rerope(near=5, leak=6.5)", 32, lambda i, j: _leaky_rerope(i, j, 5, 6.5)),
    ("leaky_rerope", 64, lambda i, j: _leaky_rerope(i, j, 8, 16)),
    ("dca", 32, lambda i, j: _dca(i, j, 24, 4)),
    ("dca(chunk=30, local=20)", 32, lambda i, j: _dca(i, j, 30, 20)),
    ("dca(chunk=64, local=1)", 64, lambda i, j: _dca(i, j, 64, 1)),
]


@pytest.mark.parametrize("length", [17, 101, 128])
@pytest.mark.parametrize("role", ["decoder", "encoder"])
@pytest.mark.parametrize(("spec", "window", "formula"), FORMULAS, ids=[spec for spec, _, _ in FORMULAS])
def test_distances_and_output_are_those_of_the_formula(
    spec: str, window: int, formula: Callable[[int, int], float], role: str, length: int
) -> None:
    wanted = torch.tensor([[formula(i, j) for j in range(length)] for i in range(length)], dtype=torch.float64)
    distance, output = _ours(spec, role, window, length)
    query, key, value = _states(length)
    torch.testing.assert_close(distance, wanted.tril() if role == "decoder" else wanted, **CLOSE)
    torch.testing.assert_close(output, _softmax(_logits(query, key, wanted), role, value), **CLOSE)


def test_dca_of_the_parity_cases_has_all_three_kinds_of_chunks() -> None:
    assert {i // 20 - j // 20 for i in range(101) for j in range(i + 1)} >= {0, 1, 2, 3}


def _split(total: int, window: int, local: int) -> list[float]:
    """GALI's positions, made greedily: whole positions are split from the left until there are enough."""
    if total <= window:
        return [float(at) for at in range(total)]
    steps = math.ceil((total - local) / (window - local))
    parts: list[float] = []
    first = 0
    while len(parts) + window - first < total:
        parts += [first + step / steps for step in range(steps)]
        first += 1
    whole = [float(at) for at in range(first, window)]
    return parts[: total - len(whole)] + whole


def _interpolated(query: Tensor, key: Tensor, positions: list[float]) -> Tensor:
    """GALI's logits: two dense tables at whole distances, mixed by the fraction of the distance."""
    at = torch.tensor(positions, dtype=torch.float64)
    distance = at.ceil()[:, None] - at
    share = distance % 1
    near, far = (_logits(query, key, at.ceil()[:, None] - whole) for whole in (at.ceil(), at.floor()))
    return near + share * (far - near)


@pytest.mark.parametrize(
    ("local", "chunk", "length"), [(4, 32, 101), (1, 7, 101), (31, 32, 60), (8, 200, 128), (8, 20, 33), (8, 20, 30)]
)
def test_galis_output_is_that_of_its_prefill(local: int, chunk: int, length: int) -> None:
    window = 32
    query, key, value = _states(length)
    wanted, done = [], 0
    while done < length:
        end = min(done + (chunk if done else window), length)
        positions = _split(end, window, local)
        assert len(positions) == end
        logits = _interpolated(query[:end], key[:end], positions)
        wanted.append(_softmax(logits, "decoder", value[:end])[done:])
        done = end
    _, output = _ours(f"gali(local={local}, chunk={chunk})", "decoder", window, length)
    torch.testing.assert_close(output, torch.cat(wanted), **CLOSE)


@pytest.mark.parametrize(("local", "length"), [(4, 101), (31, 60), (8, 128), (8, 33), (8, 20)])
def test_galis_encoder_form_is_one_chunk_that_sees_every_key(local: int, length: int) -> None:
    query, key, value = _states(length)
    wanted = _softmax(_interpolated(query, key, _split(length, 32, local)), "encoder", value)
    _, output = _ours(f"gali(local={local})", "encoder", 32, length)
    torch.testing.assert_close(output, wanted, **CLOSE)


@pytest.mark.parametrize(("factor", "group", "near"), [(2, 3, 256), (4, 5, 128), (8, 9, 64)])
def test_self_extends_sizes_are_longembeds(factor: int, group: int, near: int) -> None:
    geometry = cases.rotary(window=512, role="encoder")
    method = parse("self_extend")[0]
    assert method.sizes(geometry, 512 * factor) == (group, near)
    assert method.reach(geometry, 512 * factor) == group * (512 - near) + near >= 512 * factor


@pytest.mark.parametrize("target", [8192, 16384, 32768])
def test_self_extends_sizes_of_a_decoder_follow_its_authors_rule(target: int) -> None:
    group, near = parse("self_extend")[0].sizes(cases.rotary(window=4096), target)
    assert near + (target - near) / group <= 4096 * 2 / 3
    assert near + (target - near) / (group - 1) > 4096 * 2 / 3 - 1


def _border(spec: str, window: int) -> Range:
    """The range of the keys before the near ones, for one query far to the right."""
    query, key = torch.tensor([4 * window]), torch.arange(4 * window + 1)
    return parse(spec)[0].ranges(query, key, 4 * window + 1, cases.rotary(window=window), 8 * window)[1]


def test_the_defaults_are_the_released_ones_for_a_window_of_4096() -> None:
    geometry = cases.rotary(window=4096)
    assert parse("dca")[0].sizes(geometry) == (3072, 2560)
    assert int(_border("rerope", 4096).last) == int(_border("leaky_rerope", 4096).last) == 4 * 4096 + 1 - 512
    assert parse("leaky_rerope")[0].reach(geometry, 32768) == 512 + 16 * (4096 - 512)
    query = torch.arange(8192)
    ranges = parse("gali")[0].ranges(query, query, 8192, geometry, 8192)
    assert [int((part.last > 0).sum()) for part in ranges] == [4096, 3000, 8192 - 7096]
    torch.testing.assert_close(ranges[-1].key, torch.tensor(_split(8192, 4096, 128), dtype=torch.float64), **CLOSE)
