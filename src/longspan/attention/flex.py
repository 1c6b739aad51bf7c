"""Attention over ranges by FlexAttention: compiled, with the model's bounds on logits and its sinks.

On a GPU each range is one call, merged by the log-sum-exp; gradients flow. Compiled code for CPUs has no
log-sum-exp and no backward: there one call holds all ranges, their queries side by side in the channels and
their keys one behind the other, each in its own channels. Memory grows with queries plus keys, and with the square
of their blocks of 128, some bytes each.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, flex_attention

from longspan.attention.call import Call, repeated
from longspan.errors import SeamError, one_line

_BLOCK = 128
_FORMS = 64
"""Compiled forms that are kept; torch's own limit of 8 is soon reached by models with several kinds of layers."""


def attend(call: Call) -> tuple[Tensor, None]:
    """The output ``[B, heads, Q, D']``; differentiable on a GPU.

    Raises:
        SeamError: The call asks for what FlexAttention does not have, or it cannot be compiled here.
    """
    states = (call.query, call.key, call.value)
    cpu = call.query.device.type == "cpu"
    if call.dropout > 0:
        raise SeamError("FlexAttention does not know dropout of weights.", 'pass attention="eager"')
    if cpu and torch.is_grad_enabled() and any(each.requires_grad for each in states):
        raise SeamError("FlexAttention has no gradients on a CPU.", 'pass attention="sdpa"')
    return (_joined(call) if cpu else _merged(call)), None


def _merged(call: Call) -> Tensor:
    """One call for each range; the log-sum-exp says how much weight each has."""
    queries, least = call.query.shape[2], torch.finfo(torch.float32).min / 2
    parts, sizes = [], []
    for each, span in call.spans():
        query, key = call.turned(each, span)
        first, last = span.first.to(query.device), span.last.to(query.device)
        out, lse = _run(call, query, key, call.value[:, :, span.key], first[None], last[None])
        around = (span.query.start, queries - span.query.stop)  # queries that see nothing here
        lse = torch.where(last > first, cast(Tensor, lse), least)  # and those between
        parts.append(torch.nn.functional.pad(out.float(), (0, 0, *around)))
        sizes.append(torch.nn.functional.pad(lse, around, value=least))
    if call.sinks is not None:
        sizes.append(call.sinks.float().reshape(1, -1, 1).expand_as(sizes[0]))
    weights = torch.softmax(torch.stack(sizes), dim=0).unsqueeze(-1)
    merged = torch.stack([part * weight for part, weight in zip(parts, weights, strict=False)]).sum(0)
    return merged.to(call.query.dtype)


def _joined(call: Call) -> Tensor:
    """One call for all ranges: keys of each in their own channels, where only its own queries are not zero."""
    spans = list(call.spans())
    width, queries = call.query.shape[3], call.query.shape[2]
    # One more range: of the sink, a key that scores the sink's logit and has no value; without sinks of none.
    sink = int(call.sinks is not None)
    total = sum(span.key.stop - span.key.start for _, span in spans) + sink
    # A form is compiled for each size, so sizes are whole blocks; a token that is decoded is one query.
    total, rows = _whole(total), queries if queries == 1 else _whole(queries)
    query = call.query.new_zeros(*call.query.shape[:2], rows, len(spans) * width)
    key = call.key.new_zeros(*call.key.shape[:2], total, len(spans) * width)
    value = call.value.new_zeros(*call.key.shape[:2], total, call.value.shape[3])
    owner = torch.full((total,), len(spans))
    first, last = torch.zeros(2, len(spans) + 1, rows, dtype=torch.int64)
    begin = 0
    for index, (each, span) in enumerate(spans):
        own = slice(index * width, (index + 1) * width)
        place = slice(begin, begin + span.key.stop - span.key.start)
        query[:, :, span.query, own], key[:, :, place, own] = call.turned(each, span)
        value[:, :, place] = call.value[:, :, span.key]
        first[index, span.query], last[index, span.query] = span.first + begin, span.last + begin
        owner[place], begin = index, place.stop
    if sink:
        first[-1], last[-1] = total - 1, total
    return _run(call, query, key, value, first, last, owner)[0][:, :, :queries]


def _whole(count: int) -> int:
    return count + -count % _BLOCK


def _run(
    call: Call, query: Tensor, key: Tensor, value: Tensor, first: Tensor, last: Tensor, owner: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """One compiled call: output, and log-sum-exp where there is one.

    Args:
        call: What it is part of.
        query: Rotated, as are keys.
        key: Of one range, or of several one behind the other.
        value: Of these keys.
        first: First key that each query sees in each range ``[ranges, Q]``.
        last: One behind the last.
        owner: The range of each key where there are several; the log-sum-exp is then left out.

    Raises:
        SeamError: It cannot be compiled.
    """
    sizes, sinks, cap = (query.shape[2], key.shape[2]), call.sinks, call.softcap
    joined = owner is not None

    def seen(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        row = 0 if owner is None else owner[k]
        return (first[row, q] <= k) & (k < last[row, q])

    def score(logit: Tensor, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        if cap is not None:
            logit = cap * torch.tanh(logit / cap)
        if joined and sinks is not None:
            logit = torch.where(k == sizes[1] - 1, sinks[h].to(logit.dtype), logit)
        return logit

    repeats = call.repeats
    if repeats & (repeats - 1):  # decoding asks for a power of two
        key, value, repeats = repeated(key, repeats), repeated(value, repeats), 1
    plain = cap is None and (sinks is None or not joined)
    options: dict[str, Any] = {} if joined else {"return_aux": AuxRequest(lse=True)}
    try:
        with torch._dynamo.config.patch(recompile_limit=_FORMS):
            found = _compiled(joined)(
                *(query, key, value),
                score_mod=None if plain else score,
                block_mask=_blocks(first, last, sizes, seen),
                scale=call.scaling,
                enable_gqa=repeats > 1,
                **options,
            )
    except (TorchDynamoException, FailOnRecompileLimitHit) as error:
        raise SeamError(
            f"FlexAttention could not be compiled here: {one_line(error)}", 'pass attention="sdpa"'
        ) from error
    return (found, None) if joined else (found[0], found[1].lse)


@functools.cache
def _compiled(joined: bool) -> Callable[..., Any]:
    """FlexAttention, compiled whole: without that torch would go back to the dense form when it has enough forms."""
    return torch.compile(flex_attention, fullgraph=True, dynamic=False if joined else None)


def _blocks(first: Tensor, last: Tensor, sizes: tuple[int, int], seen: Callable[..., Tensor]) -> BlockMask:
    """Which blocks of keys a block of queries sees, and which it sees whole; no table of queries times keys.

    Args:
        first: First key that each query sees in each range ``[ranges, Q]``.
        last: One behind the last.
        sizes: Queries and keys.
        seen: The mask within a block.
    """
    shape, rest = (len(first), -1, _BLOCK), (0, -sizes[0] % _BLOCK)
    least, most = (torch.nn.functional.pad(side, rest).reshape(shape) for side in (first, last))
    live = most > least
    begin = torch.arange(0, sizes[1], _BLOCK, device=first.device)
    # Of a range, a block of queries sees keys between the least and the most that one of them sees.
    outer = least.where(live, sizes[1]).amin(2, True), most.where(live, 0).amax(2, True)
    inner = least.where(live, sizes[1]).amax(2, True), most.where(live, 0).amin(2, True)
    some = ((begin + _BLOCK > outer[0]) & (begin < outer[1])).any(0)
    whole = ((begin >= inner[0]) & (begin + _BLOCK <= inner[1])).any(0)
    partly, fully = (_listed(part) for part in (some & ~whole, whole))
    return BlockMask.from_kv_blocks(*partly, *fully, BLOCK_SIZE=_BLOCK, mask_mod=seen, seq_lengths=sizes)


def _listed(part: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks of keys each row has, and which: these first, ``[1, 1, rows]`` and ``[1, 1, rows, blocks]``."""
    order = part.int().argsort(dim=1, descending=True, stable=True)
    return part.sum(1, dtype=torch.int32)[None, None], order.int()[None, None]
