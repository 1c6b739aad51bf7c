"""Attention over ranges by torch's fused kernels: each tile an ordinary call, merged by their log-sum-exp.

Memory grows with queries plus keys. Nothing is compiled, and gradients are exact: the kernels' own backward
takes the output and the log-sum-exp of the whole softmax.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from longspan.attention.call import Call
from longspan.attention.tiles import Tile, tiles
from longspan.errors import SeamError

_BYTES = 48 << 20
"""Copies of queries, keys and outputs that are alive at once [bytes]; heads are taken in groups that fit."""


def attend(call: Call) -> tuple[Tensor, None]:
    """The output ``[B, heads, Q, D']``; differentiable.

    Raises:
        SeamError: The call asks for what the kernels do not have.
    """
    check(call)
    spans = [(each, span, tiles(span.first, span.last)) for each, span in call.spans()]
    out = call.query.new_empty(*call.query.shape[:3], call.value.shape[3])
    heads, learns = call.key.shape[1], torch.is_grad_enabled() and call.learns
    parts = []
    for start in range(0, heads, size := _group(call)):
        group = slice(start, min(start + size, heads))
        value = _shared(call.value[:, group], call.repeats)
        inputs: list[Tensor] = []
        places = []
        for each, span, cut in spans:
            query, key = call.turned(each, span, group)
            inputs += [_folded(query, call.repeats), _shared(key, call.repeats)]
            places.append((span.query.start, span.key.start, cut))
        if learns:
            merged = _Merged.apply(call.scaling, places, out.shape[2], value, *inputs)  # type: ignore[no-untyped-call]
            parts.append(_unfolded(merged, len(out)))
        else:
            own = slice(group.start * call.repeats, group.stop * call.repeats)
            out[:, own] = _unfolded(_merged(call.scaling, places, value, inputs, out.shape[2])[0], len(out))
    return torch.cat(parts, dim=1) if learns else out, None


def _shared(states: Tensor, repeats: int) -> Tensor:
    """Key heads as rows, seen by all their queries without a copy: ``[B, kv, N, D] -> [B * kv, repeats, N, D]``."""
    return states if repeats == 1 else states.flatten(0, 1).unsqueeze(1).expand(-1, repeats, -1, -1)


def _folded(query: Tensor, repeats: int) -> Tensor:
    """Queries beside their key heads: ``[B, kv * repeats, N, D] -> [B * kv, repeats, N, D]``."""
    rows, heads, *rest = query.shape
    return query if repeats == 1 else query.reshape(rows * heads // repeats, repeats, *rest)


def _unfolded(states: Tensor, rows: int) -> Tensor:
    """The inverse of ``_folded``."""
    return states.reshape(rows, -1, *states.shape[2:])


def check(call: Call) -> None:
    """Refuse what the fused kernels cannot compute.

    Raises:
        SeamError: They cannot.
    """
    asked = {"a bound on the logits": call.softcap is not None, "attention sinks": call.sinks is not None}
    asked |= {"dropout of weights": call.dropout > 0}
    if (device := call.query.device.type) != "cpu":
        width, dtype = call.query.shape[3], call.query.dtype
        step = 4 if dtype == torch.float32 else 8
        asked |= {f"heads of {width} channels on {device}": width % step != 0}
        asked |= {f"{dtype} on {device}": dtype == torch.float64}
    asked |= {f"values of {call.value.shape[3]} channels": call.value.shape[3] != call.query.shape[3]}
    if refused := [what for what, wanted in asked.items() if wanted]:
        raise SeamError(f"The fused kernels do not know {' and '.join(refused)}.", 'pass attention="eager"')


def _group(call: Call) -> int:
    """Key heads that are taken together."""
    rows, _, keys, width = call.key.shape
    size = max(call.query.element_size(), 4)
    one = rows * width * size * (2 * keys + 4 * call.repeats * call.query.shape[2]) * max(1, len(call.ranges) - 1)
    return max(1, min(call.key.shape[1], _BYTES // max(one, 1)))


Places = Sequence[tuple[int, int, list[Tile]]]
"""Of each range: where its span of queries and of keys begins, and its tiles."""


def _merged(scaling: float, places: Places, value: Tensor, inputs: Sequence[Tensor], queries: int) -> tuple[Any, Any]:
    """Output and log-sum-exp over all ranges, float32 or wider."""
    wide = torch.promote_types(value.dtype, torch.float32)
    out = value.new_zeros(*value.shape[:2], queries, value.shape[3], dtype=wide)
    total = value.new_full(out.shape[:3], -torch.inf, dtype=wide)
    new = 0  # the first query behind all that have something
    for (begin, offset, cut), query, key in zip(places, inputs[::2], inputs[1::2], strict=True):
        values = value[:, :, offset : offset + key.shape[2]]
        for tile in cut:
            one, lse = _forward(tile, query, key, values, scaling)
            so_far, before = (_spread(states, tile, begin) for states in (out, total))
            start = begin + tile.query
            if start >= new:
                so_far.copy_(one)
                before.copy_(lse)
            else:
                so_far.lerp_(one.to(wide), torch.sigmoid(lse - before).unsqueeze(-1))
                torch.logaddexp(before, lse, out=before)
            new = max(new, start + (tile.blocks - 1) * tile.stride + tile.queries)
    return out, total


def _blocks(states: Tensor, begin: int, count: int, tile: Tile) -> Tensor:
    """The ``count`` places from ``begin`` on, of each block: a view ``[B, H, blocks, count, ...]``."""
    if tile.blocks == 1:
        return states[:, :, None, begin : begin + count]
    shape, strides = states.shape, states.stride()
    return states.as_strided(
        (*shape[:2], tile.blocks, count, *shape[3:]),
        (*strides[:2], tile.stride * strides[2], *strides[2:]),
        states.storage_offset() + begin * strides[2],
    )


def _spread(states: Tensor, tile: Tile, begin: int) -> Tensor:
    return _blocks(states, begin + tile.query, tile.queries, tile)


def _flat(states: Tensor) -> Tensor:
    """Blocks as rows, ``[B * blocks, H, N, ...]``: a view where B is 1."""
    return states.transpose(1, 2).flatten(0, 1)


def _parts(tile: Tile, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
    """The tile's queries, keys and values as a kernel reads them; upper triangles turned round to lower ones."""
    found = [_flat(_blocks(query, tile.query, tile.queries, tile))]
    found += [_flat(_blocks(states, tile.key, tile.keys, tile)) for states in (key, value)]
    return [part.flip(2) for part in found] if tile.shape == "upper" else found


def _back(states: Tensor, tile: Tile, rows: int) -> Tensor:
    """A kernel's ``[B * blocks, H, N, ...]`` as ``[B, H, blocks, N, ...]``."""
    states = states.flip(2) if tile.shape == "upper" else states
    return states.reshape(rows, tile.blocks, *states.shape[1:]).transpose(1, 2)


def _forward(tile: Tile, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> tuple[Tensor, Tensor]:
    one, lse = kernel(_parts(tile, query, key, value), tile.shape != "full", scaling)
    return _back(one, tile, len(query)), _back(lse, tile, len(query))


def kernel(given: Sequence[Tensor], causal: bool, scaling: float) -> tuple[Tensor, Tensor]:
    """One fused call of queries, keys and values: output ``[B, H, Q, D]`` and log-sum-exp ``[B, H, Q]``."""
    aten, (query, key, value) = torch.ops.aten, given
    if query.device.type == "cpu":
        out, lse = aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, causal, scale=scaling)
    elif _flash(query):
        out, lse = aten._scaled_dot_product_flash_attention(query, key, value, 0.0, causal, scale=scaling)[:2]
    else:
        options = (None, True, 0.0, causal)
        out, lse = aten._scaled_dot_product_efficient_attention(query, key, value, *options, scale=scaling)[:2]
    return out, lse[..., : query.shape[2]]  # the memory-efficient kernel pads the log-sum-exp


def _flash(states: Tensor) -> bool:
    """Whether a GPU has the flash kernel for such states; else the memory-efficient one is used."""
    half = states.dtype in (torch.float16, torch.bfloat16)
    newer = states.device.type != "cuda" or torch.cuda.get_device_capability(states.device) >= (8, 0)
    return half and newer and states.shape[3] % 8 == 0 and states.shape[3] <= 256


class _Merged(torch.autograd.Function):
    """All tiles as one differentiable step."""

    @staticmethod
    def forward(ctx: Any, scaling: float, places: Places, queries: int, value: Tensor, *inputs: Tensor) -> Tensor:
        wide, lse = _merged(scaling, places, value, inputs, queries)
        out: Tensor = wide.to(value.dtype)
        ctx.save_for_backward(value, out, lse, *inputs)
        ctx.scaling, ctx.places = scaling, places
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        value, out, lse, *inputs = ctx.saved_tensors
        made = grads[0], out, lse
        found = [torch.zeros_like(states) for states in (value, *inputs)]
        for index, (begin, offset, cut) in enumerate(ctx.places):
            query, key = inputs[2 * index : 2 * index + 2]
            span = slice(offset, offset + key.shape[2])
            into = (found[2 * index + 1], found[2 * index + 2], found[0][:, :, span])
            for tile in cut:
                given = _parts(tile, query, key, value[:, :, span])
                shared = [_flat(_spread(states, tile, begin)) for states in made]
                if tile.shape == "upper":
                    shared = [states.flip(2) for states in shared]
                parts = kernel_backward(shared, given, tile.shape != "full", ctx.scaling)
                starts = ((tile.query, tile.queries), (tile.key, tile.keys), (tile.key, tile.keys))
                for gradient, part, place in zip(into, parts, starts, strict=True):
                    _blocks(gradient, *place, tile).add_(_back(part, tile, len(query)))
        return None, None, None, *found


def kernel_backward(shared: list[Tensor], given: list[Tensor], causal: bool, scaling: float) -> Sequence[Tensor]:
    """Gradients of a call's queries, keys and values; ``shared``: gradient, output, log-sum-exp of the whole."""
    gradient, out, lse = (states.contiguous() for states in shared)
    aten, device = torch.ops.aten, gradient.device
    if device.type == "cpu":
        rule = aten._scaled_dot_product_flash_attention_for_cpu_backward
        found: Sequence[Tensor] = rule(gradient, *given, out, lse, 0.0, causal, scale=scaling)
        return found
    if not _flash(given[0]):
        lse = torch.nn.functional.pad(lse, (0, -lse.shape[2] % 32), value=torch.inf)  # as the forward kernel does
        none, wanted = torch.zeros((), dtype=torch.int64, device=device), [True, True, True, False]
        rule = aten._scaled_dot_product_efficient_attention_backward
        shared = [out, lse, none, none]
        return rule(gradient, *given, None, *shared, 0.0, wanted, causal, scale=scaling)[:3]  # type: ignore[no-any-return]
    none = torch.zeros(2, dtype=torch.uint64, device=device)  # no dropout, so no state of a generator
    sizes = (None, None, given[0].shape[2], given[1].shape[2])
    rule = aten._scaled_dot_product_flash_attention_backward
    found = rule(gradient, *given, out, lse, *sizes, 0.0, causal, none, none[:0], scale=scaling)
    return found
