"""A few tokens through a model, to see what reaches its attention before anything depends on it."""

from __future__ import annotations

from typing import Any

import torch

from longspan.seams import anatomy
from longspan.seams.journal import Journal

_TOKENS = 6


def run(model: Any, journal: Journal, **given: Any) -> None:
    """Six tokens through the base model, without gradients and dropout."""
    device = next(model.parameters()).device
    ids = torch.arange(_TOKENS, device=device).unsqueeze(0) % anatomy.text_config(model).vocab_size
    with torch.no_grad(), journal.passing() as passing:
        for module in model.modules():
            passing.put(module.__dict__, "training", False)
        model.base_model(input_ids=ids, attention_mask=torch.ones_like(ids), **given)
