"""Late rotation: raw queries and keys reach attention, which rotates them itself, by any ranges of positions.

Every rotary module answers cos = 1 and sin = 0, so that the KV cache holds raw keys. The plan's ranges travel
as a keyword of the forward call: no state on the model, so threads do not meet and gradient checkpointing
recomputes the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

from longspan import attention
from longspan.attention.call import Call
from longspan.distances import plain, within
from longspan.errors import SeamError
from longspan.families import Range
from longspan.seams import anatomy
from longspan.seams.arguments import intercept
from longspan.seams.groups import Group, groups
from longspan.seams.journal import Journal
from longspan.seams.layers import LAYER, Layer, Tables, attach

ATTENTION = "longspan_late"
KEYWORD = "longspan_late"

Ranges = Callable[[Tensor, Tensor, int], list[Range]]
"""What a plan makes of query positions ``[Q]``, key positions ``[K]`` and a real length."""


class Identity:
    """A forward hook on a rotary module: nothing turns before attention."""

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, ...]:
        """A cos of 1 and a sin of 0, in the shape of the output."""
        return torch.ones_like(output[0]), torch.zeros_like(output[1])


class Late:
    """Hands the ranges of every forward to the attention function.

    Args:
        ranges: The plan's.
        window: Trained length [tokens]; a layer that looks no further keeps true distances.
        causal: Whether a query sees only what stands before it.
        backend: Name of the way to compute attention.
    """

    def __init__(self, ranges: Ranges, window: int, causal: bool, backend: str) -> None:
        self.ranges = ranges
        self.window = window
        self.causal = causal
        self.backend = backend

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def __call__(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Add the keyword.

        Raises:
            SeamError: Rows cannot be told from padding, or weights are asked for that the backend never has.
        """
        _check_weights(bool(arguments.get("output_attentions")), self.backend)
        return {**arguments, KEYWORD: Forward(self, groups(arguments))}


class Forward:
    """One forward call: its rows, and the ranges and rotation tables that its layers share."""

    def __init__(self, late: Late, rows: list[Group]) -> None:
        self.late = late
        self.rows = rows
        self.tables = Tables()
        self._ranges: dict[tuple[int, int, int | None, bool], list[Range]] = {}

    def attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, options: dict[str, Any]
    ) -> tuple[Tensor, Tensor | None]:
        """Attention of one layer, ``[B, Q, heads, D']``, and the weights where the backend has them."""
        layer: Layer = module.__dict__[LAYER]
        out = query.new_zeros(query.shape[0], query.shape[2], query.shape[1], value.shape[3])
        weights = None
        for index, group in enumerate(self.rows):
            place, start = group.keys_of(key.shape[2])
            call = Call(
                query[group.rows, :, group.query],
                key[group.rows, :, place],
                value[group.rows, :, place],
                self._pairs(index, start, layer, options.get("sliding_window")),
                start,
                rotate=partial(self._rotate, module, layer),
                scaling=options.get("scaling") or query.shape[3] ** -0.5,
                softcap=options.get("softcap"),
                sinks=options.get("s_aux"),
                dropout=options.get("dropout") or 0.0,
            )
            states, found = attention.attend(call, self.late.backend)
            states = states.transpose(1, 2).contiguous()
            if states.shape == out.shape and (found is None or found.shape[3] == key.shape[2]):
                return states, found
            out[group.rows, group.query] = states
            weights = _put(weights, found, group, query.shape, key.shape)
        return out, weights

    def _rotate(self, module: nn.Module, layer: Layer, states: Tensor, position: Tensor, each: Range) -> Tensor:
        return layer.rotate(module, states, self.tables.at(layer, states, position, each))

    def _pairs(self, index: int, start: int, layer: Layer, sliding: int | None) -> list[Range]:
        """The ranges of a group in a layer; cached, since layers share them."""
        late, group = self.late, self.rows[index]
        kept = (index, start, sliding, layer.extended)
        if kept not in self._ranges:
            query, key = torch.arange(group.start, group.length), torch.arange(start, group.length)
            if not layer.extended or (sliding is not None and sliding <= late.window):
                found = [plain(query, key, group.length, causal=late.causal)]
            else:
                found = late.ranges(query, key, group.length)
            self._ranges[kept] = [within(each, query, sliding) for each in found] if sliding else found
        return self._ranges[kept]


def apply(
    model: Any, journal: Journal, ranges: Ranges, *, window: int, causal: bool, layer_type: str, backend: str | None
) -> None:
    """Let attention rotate queries and keys by a plan's ranges.

    Args:
        model: A transformers model with rotary positions and a configuration of its own.
        journal: Takes it back.
        ranges: The plan's.
        window: Trained length [tokens].
        causal: Whether the model is a decoder.
        layer_type: The layer type that is extended, "" for all.
        backend: A name of ``attention.BACKENDS``; None for the documented rule.

    Raises:
        SeamError: The rotation of a layer cannot be reproduced, its attention reads a mask of its own, or the backend
            cannot compute this model.
    """
    config = model.config
    register()
    with contextlib.suppress(ValueError, ImportError, KeyError):  # told below, in longspan's words
        model.set_attn_implementation(ATTENTION)
    if config._attn_implementation != ATTENTION:
        raise SeamError(
            f"A {type(model).__name__} does not dispatch attention through transformers' interface, "
            "so its queries and keys cannot be rotated late.",
            "use a static frequency method, such as ntk or yarn",
        )
    attach(model, journal, KEYWORD, layer_type)
    probed = [module.__dict__[LAYER] for module in model.modules() if LAYER in module.__dict__]
    chosen = attention.choose(backend, special=any(layer.special for layer in probed))
    _check_weights(bool(getattr(config, "output_attentions", False)), chosen)
    for slot in anatomy.rotary_modules(model):
        journal.hook(slot.module, Identity())
    intercept(model.base_model, journal, Late(ranges, window, causal, chosen), ATTENTION)


def _check_weights(wanted: bool, backend: str) -> None:
    if wanted and backend != "eager":
        raise SeamError(
            f"The {backend} backend never holds the weights that output_attentions=True asks for.",
            'extend with attention="eager"',
        )


def _put(weights: Tensor | None, found: Tensor | None, group: Group, query: Any, key: Any) -> Tensor | None:
    """A group's weights in those of the batch, where padding has weight 0."""
    if found is None:
        return None
    weights = found.new_zeros(*query[:3], key[2]) if weights is None else weights
    rows, queries = torch.arange(query[0])[group.rows], torch.arange(query[2])[group.query]
    keys = torch.arange(key[2])[group.keys_of(key[2])[0]]
    weights[rows[:, None, None], :, queries[:, None], keys] = found.permute(0, 2, 3, 1)
    return weights


# A compiled model calls it as it is: its tiles differ from length to length, and would be compiled for minutes.
@torch.compiler.disable  # type: ignore[untyped-decorator]
def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **options: Any
) -> tuple[Tensor, Tensor | None]:
    forward = options.pop(KEYWORD, None) or attention_mask  # where layers have put it that hand no keywords on
    if not hasattr(forward, "attend"):
        raise SeamError(
            f"The attention of a {type(module).__name__} was called without the extension's ranges.",
            "call the extended model, not a part of it",
        )
    found: tuple[Tensor, Tensor | None] = forward.attend(module, query, key, value, options)
    if isinstance(attention_mask, Tensor):
        raise SeamError(
            f"The attention of a {type(module).__name__} adds a bias that its layer makes, which late rotation drops.",
            "use a static frequency method, such as ntk or yarn",
        )
    return found


def _no_mask(*args: Any, **kwargs: Any) -> None:
    """Rows are attended without their padding, so no mask is built, whatever its size would be."""


def register() -> None:
    """Tell transformers of the attention function; it needs a mask function of the same name."""
    AttentionInterface.register(ATTENTION, _attend)
    AttentionMaskInterface.register(ATTENTION, _no_mask)


register()
