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
    slots = anatomy.position_tables(model)
    if not slots:
        raise SeamError(f"A {type(model).__name__} has no learned position table.", "use a frequency method")
    if len(slots) > 1:  # an encoder's and a decoder's, or LUKE's of words and of entities
        raise SeamError(
            f"A {type(model).__name__} has {len(slots)} position tables, and its configuration one length for all.",
            "extend the part that reads long texts, such as model.get_encoder()",
        )
    slot = slots[0]
    old, config = slot.module, anatomy.text_config(model)
    offset = anatomy.pad_offset(old)
    weight = torch.cat([old.weight[:offset], build(old.weight[offset:].detach()).to(old.weight)]).detach()

    # A shallow copy keeps subclasses (OPT's offset) and hooks; only the weight differs.
    new = copy.copy(old)
    new._parameters = {**old._parameters, "weight": nn.Parameter(weight, requires_grad=old.weight.requires_grad)}
    new.num_embeddings = len(weight)
    journal.set(slot.parent, slot.name, new)
    for name, buffer in _numbered(slot.parent, old.num_embeddings, len(weight)).items():
        journal.set(slot.parent, name, buffer)
    for module in anatomy.text_modules(model):
        for name, buffer in _causal(module, old.num_embeddings, len(weight)).items():
            journal.set(module, name, buffer)
    # OPT counts its offset apart; the others count the rows of the table.
    config.max_position_embeddings = len(weight) - (offset if old.padding_idx is None else 0)


def _numbered(parent: nn.Module, rows: int, wanted: int) -> dict[str, Tensor]:
    """The buffers beside a table that have its length, ``[rows]`` or ``[1, rows]``: numbers from 0 on, or zeros."""
    found = {}
    for name, buffer in parent.named_buffers(recurse=False):
        if buffer.dim() in (1, 2) and buffer.numel() == buffer.shape[-1] == rows:
            fill = torch.arange(wanted) if name == "position_ids" else torch.zeros(wanted)
            found[name] = fill.to(buffer).expand(*buffer.shape[:-1], -1)
    return found


def _causal(module: nn.Module, rows: int, wanted: int) -> dict[str, Tensor]:
    """The causal masks ``[1, 1, rows, rows]`` of ones and zeros that OpenAI-GPT keeps in its layers."""
    return {
        name: buffer.new_ones(1, 1, wanted, wanted).tril()
        for name, buffer in module.named_buffers(recurse=False)
        if buffer.shape == (1, 1, rows, rows) and torch.equal(buffer, torch.ones_like(buffer).tril())
    }
