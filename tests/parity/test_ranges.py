"""Attention over ranges against its formula in float64: the dense form, and torch's fused kernels in float32."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from longspan import SeamError, attention, plan
from longspan.attention.call import Call
from longspan.distances import within
from longspan.families import Range
from tests.laws import cases

DIM, WINDOW, LENGTH, TARGET, BASE = 16, 32, 101, 104, 1e4
HEADS, KV_HEADS, ROWS = 4, 2, 2
SCALING = 0.3
TRAINED = torch.tensor([BASE ** (-2 * pair / DIM) for pair in range(DIM // 2)], dtype=torch.float64)
SPECS = [
    *cases.specs("pairwise", "rope", "encoder"),
    *cases.specs("frequencies", "rope", "encoder"),
    "longrope(switch=true)",
    "rerope + dynamic_ntk",
    "dca + yarn",
    "self_extend(group=4, near=8, adaptive=false)",
]


def _made(spec: str, role: str) -> Any:
    return plan(cases.rotary(rotary_dim=DIM, base=BASE, window=WINDOW, role=role), spec, TARGET)


LATE = [(spec, role) for spec in dict.fromkeys(SPECS) for role in ("encoder", "decoder") if _made(spec, role).late]
PARTS = {"whole": (0, LENGTH), "chunk": (37, LENGTH), "chunk within the window": (9, 30), "token": (LENGTH - 1, LENGTH)}
CASES = [
    pytest.param(spec, role, part, id=f"{spec}-{role}-{part}")
    for spec, role in LATE
    for part in (PARTS if role == "decoder" else ["whole"])
]


def _rotate(states: Tensor, position: Tensor, each: Range) -> Tensor:
    """Rotate ``[B, H, N, D]``: angles in float64, whatever the states are."""
    new = each.frequencies

    def turn(at: Tensor) -> tuple[Tensor, Tensor]:
        angle, factor = at[:, None] * TRAINED, torch.ones_like(at)[:, None]
        if new is not None:
            changed = (at >= new.first)[:, None]
            angle = torch.where(changed, at[:, None] * new.inv_freq, angle)
            factor = torch.where(changed, new.attention_factor, 1.0)
        return angle.cos() * factor, angle.sin() * factor

    cos, sin = turn(position)
    if each.lookup == "linear":
        share = (position - position.floor())[:, None]
        pairs = zip(turn(position.floor()), turn(position.ceil()), strict=True)
        cos, sin = (torch.lerp(low, high, share) for low, high in pairs)
    left, right = states.chunk(2, dim=-1)
    cos, sin = cos.to(states.dtype), sin.to(states.dtype)
    return torch.cat([left * cos - right * sin, left * sin + right * cos], dim=-1)


def _draw(heads: int, count: int, seed: int) -> Tensor:
    """States as a model hands them over: ``[B, H, N, D]``, a view of ``[B, N, H, D]``."""
    drawn = torch.randn(ROWS, count, heads, DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn.transpose(1, 2)


def _call(spec: str, role: str, part: str = "whole", sliding: int | None = None, **given: Any) -> Call:
    begin, end = PARTS[part]
    start = max(begin - sliding + 1, 0) if sliding else 0  # what a sliding cache has kept
    query, key = torch.arange(begin, end), torch.arange(start, end)
    ranges = _made(spec, role).ranges(query, key, end)
    if sliding:
        ranges = [within(each, query, sliding) for each in ranges]
    states = _draw(HEADS, len(query), 1), _draw(KV_HEADS, len(key), 2), _draw(KV_HEADS, len(key), 3)
    return Call(*states, ranges, start, _rotate, SCALING, **given)


def _as(call: Call, dtype: torch.dtype) -> Call:
    states = {name: getattr(call, name).detach().to(dtype) for name in ("query", "key", "value")}
    return Call(**{**vars(call), **states})


def _logits(call: Call) -> Tensor:
    """One table ``[B, H, Q, K]``: each pair from the one range that has it, -inf where nothing is seen."""
    key, column = _repeated(call.key), torch.arange(call.start, call.start + call.key.shape[2])
    logits = torch.full((*call.query.shape[:3], key.shape[2]), -torch.inf, dtype=call.query.dtype)
    covered = torch.zeros(logits.shape[2:], dtype=torch.int64)
    for each in call.ranges:
        seen = (column >= each.first[:, None]) & (column < each.last[:, None])
        table = _rotate(call.query, each.query, each) @ _rotate(key, each.key, each).transpose(2, 3)
        logits, covered = torch.where(seen, table * call.scaling, logits), covered + seen
    assert int(covered.max()) == 1
    return logits


def _repeated(states: Tensor) -> Tensor:
    return states.repeat_interleave(HEADS // KV_HEADS, 1)


def _formula(call: Call) -> tuple[Tensor, Tensor]:
    weights = _logits(call).softmax(-1)
    return weights @ _repeated(call.value), weights


@pytest.mark.parametrize(("spec", "role", "part"), CASES)
def test_both_forms_give_what_the_formula_gives(spec: str, role: str, part: str) -> None:
    call = _call(spec, role, part)
    wanted, weights = _formula(call)
    dense, dense_weights = attention.attend(call, "eager")
    torch.testing.assert_close(dense, wanted, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(dense_weights, weights, rtol=1e-12, atol=1e-12)
    fused, none = attention.attend(_as(call, torch.float32), "sdpa")
    assert none is None
    torch.testing.assert_close(fused.double(), wanted, rtol=2e-6, atol=2e-6)
    low, _ = attention.attend(_as(call, torch.bfloat16), "sdpa")
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.double(), wanted, rtol=1.6e-2, atol=1.6e-2)


@pytest.mark.parametrize("sliding", [1, 5, 40])
@pytest.mark.parametrize(("spec", "role", "part"), [case for case in CASES if case.values[2] != "token"])
def test_a_sliding_window_hides_what_is_further_away(spec: str, role: str, part: str, sliding: int) -> None:
    call = _call(spec, role, part, sliding)
    wanted, weights = _formula(call)
    begin, end = PARTS[part]
    apart = (torch.arange(begin, end)[:, None] - torch.arange(call.start, end)).abs()
    assert bool((weights[..., apart >= sliding] == 0).all())
    torch.testing.assert_close(attention.attend(call, "eager")[0], wanted, rtol=1e-12, atol=1e-12)
    fused, _ = attention.attend(_as(call, torch.float32), "sdpa")
    torch.testing.assert_close(fused.double(), wanted, rtol=2e-6, atol=2e-6)


def _gradients(call: Call, backend: str | None) -> list[Tensor]:
    states = {name: getattr(call, name).detach().requires_grad_() for name in ("query", "key", "value")}
    own = Call(**{**vars(call), **states})
    out = _formula(own)[0] if backend is None else attention.attend(own, backend)[0]
    out.backward(_draw(HEADS, out.shape[2], 4).to(out.dtype))
    return [states[name].grad for name in ("query", "key", "value")]


@pytest.mark.parametrize(("spec", "role", "part"), CASES)
def test_gradients_are_those_of_the_formula(spec: str, role: str, part: str) -> None:
    call = _call(spec, role, part)
    wanted = _gradients(call, None)
    for dense, fused, exact in zip(
        _gradients(call, "eager"), _gradients(_as(call, torch.float32), "sdpa"), wanted, strict=True
    ):
        torch.testing.assert_close(dense, exact, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(fused.double(), exact, rtol=2e-6, atol=2e-6 * max(float(exact.abs().max()), 1.0))


@pytest.mark.parametrize("learning", [("query",), ("key",), ("value",), ("query", "value")])
def test_gradients_reach_what_learns_when_the_rest_does_not(learning: tuple[str, ...]) -> None:
    call = _as(_call("self_extend", "decoder"), torch.float32)
    wanted = dict(zip(("query", "key", "value"), _gradients(call, "eager"), strict=True))
    states = {name: getattr(call, name).detach().requires_grad_(name in learning) for name in wanted}
    out, _ = attention.attend(Call(**{**vars(call), **states}), "sdpa")
    out.backward(_draw(HEADS, out.shape[2], 4).to(out.dtype))
    for name in learning:
        close = 2e-6 * float(wanted[name].abs().max())
        torch.testing.assert_close(states[name].grad, wanted[name], rtol=2e-6, atol=max(close, 2e-6))


def test_a_long_cache_is_read_whatever_its_size() -> None:
    length = 40_000
    query, key = torch.arange(length - 2, length), torch.arange(length)
    made = plan(cases.rotary(rotary_dim=DIM, base=BASE, window=4096, role="decoder"), "dca", length)
    states = _draw(8, 2, 1), _draw(8, length, 2), _draw(8, length, 3)
    call = Call(*(each.float() for each in states), made.ranges(query, key, length), 0, _rotate, SCALING)
    exact = attention.attend(_as(call, torch.float64), "eager")[0]
    torch.testing.assert_close(attention.attend(call, "sdpa")[0].double(), exact, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("part", PARTS)
def test_the_dense_form_bounds_the_logits(part: str) -> None:
    call = _call("self_extend", "decoder", part)
    bounded = Call(**{**vars(call), "softcap": 0.5})
    logits = _logits(call)
    wanted = (0.5 * torch.tanh(logits / 0.5)).masked_fill(logits.isinf(), -torch.inf).softmax(-1)
    out, weights = attention.attend(bounded, "eager")
    torch.testing.assert_close(weights, wanted, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(out, wanted @ _repeated(call.value), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("part", PARTS)
def test_sinks_take_weight_and_give_no_value(part: str) -> None:
    call = _call("dca", "decoder", part)
    sinks = torch.tensor([-1.0, 0.0, 2.0, 30.0], dtype=torch.float64)
    out, weights = attention.attend(Call(**{**vars(call), "sinks": sinks}), "eager")
    mass = _logits(call).exp()
    wanted = mass / (mass.sum(-1, keepdim=True) + sinks.exp()[:, None, None])
    torch.testing.assert_close(weights, wanted, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(out, wanted @ _repeated(call.value), rtol=1e-9, atol=1e-12)


def test_dropout_zeroes_its_share_of_the_weights_and_scales_the_rest() -> None:
    call = _call("rerope", "encoder")
    kept = attention.attend(call, "eager")[1]
    torch.manual_seed(0)
    out, weights = attention.attend(Call(**{**vars(call), "dropout": 0.25}), "eager")
    gone = weights == 0
    assert abs(float(gone.double().mean()) - 0.25) < 0.01
    torch.testing.assert_close(weights[~gone], kept[~gone] / 0.75)
    torch.testing.assert_close(out, weights @ _repeated(call.value))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"softcap": 30.0}, "bound on the logits"),
        ({"sinks": torch.zeros(HEADS)}, "sinks"),
        ({"dropout": 0.1}, "dropout"),
        ({"value": torch.zeros(ROWS, KV_HEADS, LENGTH, DIM // 2)}, "values of 8 channels"),
    ],
    ids=["softcap", "sinks", "dropout", "value"],
)
def test_what_the_kernels_do_not_know_is_refused(given: dict[str, Any], named: str) -> None:
    call = _as(_call("self_extend", "decoder"), torch.float32)
    with pytest.raises(SeamError, match=named) as error:
        attention.attend(Call(**{**vars(call), **given}), "sdpa")
    assert 'attention="eager"' in error.value.hint
    assert bool(attention.attend(Call(**{**vars(call), **given}), "eager")[0].isfinite().all())
