"""A constant factor on the attention logits, as a factor on the weights that make the queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from longspan.seams import anatomy


def apply(model: Any, factor: float) -> Callable[[], None]:
    """Multiply weight and bias of every query projection; stock tools load the result.

    Args:
        model: A transformers model whose geometry has ``scalable_queries``.
        factor: The factor on the logits, unitless.

    Returns:
        The undo: the old parameters, the same objects as before.
    """
    before = [(layer, dict(layer._parameters)) for layer in anatomy.query_projections(model)]
    for layer, parameters in before:
        for name, old in parameters.items():
            if old is not None:
                layer._parameters[name] = nn.Parameter(old.detach() * factor, requires_grad=old.requires_grad)

    def undo() -> None:
        for layer, parameters in before:
            layer._parameters.update(parameters)

    return undo
