"""A twin of a model: modules, configuration and tokenizer of its own around the same weights."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor

from longspan.errors import SeamError
from longspan.extension import extend
from longspan.planning import Methods, Plan
from longspan.tokenizer import own


def twin(model: Any) -> Any:
    """A copy that can be changed without changing the model; weights are shared, so it costs no memory.

    Seams exchange tensors and never write into one, so that a twin may be extended while others use the model. The
    twin of an extended model is extended as well; it cannot be restored.

    Args:
        model: A SentenceTransformer or a transformers model.

    Raises:
        SeamError: Something that hangs on the model cannot be copied.
    """
    kept: dict[int, Any] = {}
    for module in model.modules():
        held = (*module._parameters.values(), *module._buffers.values(), *vars(module).values())
        kept |= {id(tensor): tensor for tensor in held if isinstance(tensor, Tensor)}
    if (tokenizer := getattr(model, "tokenizer", None)) is not None:
        kept[id(tokenizer)] = own(tokenizer)
    if (card := getattr(model, "model_card_data", None)) is not None:
        kept[id(card)] = copy.copy(card)  # behind it stand a trainer and its data
    try:
        return copy.deepcopy(model, kept)
    except (TypeError, RuntimeError, AttributeError, ValueError) as error:
        raise SeamError(
            f"What hangs on this {type(model).__name__} cannot be copied: {error}",
            "take off what is neither module, tensor nor plain data",
        ) from error


def extended_twin(
    model: Any,
    to: int | None = None,
    method: Methods | Plan = None,
    *,
    window: int | None = None,
    attention: str | None = None,
) -> Any:
    """``extend`` on a twin: the model stays as it is, also for whoever uses it meanwhile.

    Weights are shared; what the extension adds, such as a longer table, is the twin's own.

    Args:
        model: A SentenceTransformer or a transformers model, not extended.
        to: As for ``extend``, and so are the others.
        method: Likewise.
        window: Likewise.
        attention: Likewise.

    Raises:
        PlanError: The methods do not fit, or the choice of attention would have no effect.
        SeamError: The model cannot be copied, or the plan cannot be written into it.
    """
    return extend(twin(model), to, method, window=window, attention=attention)
