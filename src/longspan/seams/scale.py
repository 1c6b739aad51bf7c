"""A factor on the attention logits, through transformers' registered attention functions."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from longspan.errors import SeamError
from longspan.seams import trial
from longspan.seams.arguments import intercept, read_rows
from longspan.seams.journal import Journal

_KEYWORD = "longspan_scale"


class LogitScale:
    """Hands each query's factor to the attention function as a keyword.

    The keyword travels through ``**kwargs`` of every layer: no state on the model, so that threads do not
    meet and gradient checkpointing recomputes with the same factor.

    Args:
        factor: Broadcast from ``position [B, N]`` and real ``length [B, 1]``.
        attention: Name of the attention implementation that gets the factor.
    """

    def __init__(self, factor: Callable[[Tensor, Tensor], Tensor | float], attention: str) -> None:
        self.factor = factor
        self.attention = attention
        _register(attention)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Unpickled in another process, whose transformers has not heard of the implementation yet.
        self.__dict__.update(state)
        _register(self.attention)

    def __call__(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Add the factor, ``[B, 1, N or 1, 1]`` or a number."""
        rows = read_rows(arguments)
        factor = self.factor(rows.position, rows.length)
        if isinstance(factor, Tensor):
            factor = factor[:, None, :, None]
        return {**arguments, _KEYWORD: factor}


def apply(model: Any, journal: Journal, factor: Callable[[Tensor, Tensor], Tensor | float]) -> None:
    """Multiply every query by its factor, in front of the attention implementation the model has.

    Args:
        model: A transformers model with a configuration of its own.
        journal: Takes it back.
        factor: Broadcast from ``position [B, N]`` and real ``length [B, 1]``.

    Raises:
        SeamError: The model does not dispatch attention through transformers' interface.
    """
    config, kept = model.config, model.config._attn_implementation
    scale = LogitScale(factor, kept)
    name = _name(kept)
    with contextlib.suppress(ValueError, ImportError, KeyError):  # told below, in longspan's words
        model.set_attn_implementation(name)
    if config._attn_implementation != name or not _dispatches(model):
        raise SeamError(
            f"A {type(model).__name__} does not dispatch attention through transformers' interface, "
            "so its logits cannot be scaled.",
            "leave the scale out",
        )
    intercept(model.base_model, journal, scale, name)
    trial.run(model, journal)


def _name(attention: str) -> str:
    return f"longspan_{attention}"


def _register(attention: str) -> None:
    AttentionInterface.register(_name(attention), _Scaled(attention))
    AttentionMaskInterface.register(_name(attention), ALL_MASK_ATTENTION_FUNCTIONS[attention])


def _dispatches(model: nn.Module) -> bool:
    source = sys.modules[type(model).__module__]
    return hasattr(source, "ALL_ATTENTION_FUNCTIONS")


class _Scaled:
    """An attention function that multiplies the query ``[B, H, N, D]`` and calls the one it stands in front of."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **kwargs: Any
    ) -> Any:
        if _KEYWORD not in kwargs:
            raise SeamError(
                f"The factor on the logits does not reach the attention of a {type(module).__name__}: its layers hand "
                "no keywords on.",
                "leave the scale out, or use a constant one",
            )
        factor = kwargs.pop(_KEYWORD)
        query = query * (factor.to(query) if isinstance(factor, Tensor) else factor)
        eager = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
        attend: Any = eager if self.name == "eager" else ALL_ATTENTION_FUNCTIONS[self.name]
        return attend(module, query, key, value, attention_mask, **kwargs)
