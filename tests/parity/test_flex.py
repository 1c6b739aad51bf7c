"""FlexAttention, compiled, against the dense form in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from longspan import SeamError, attention, plan
from longspan.attention import flex
from longspan.attention.call import Call
from longspan.families import Range
from tests.laws import cases

DIM, WINDOW, BASE, HEADS, KV_HEADS = 16, 96, 1e4, 4, 2
CASES = [
    ("self_extend", "decoder", 0, 301),
    ("dca", "encoder", 0, 301),
    ("dca", "decoder", 300, 301),  # a token
]


def _rotate(states: Tensor, position: Tensor, each: Range) -> Tensor:
    inv_freq = BASE ** (-torch.arange(0, DIM, 2, dtype=torch.float64) / DIM)
    angle = (position[:, None] * inv_freq).repeat(1, 2)
    left, right = states.chunk(2, dim=-1)
    return states * angle.cos().to(states) + torch.cat([-right, left], dim=-1) * angle.sin().to(states)


def _call(spec: str, role: str, begin: int, end: int, dtype: torch.dtype = torch.float64, **given: Any) -> Call:
    drawn = torch.Generator().manual_seed(0)
    sizes = ((HEADS, end - begin), (KV_HEADS, end), (KV_HEADS, end))
    states = [torch.randn(2, *size, DIM, generator=drawn, dtype=torch.float64).to(dtype) for size in sizes]
    made = plan(cases.rotary(rotary_dim=DIM, base=BASE, window=WINDOW, role=role), spec, 4 * WINDOW)
    ranges = made.ranges(torch.arange(begin, end), torch.arange(end), end)
    return Call(*states, ranges, 0, _rotate, DIM**-0.5, **given)


def _differ(*place: Any, **given: Any) -> float:
    exact = attention.attend(_call(*place, **given), "eager")[0]
    return float((attention.attend(_call(*place, dtype=torch.float32, **given), "flex")[0] - exact).abs().max())


@pytest.mark.slow
@pytest.mark.parametrize("place", CASES, ids=lambda place: "-".join(map(str, place)))
def test_compiled_attention_equals_the_dense_form(place: tuple[str, str, int, int]) -> None:
    assert _differ(*place) < 3e-6


@pytest.mark.slow
def test_it_knows_bounds_on_logits_and_sinks() -> None:
    assert _differ("self_extend", "decoder", 0, 301, softcap=2.0, sinks=torch.tensor([0.0, 1.0, 2.0, -1.0])) < 3e-6


@pytest.mark.parametrize("spec", ["self_extend", "dca", "gali", "rerope"])
@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_blocks_are_skipped_or_taken_whole_only_where_that_is_true(spec: str, role: str) -> None:
    call = _call(spec, role, 0, 1100)
    found = 0
    for _, span in call.spans():
        size = len(span.first), span.key.stop - span.key.start
        blocks = flex._blocks(span.first[None], span.last[None], size, lambda b, h, q, k: q >= 0)
        seen = (torch.arange(size[1]) >= span.first[:, None]) & (torch.arange(size[1]) < span.last[:, None])
        for row, (partly, fully) in enumerate(
            zip(blocks.kv_num_blocks[0, 0], blocks.full_kv_num_blocks[0, 0], strict=True)
        ):
            wanted = torch.zeros_like(seen[row * 128 : row * 128 + 128])
            for column in blocks.kv_indices[0, 0, row, :partly].tolist():
                wanted[:, column * 128 : column * 128 + 128] = seen[row * 128 : row * 128 + 128][:, column * 128 :][
                    :, :128
                ]
            for column in blocks.full_kv_indices[0, 0, row, :fully].tolist():
                wanted[:, column * 128 : column * 128 + 128] = True
                found += 1
            assert torch.equal(wanted, seen[row * 128 : row * 128 + 128])
    assert found


def test_it_refuses_gradients_on_a_cpu_and_dropout() -> None:
    call = _call("dca", "decoder", 0, 50, dtype=torch.float32)
    call.query.requires_grad_()
    with pytest.raises(SeamError, match="gradients on a CPU"):
        attention.attend(call, "flex")
    with pytest.raises(SeamError, match="dropout"):
        attention.attend(_call("dca", "decoder", 0, 50, dropout=0.5), "flex")


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.exc import BackendCompilerFailed
    from torch._inductor.exc import InvalidCxxCompiler

    def fails(*args: Any, **kwargs: Any) -> Any:
        raise BackendCompilerFailed(lambda: None, InvalidCxxCompiler(), None)

    monkeypatch.setattr(flex, "_compiled", lambda joined: fails)
    with pytest.raises(SeamError, match='pass attention="sdpa"'):
        attention.attend(_call("dca", "decoder", 0, 50, dtype=torch.float32), "flex")


@pytest.mark.filterwarnings("ignore:[\\s\\S]*flex_attention called without torch.compile")
@pytest.mark.parametrize("spec", ["self_extend", "dca"])
@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_calls_merged_as_on_a_gpu_equal_the_dense_form(spec: str, role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flex, "_compiled", lambda joined: flex.flex_attention)
    sinks = torch.tensor([0.0, 1.0, 2.0, -1.0])
    exact = attention.attend(_call(spec, role, 0, 301, sinks=sinks), "eager")[0]
    found = flex._merged(_call(spec, role, 0, 301, dtype=torch.float32, sinks=sinks))
    assert float((found - exact).abs().max()) < 3e-6
