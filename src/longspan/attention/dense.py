"""The meaning of attention over ranges: every score in one table. Memory grows with queries times keys."""

from __future__ import annotations

import torch
from torch import Tensor

from longspan.attention.call import Call, repeated


def attend(call: Call) -> tuple[Tensor, Tensor]:
    """Scores of each range where it is seen, one softmax, in eager torch; differentiable.

    Returns:
        The output ``[B, heads, Q, D']`` and the weights ``[B, heads, Q, K]``.
    """
    query, key = call.query, call.key
    shape = (query.shape[0], query.shape[1], query.shape[2], key.shape[2])
    wide = torch.promote_types(query.dtype, torch.float32)
    scores = query.new_full(shape, -torch.inf, dtype=wide)
    for each, span in call.spans():
        rotated, keys = call.turned(each, span)
        found = (rotated @ repeated(keys, call.repeats).transpose(2, 3)).to(wide) * call.scaling
        if call.softcap is not None:
            found = call.softcap * torch.tanh(found / call.softcap)
        place = torch.arange(found.shape[3], device=query.device)
        seen = (place >= span.first.to(place.device)[:, None]) & (place < span.last.to(place.device)[:, None])
        part = scores[:, :, span.query, span.key]
        scores = scores.clone() if scores.requires_grad else scores
        scores[:, :, span.query, span.key] = torch.where(seen, found, part)
    if call.sinks is not None:
        sinks = call.sinks.to(wide).reshape(1, -1, 1, 1).expand(*shape[:3], 1)
        weights = torch.softmax(torch.cat([scores, sinks], dim=-1), dim=-1)[..., :-1]
    else:
        weights = torch.softmax(scores, dim=-1)
    weights = torch.dropout(weights, call.dropout, train=call.dropout > 0).to(query.dtype)
    return weights @ repeated(call.value, call.repeats), weights
