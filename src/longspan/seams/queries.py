"""A constant factor on the attention logits, as a factor on the weights that make the queries."""

from __future__ import annotations

from typing import Any

from torch import nn

from longspan.seams import anatomy
from longspan.seams.journal import Journal


def apply(model: Any, journal: Journal, factor: float) -> None:
    """Multiply weight and bias of every query projection; stock tools load the result.

    Args:
        model: A transformers model whose geometry has ``scalable_queries``.
        journal: Takes it back: the old parameters, the same objects as before.
        factor: The factor on the logits, unitless.
    """
    for layer in anatomy.query_projections(model):
        for name, old in layer.named_parameters(recurse=False):
            journal.set(layer, name, nn.Parameter(old.detach() * factor, requires_grad=old.requires_grad))
