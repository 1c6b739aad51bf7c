"""What a model is about to read: its forward's arguments, rewritten on the way in."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from longspan.errors import SeamError
from longspan.seams import anatomy
from longspan.seams.journal import Journal

Rewrite = Callable[[dict[str, Any]], dict[str, Any]]


class _Forward:
    """Stands at ``module.forward``: rewrites the arguments, then calls the class's own forward.

    Not a forward pre-hook, because sentence-transformers calls ``model.forward`` itself and hooks
    would never run.

    Args:
        module: Whose forward it is.
        rewrites: What the arguments pass through, in this order.
        attention: The implementation of attention that reads what the rewrites add, "" where none has to.
    """

    def __init__(self, module: nn.Module, rewrites: list[Rewrite], attention: str) -> None:
        self.module = module
        self.rewrites = rewrites
        self.attention = attention
        # Callers ask which arguments the model takes (sentence-transformers, Trainer).
        self.__signature__ = inspect.signature(type(module).forward.__get__(module))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        found = anatomy.text_config(self.module)._attn_implementation if self.attention else ""
        if found != self.attention:
            raise SeamError(
                f"This extended {type(self.module).__name__} was told to attend by {found!r}, which knows nothing of "
                "the extension.",
                "call restore(model) first, then set_attn_implementation, then extend again",
            )
        arguments = {**dict(zip(self.__signature__.parameters, args, strict=False)), **kwargs}
        for rewrite in self.rewrites:
            arguments = rewrite(arguments)
        return type(self.module).forward(self.module, **arguments)


def intercept(module: nn.Module, journal: Journal, rewrite: Rewrite, attention: str = "") -> None:
    """Pass the named arguments of every forward through ``rewrite``, after those that do so already.

    Args:
        module: The base model.
        journal: Takes it back.
        rewrite: What the arguments pass through.
        attention: The implementation of attention that reads what it adds; without it, every forward is refused.

    Raises:
        SeamError: Another library has replaced the model's forward.
    """
    forward = module.__dict__.get("forward")
    if forward is not None and not isinstance(forward, _Forward):
        raise SeamError(
            f"The forward of this {type(module).__name__} was replaced by {forward!r}.",
            "extend the model before other libraries wrap it",
        )
    before = forward.rewrites if forward else []
    needed = attention or (forward.attention if forward else "")
    journal.put(module.__dict__, "forward", _Forward(module, [*before, rewrite], needed))


class Rows(NamedTuple):
    """The tokens of one forward call.

    Attributes:
        position: Index of each query token among its row's real tokens, int64 ``[B, N]``.
        length: Real tokens of each row, cached ones included, int64 ``[B, 1]``.
        real: Which of the N tokens are no padding, bool ``[B, N]``.
    """

    position: Tensor
    length: Tensor
    real: Tensor


def key_mask(arguments: dict[str, Any]) -> Tensor:
    """Which keys are no padding, cached ones included: ``[B, keys]``, nonzero where real.

    Raises:
        SeamError: The attention mask is not ``[B, keys]``, so lengths cannot be read.
    """
    mask = arguments.get("attention_mask")
    if mask is None:
        tokens, cache = _tokens(arguments), arguments.get("past_key_values")
        past = cache.get_seq_length() if cache is not None else 0
        return torch.ones(len(tokens), past + tokens.shape[1], dtype=torch.long, device=tokens.device)
    if not isinstance(mask, Tensor) or mask.dim() != 2:
        rank = f"of {mask.dim()} dimensions" if isinstance(mask, Tensor) else f"that is a {type(mask).__name__}"
        raise SeamError(
            f"An attention mask {rank} does not tell how long each input is.", "pass a mask of shape [batch, tokens]"
        )
    return mask


def read_rows(arguments: dict[str, Any]) -> Rows:
    """Each row's real length and positions, from the arguments of a base model's forward.

    Raises:
        SeamError: The attention mask is not ``[B, tokens]``, so lengths cannot be read.
    """
    count, mask = _tokens(arguments).shape[1], key_mask(arguments)
    seen = mask.long().cumsum(1)
    return Rows((seen - 1).clamp(min=0)[:, -count:], seen[:, -1:], mask[:, -count:].bool())


def _tokens(arguments: dict[str, Any]) -> Tensor:
    tokens = arguments.get("input_ids")
    found: Tensor = arguments["inputs_embeds"][..., 0] if tokens is None else tokens
    return found
