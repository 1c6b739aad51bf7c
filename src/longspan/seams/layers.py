"""What each attention layer does with positions, found by running it: which rotary map it uses, and how."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from longspan.errors import SeamError
from longspan.families import Frequencies, Range
from longspan.seams import anatomy, trial
from longspan.seams.journal import Journal

LAYER = "_longspan_layer"
"""Attribute of an attention module that holds its ``Layer``."""

_ROTATE = "apply_rotary_pos_emb"
_BYTES = 64 << 20
"""Tables of cos and sin that a forward keeps for its next layer [bytes]."""

Turn = tuple[Tensor, Tensor]
"""cos and sin, ``[1, N, D]``."""


@dataclass(frozen=True)
class Layer:
    """How one attention layer rotates.

    Attributes:
        rotary: The module that turns positions into cos and sin, None for a layer without positions.
        layer_type: What the rotary module is told, "" where all layers share one map.
        whole: Whether the modelling file's own function takes the whole head, not its rotary channels alone.
        extended: Whether the plan is about this layer.
        special: Whether its logits are bounded or share weight with sinks.
    """

    rotary: Any
    layer_type: str = ""
    whole: bool = True
    extended: bool = True
    special: bool = False

    def turn(self, states: Tensor, position: Tensor, frequencies: Frequencies | None) -> Turn:
        """The cos and sin of any positions ``[N]``, by the rotary module's own forward, which no hook stands before."""
        rotary = self.rotary if frequencies is None else _with_map(self.rotary, frequencies, self.layer_type)
        given = position.to(states.device, torch.float32).unsqueeze(0)
        extra = (self.layer_type,) if self.layer_type else ()
        found: Turn = type(rotary).forward(rotary, states, given, *extra)
        return found

    def rotate(self, module: nn.Module, states: Tensor, turn: Turn | None) -> Tensor:
        """Rotate ``[B, H, N, D]`` by the modelling file's own function."""
        if turn is None:
            return states
        rule = getattr(sys.modules[type(module).__module__], _ROTATE)
        if self.whole:
            whole: Tensor = rule(states, states[:, :0], *turn)[0]
            return whole
        width = turn[0].shape[-1]
        part = rule(states[..., :width], states[:, :0, :, :width], *turn)[0]
        return torch.cat([part, states[..., width:]], dim=-1)


class Tables:
    """The cos and sin that the layers of one forward share; the same positions are looked up once.

    Where there are many ranges, as with a map for each window of a long input, what does not fit is made anew.
    """

    def __init__(self) -> None:
        self._left = _BYTES
        self._kept: dict[tuple[Any, ...], list[tuple[Tensor, Range, Turn]]] = {}

    def at(self, layer: Layer, states: Tensor, position: Tensor, each: Range) -> Turn | None:
        """The cos and sin of positions ``[N]`` in a range; None for a layer without positions."""
        if layer.rotary is None:
            return None
        form = states.device, states.dtype
        kept = self._kept.setdefault((id(layer.rotary), layer.layer_type, each.lookup, len(position), *form), [])
        for old, other, turn in kept:
            if other.frequencies is each.frequencies and torch.equal(old, position):
                return turn
        turn = _turn(layer, states, position, each)
        if (size := sum(part.numel() * part.element_size() for part in turn)) <= self._left:
            self._left -= size
            kept.append((position, each, turn))
        return turn


def _turn(layer: Layer, states: Tensor, position: Tensor, each: Range) -> Turn:
    new = each.frequencies
    if each.lookup == "linear":
        share = (position - position.floor()).to(states.device)[None, :, None]
        low, high = (layer.turn(states.float(), side, new) for side in (position.floor(), position.ceil()))
        cos, sin = (torch.lerp(a, b, share.to(a)).to(states.dtype) for a, b in zip(low, high, strict=True))
        return cos, sin
    found = layer.turn(states, position, new)
    if new is None or not new.first:
        return found
    near = (position < new.first).to(states.device)[None, :, None]
    kept = layer.turn(states, position, None)
    return torch.where(near, kept[0], found[0]), torch.where(near, kept[1], found[1])


def _with_map(rotary: Any, new: Frequencies, layer_type: str) -> Any:
    """A rotary module like this one that turns by another map."""
    made, prefix = copy.copy(rotary), f"{layer_type}_" if layer_type else ""
    old = made._buffers[f"{prefix}inv_freq"]
    made._buffers = {**made._buffers, f"{prefix}inv_freq": new.inv_freq.to(old)}
    made.__dict__[f"{prefix}attention_scaling"] = new.attention_factor
    # The map is final: nothing in transformers may scale it by length again.
    made.__dict__["rope_type"] = {**made.rope_type, layer_type: "default"} if layer_type else "default"
    return made


def attach(model: Any, journal: Journal, keyword: str, layer_type: str) -> None:
    """Find out how every attention layer rotates and leave a ``Layer`` on it.

    Args:
        model: A transformers model whose attention function is the one that reads ``keyword``.
        journal: Takes it back.
        keyword: Keyword of the forward call that holds what attends.
        layer_type: The layer type that is extended, "" for all.

    Raises:
        SeamError: A layer's rotation cannot be reproduced outside of it.
    """
    slots, turned, raw = anatomy.rotary_modules(model), _Probe(), _Probe()
    with _watching(slots, journal, still=False) as maps:
        try:
            trial.run(model, journal, **{keyword: turned})
        except SeamError:
            if turned.seen:
                raise
            # attention was reached, and the keyword was not there
            _relay(model, journal, keyword)
            trial.run(model, journal, **{keyword: turned})
    with _watching(slots, journal, still=True):
        trial.run(model, journal, **{keyword: raw})
    if not turned.seen:
        raise SeamError(
            f"No layer of a {type(model).__name__} attends through transformers' interface.",
            "use a static frequency method, such as ntk or yarn",
        )
    for module, states in turned.seen.items():
        layer = _layer(module, states[:2], raw.seen[module][:2], maps, layer_type, states[2])
        journal.put(module.__dict__, LAYER, layer)


def _relay(model: nn.Module, journal: Journal, keyword: str) -> None:
    """Let layers that hand no keywords on (nemotron, stablelm) hand it on as the mask, which stands empty."""
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            journal.hook(module, partial(_as_mask, keyword), before=True)


def _as_mask(keyword: str, layer: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    return args, {**kwargs, "attention_mask": kwargs.get(keyword)}


def _layer(
    module: nn.Module,
    turned: tuple[Tensor, Tensor],
    raw: tuple[Tensor, Tensor],
    maps: list[tuple[nn.Module, str, Turn]],
    extended: str,
    special: bool,
) -> Layer:
    if all(torch.equal(a, b) for a, b in zip(turned, raw, strict=True)):
        return Layer(None, extended=False, special=special)
    close = 1e-4 if raw[0].dtype == torch.float32 else 3e-2
    for rotary, layer_type, turn in maps:
        for whole in (True, False):
            layer = Layer(rotary, layer_type, whole, layer_type == extended, special)
            try:
                again = [layer.rotate(module, states, turn) for states in raw]
            except (RuntimeError, AttributeError, TypeError, ValueError):
                continue
            if all(
                a.shape == b.shape and torch.allclose(a, b, close, close) for a, b in zip(again, turned, strict=True)
            ):
                return layer
    raise SeamError(
        f"The rotation in a {type(module).__name__} cannot be reproduced outside of it.",
        "use a static frequency method, such as ntk or yarn",
    )


class _Probe:
    """Stands in for attention, notes what reaches it, and answers zeros, so that all runs see the same states."""

    def __init__(self) -> None:
        self.seen: dict[nn.Module, tuple[Tensor, Tensor, bool]] = {}

    def attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, options: dict[str, Any]
    ) -> tuple[Tensor, None]:
        """Zeros ``[B, Q, heads, D']``."""
        special = options.get("softcap") is not None or options.get("s_aux") is not None
        self.seen[module] = query, key, special
        return query.new_zeros(query.shape[0], query.shape[2], query.shape[1], value.shape[3]), None


@contextmanager
def _watching(
    slots: list[anatomy.Slot], journal: Journal, *, still: bool
) -> Iterator[list[tuple[nn.Module, str, Turn]]]:
    """Note what rotary modules answer; with ``still`` they answer that nothing turns."""
    noted: list[tuple[nn.Module, str, Turn]] = []

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Turn) -> Turn:
        if not isinstance(output, tuple):
            raise SeamError(
                f"A {type(module).__name__} does not tell cos and sin apart.",
                "use a static frequency method, such as ntk or yarn",
            )
        layer_type = kwargs.get("layer_type", args[2] if len(args) > 2 else "")
        noted.append((module, layer_type or "", output))
        return (torch.ones_like(output[0]), torch.zeros_like(output[1])) if still else output

    with journal.passing() as passing:
        for slot in slots:
            passing.hook(slot.module, hook)
        yield noted
