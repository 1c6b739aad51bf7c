"""Batches by cost: longest first, halved when memory does not suffice."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from longspan.errors import EncodeError

Result = TypeVar("Result")


def cost(tokens: int, width: int) -> float:
    """What a row costs, in tokens of a short row.

    A token takes ``24 width^2`` operations in the linear layers of a layer and ``4 tokens width`` in its
    attention, so that a row of ``6 width`` tokens costs twice its tokens.

    Args:
        tokens: Tokens of the row.
        width: Width of the model's states.
    """
    return tokens * (1 + tokens / (6 * width))


def budget(device: torch.device, width: int) -> int:
    """What a batch may cost [tokens of a short row].

    On a CPU small batches stay in the caches; on a GPU half of the free memory is taken at about 100
    numbers of 4 bytes for each token and dimension, and what does not fit is halved as it is met.
    """
    if device.type != "cuda":
        return 8192
    free, _ = torch.cuda.mem_get_info(device)
    return max(int(free / 2 / (400 * width)), 8192)


def run(
    forward: Callable[[list[int]], Result],
    handle: Callable[[list[int], Result], None],
    lengths: Sequence[int],
    budget: int,
    width: int,
) -> None:
    """Pass every row through ``forward`` in batches of nearly equal length.

    The longest rows come first: memory is highest at once, not at the end. Where it does not suffice the batch
    is halved, and all that follow with it.

    Args:
        forward: Takes the places of a batch's rows.
        handle: Takes the places, and what ``forward`` gave.
        lengths: Tokens of each row.
        budget: What a batch may cost [tokens of a short row]; a costlier row is a batch of its own.
        width: Width of the model's states.

    Raises:
        EncodeError: Memory does not suffice for a single row.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    limit = float(budget)
    while order:
        batch = _take(order, lengths, limit, width)
        try:
            result = forward(batch)
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            longest = lengths[batch[0]]
            if len(batch) == 1:
                raise EncodeError(
                    f"Memory does not suffice for one window of {longest} tokens.",
                    "use a strategy with a shorter window, or a lower dtype",
                ) from None
            limit = len(batch) * cost(longest, width) / 2
            warnings.warn(
                f"Memory did not suffice for {len(batch)} windows of up to {longest} tokens; going on with half "
                f"of that. Pass batch_tokens={int(limit)} to begin there.",
                stacklevel=2,
            )
            continue
        handle(batch, result)
        del order[: len(batch)]


def _take(order: Sequence[int], lengths: Sequence[int], limit: float, width: int) -> list[int]:
    longest = lengths[order[0]]
    # Every row at the price of the longest, which it has where it is padded. A row under three quarters of
    # it begins a new batch.
    fit = max(int(limit / cost(longest, width)), 1)
    return [row for row in order[:fit] if 4 * lengths[row] >= 3 * longest]


def _out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    told = str(error).lower()
    return "allocate memory" in told or "out of memory" in told or "not enough memory" in told
