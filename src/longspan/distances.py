"""What a plan makes of the positions of one input, where that depends on the pair or on the input's length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from longspan.families import Frequencies, Range

if TYPE_CHECKING:
    from longspan.planning import Plan


def ranges(made: Plan, query: Tensor, key: Tensor, length: int) -> list[Range]:
    """The ranges of an attention call.

    What a query of a decoder gets depends on its own position alone, never on what comes after it, so that
    cached tokens agree with a full forward.

    Args:
        made: The plan.
        query: Positions of the queries, consecutive, int64 ``[Q]``.
        key: Positions of the keys, consecutive, int64 ``[K]``.
        length: Real tokens of the input, cached ones included.
    """
    tokens = query + 1 if made.geometry.role == "decoder" else torch.full_like(query, length)
    found = _paired(made, query, key, length, tokens)
    if made.by_length:
        maps = list(_maps(made, tokens))
        found = [_only(each._replace(frequencies=new), where) for new, where in maps for each in found]
    return [each for each in found if bool((each.last > each.first).any())]


def plain(query: Tensor, key: Tensor, length: int, *, causal: bool) -> Range:
    """Every pair at its true distance."""
    last = query + 1 if causal else torch.full_like(query, length)
    return Range(query.double(), key.double(), torch.zeros_like(query), last)


def within(each: Range, query: Tensor, window: int) -> Range:
    """A range without the pairs at a distance of ``window`` or more, as a sliding layer sees it."""
    first, last = torch.maximum(each.first, query - window + 1), torch.minimum(each.last, query + window)
    return each._replace(first=first, last=last)


def _paired(made: Plan, query: Tensor, key: Tensor, length: int, tokens: Tensor) -> list[Range]:
    """The pairwise method's ranges; below the window true distances where the method is adaptive."""
    method, trained = made.of("pairwise"), plain(query, key, length, causal=made.geometry.role == "decoder")
    if method is None:
        return [trained]
    found: list[Range] = method.ranges(query, key, length, made.geometry, made.length)
    if not made.adaptive:
        return found
    beyond = tokens > made.geometry.window
    return [_only(trained, ~beyond), *(_only(each, beyond) for each in found)]


def _maps(made: Plan, tokens: Tensor) -> Iterator[tuple[Frequencies, Tensor]]:
    """The rotation maps in use and which queries read by each; lengths that share a map are one."""
    rounded = rounded_up(made, tokens)
    kept: list[tuple[Frequencies, Tensor]] = []
    for length in sorted(set(rounded.tolist())):
        new, where = made.frequencies_at(length), rounded == length
        if kept and _same(kept[-1][0], new):
            new, before = kept.pop()
            where |= before
        kept.append((new, where))
    yield from kept


def rounded_up(made: Plan, tokens: Tensor) -> Tensor:
    """The length whose map applies: an encoder's real one; a decoder's in whole steps, within the target."""
    window = made.geometry.window
    if made.geometry.role == "encoder":
        return tokens
    step = getattr(made.of("frequencies"), "step", None) or window
    stepped = torch.minimum((tokens + step - 1) // step * step, tokens.clamp(min=made.length))
    return torch.where(tokens <= window, tokens.new_tensor(window), stepped)


def _same(one: Frequencies, other: Frequencies) -> bool:
    return torch.equal(one.inv_freq, other.inv_freq) and one[1:] == other[1:]


def _only(each: Range, where: Tensor) -> Range:
    """A range for some of its queries."""
    nothing = torch.zeros_like(each.first)
    return each._replace(first=torch.where(where, each.first, nothing), last=torch.where(where, each.last, nothing))
