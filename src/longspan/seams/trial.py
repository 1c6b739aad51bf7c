"""A few tokens through a model, to see what reaches its attention before anything depends on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from longspan.seams import anatomy

_TOKENS = 6


def run(model: Any, **given: Any) -> None:
    """Six tokens through the base model, without gradients."""
    device = next(model.parameters()).device
    ids = torch.arange(_TOKENS, device=device).unsqueeze(0) % anatomy.text_config(model).vocab_size
    with torch.no_grad(), _at_rest(model):
        model.base_model(input_ids=ids, attention_mask=torch.ones_like(ids), **given)


@contextmanager
def _at_rest(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while, without dropout."""
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training
