"""A learned position table: its rows, the buffers beside it, and the configured limit."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from longspan.errors import SeamError
from longspan.seams import anatomy
from longspan.seams.journal import Journal


def apply(model: Any, journal: Journal, build: Callable[[Tensor], Tensor]) -> None:
    """Replace the position table.

    Args:
        model: A transformers model with a configuration of its own.
        journal: Takes it back: the old table and buffers, the same objects as before.
        build: The new rows ``[length, E]`` from the trained ones ``[window, E]``.

    Raises:
        SeamError: The model has no learned table.
    """
    slot = anatomy.position_table(model)
    if slot is None:
        raise SeamError(f"A {type(model).__name__} has no learned position table.", "use a frequency method")
    old, config = slot.module, anatomy.text_config(model)
    offset = anatomy.pad_offset(old)
    weight = torch.cat([old.weight[:offset], build(old.weight[offset:].detach()).to(old.weight)]).detach()

    # A shallow copy keeps subclasses (OPT's offset) and hooks; only the weight differs.
    new = copy.copy(old)
    new._parameters = {**old._parameters, "weight": nn.Parameter(weight, requires_grad=old.weight.requires_grad)}
    new.num_embeddings = len(weight)
    buffers = {
        name: buffer
        for name, buffer in slot.parent.named_buffers(recurse=False)
        if buffer.dim() == 2 and buffer.shape[1] == old.num_embeddings
    }
    journal.set(slot.parent, slot.name, new)
    for name, buffer in buffers.items():
        fill = torch.arange(len(weight)) if name == "position_ids" else torch.zeros(len(weight))
        journal.set(slot.parent, name, fill.to(buffer).expand(1, -1))
    # OPT counts its offset apart; the others count the rows of the table.
    config.max_position_embeddings = len(weight) - (offset if old.padding_idx is None else 0)
