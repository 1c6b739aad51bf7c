"""The slopes of ALiBi: a factor on the bias of each head, wherever a model keeps that bias."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from longspan.errors import SeamError
from longspan.seams import anatomy
from longspan.seams.arguments import Rows, intercept, read_rows
from longspan.seams.journal import Journal

Ratio = Callable[[int], Tensor]

_KEYWORDS = {
    # Where each block keeps its attention, and the keywords that carry the bias to it. Falcon has it inside the mask
    # as well: its fused attention reads the mask alone, the eager one adds up both.
    "bloom": ("self_attention", ("alibi",)),
    "mpt": ("attn", ("position_bias",)),
    "falcon": ("self_attention", ("alibi", "attention_mask")),
}
_ROWS: ContextVar[Rows] = ContextVar("rows of the forward call that runs")


def apply(model: Any, journal: Journal, ratio: Tensor, length: int, by_length: Ratio | None = None) -> None:
    """Multiply the slopes of every head.

    Args:
        model: A transformers model with a configuration of its own.
        journal: Takes it back.
        ratio: New slope over trained slope, ``[heads]``.
        length: Tokens the model shall read.
        by_length: The ratio ``[heads]`` for an input of so many real tokens; used in place of ``ratio``.

    Raises:
        SeamError: The model keeps no ALiBi bias in a known way, or ``by_length`` was given for a decoder.
    """
    owners, config = bias_owners(model), anatomy.text_config(model)
    if owners:
        _rebuild(model, journal, owners, ratio, length, by_length)
        return
    if config.model_type not in _KEYWORDS:
        raise SeamError(
            f"A {type(model).__name__} keeps no ALiBi bias where longspan looks for it.",
            f"the slopes of {', '.join(_KEYWORDS)} can be changed, and of encoders with a bias [1, heads, n, n] "
            "named alibi",
        )
    if by_length:
        raise SeamError(
            f"The slopes of a {config.model_type} cannot follow each input's length: it is a decoder.",
            "leave by_length out",
        )
    _scale(model.base_model, journal, ratio, length)


def bias_owners(model: nn.Module) -> list[Any]:
    """Modules that keep a bias ``[1, heads, n, n]`` under the name ``alibi``, as remote-code encoders do.

    JinaBERT has it as a buffer, MosaicBERT and DNABERT-2 as a plain attribute; both have ``_current_alibi_size``
    and a method ``rebuild_alibi_tensor(size, device)`` for longer inputs.
    """
    return [module for module in model.modules() if _is_bias(getattr(module, "alibi", None))]


def _is_bias(bias: Any) -> bool:
    return isinstance(bias, Tensor) and bias.dim() == 4 and len(bias) == 1 and bias.shape[2] == bias.shape[3] > 1


class ScaledBias:
    """A forward pre-hook on an attention module: the bias it is handed times the ratio.

    The models add slope times key index, which under a causal softmax is the published bias; it is linear in the
    slope all the same.

    Args:
        ratio: New slope over trained slope, ``[heads]``.
        keywords: Arguments that carry the bias, ``[heads or B heads, 1, K]`` or ``[B, heads, 1 or Q, K]``.
    """

    def __init__(self, ratio: Tensor, keywords: tuple[str, ...]) -> None:
        self.ratio = ratio
        self.keywords = keywords

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Exchange the bias."""
        return args, {**kwargs, **{name: self._scale(kwargs[name]) for name in self.keywords}}

    def _scale(self, bias: Tensor) -> Tensor:
        # Copied to the device once; each attention module has a hook of its own.
        self.ratio = self.ratio.to(bias.device)
        each = self.ratio if bias.dim() == 4 else self.ratio.repeat(len(bias) // len(self.ratio))
        # The lowest number stands for masked; scaled, a half-precision one would no longer be low enough.
        lowest = torch.finfo(bias.dtype).min
        return torch.where(bias == lowest, lowest, (bias * each[:, None, None]).to(bias.dtype))


def _scale(base: Any, journal: Journal, ratio: Tensor, length: int) -> None:
    config = anatomy.text_config(base)
    child, keywords = _KEYWORDS[config.model_type]
    attentions = [getattr(module, child) for module in base.modules() if hasattr(module, child)]
    if not attentions:
        raise SeamError(
            f"No block of this {type(base).__name__} keeps its attention under the name {child}.",
            "use the model class that transformers has for it",
        )
    for attention in attentions:
        journal.hook(attention, ScaledBias(ratio.float(), keywords), before=True)
    limit = getattr(config, "max_seq_len", None)
    if limit is not None:  # MPT builds its bias anew in every forward, with so many columns
        config.max_seq_len = max(limit, length)


class SymmetricBias:
    """Stands at ``owner.rebuild_alibi_tensor``: builds ``-slope |i - j|`` and puts it in place.

    Args:
        owner: The module that keeps the bias.
        slope: ``[heads]``, float64.
    """

    def __init__(self, owner: Any, slope: Tensor) -> None:
        self.owner = owner
        self.slope = slope

    def __call__(self, size: int, device: Any = None) -> Tensor:
        """A bias for ``size`` tokens, ``[1, heads, size, size]``."""
        old, place = self.owner.alibi, torch.arange(size, dtype=torch.float64)
        distance = (place[:, None] - place).abs()
        bias = torch.empty(1, len(self.slope), size, size, dtype=old.dtype)
        for head, slope in enumerate(self.slope):
            bias[0, head] = -slope * distance  # rounded once, from float64
        bias = bias.to(old.device if device is None else device)
        self.owner.alibi = bias
        if hasattr(self.owner, "_current_alibi_size"):
            self.owner._current_alibi_size = size
        return bias


class PerRow:
    """Stands at ``owner.forward``: runs it with a bias of each row's own, ``[B, heads, n, n]``.

    It runs on a shallow copy of the module, so that threads do not meet.

    Args:
        owner: The module that keeps the bias.
        ratio: New slope over trained slope ``[heads]``, for an input of so many real tokens.
    """

    def __init__(self, owner: Any, ratio: Ratio) -> None:
        self.owner = owner
        self.ratio = ratio

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the class's own forward."""
        rows, owner = _ROWS.get(), self.owner
        width = rows.real.shape[1]
        if width > owner.alibi.shape[-1]:
            owner.rebuild_alibi_tensor(size=width)
        ratio = torch.stack([self.ratio(length) for length in rows.length.flatten().tolist()])
        bias = owner.alibi[:, :, :width, :width]
        twin = copy.copy(owner)
        twin._buffers = dict(owner._buffers)
        twin.alibi = (bias * ratio.float().to(bias.device)[:, :, None, None]).to(bias.dtype)
        return type(owner).forward(twin, *args, **kwargs)


def _remember(arguments: dict[str, Any]) -> dict[str, Any]:
    _ROWS.set(read_rows(arguments))
    return arguments


def _rebuild(
    model: Any, journal: Journal, owners: list[Any], ratio: Tensor, length: int, by_length: Ratio | None
) -> None:
    slopes = [_trained_slopes(owner) for owner in owners]
    if by_length:
        intercept(model.base_model, journal, _remember)
    for owner, slope in zip(owners, slopes, strict=True):
        if by_length:
            _stand_in(owner, journal, by_length)
        grown = SymmetricBias(owner, slope if by_length else slope * ratio.double().cpu())
        journal.put(owner.__dict__, "rebuild_alibi_tensor", grown)
        for name in ("alibi", "_current_alibi_size"):  # which it writes, now and for longer inputs
            if hasattr(owner, name):
                journal.set(owner, name, getattr(owner, name))
        grown(size=max(length, owner.alibi.shape[-1]))


def _stand_in(owner: Any, journal: Journal, ratio: Ratio) -> None:
    if "forward" in owner.__dict__:
        raise SeamError(
            f"The forward of this {type(owner).__name__}, which keeps the bias, is not its class's own.",
            "leave by_length out",
        )
    journal.put(owner.__dict__, "forward", PerRow(owner, ratio))


def _trained_slopes(owner: Any) -> Tensor:
    """The slopes ``[heads]`` that the bias was built with, which must be all it holds."""
    bias: Tensor = owner.alibi
    if not bias.is_meta:
        slope = -bias[0, :, 0, 1].double().cpu()
        place = torch.arange(bias.shape[-1], device=bias.device)
        built = -slope.to(bias.device)[:, None] * (place - place[len(place) // 2]).abs()
        if bool((slope > 0).all()) and torch.allclose(bias[0, :, len(place) // 2].double(), built, rtol=2**-6):
            return slope
    raise SeamError(
        f"The bias of this {type(owner).__name__} is not -slope * |i - j| with a positive slope for each head.",
        "rebuild it first: call rebuild_alibi_tensor(size, device) of the module",
    )
