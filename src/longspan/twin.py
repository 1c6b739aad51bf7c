"""A twin of a model: modules, configuration and tokenizer of its own around the same weights."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor

from longspan.errors import SeamError
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
