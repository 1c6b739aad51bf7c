"""Which specification is tried on which tiny model: every registered method, wherever its card says it applies."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import pytest

from longspan import inspect, registry
from longspan.geometry import Geometry
from tests import models

WINDOW = models.WINDOW
LONG = 101
"""The target of the tiny models in tokens: no whole multiple of their window."""

_VARIANTS = {
    "abf": ("abf(base=1e7)",),  # the default is below the trained base of gemma3
    "grouped": ("grouped", "grouped(adaptive=false)"),
    "interpolate": ("interpolate", "interpolate(anchors=false)"),
    "log_n": ("log_n", "log_n(by='position')"),
    "longrope": ("longrope", "longrope(first=4)", "longrope(first=4, switch=true)"),
    "ntk_by_parts": ("ntk_by_parts", "ntk_by_parts(ramp='dimensions')"),
}
_ON_A_DECODER = {  # whose cache cannot follow positions that depend on the input's length
    "grouped": ("grouped(adaptive=false)",),
    "interpolate": ("interpolate(anchors=false)",),
}
_NO_SCALES = ("mpnet",)
"""Architectures that do not dispatch attention through transformers' interface."""


def specs(family: str, encoding: str, role: str) -> list[str]:
    """Specifications of a family's methods that apply to an encoding and a role."""
    variants = {**_VARIANTS, **(_ON_A_DECODER if role == "decoder" else {})}
    cards = [card for card in registry.methods().values() if card.family == family]
    fitting = [card.name for card in cards if encoding in card.encodings and role in card.roles]
    return [spec for name in fitting for spec in variants.get(name, (name,))]


def _learned(architecture: str, role: str) -> list[str]:
    tables = specs("tables", "learned", role)
    if architecture in _NO_SCALES:
        return tables
    scaled = [f"tile + {scale}" for scale in specs("scales", "learned", role)]
    return [*tables, *scaled, *(f"{table} + log_n" for table in tables if table != "tile")]


def _rope(role: str) -> list[str]:
    alone = [spec for family in ("frequencies", "pairwise", "scales") for spec in specs(family, "rope", role)]
    return [*alone, "yarn + log_n", "self_extend + log_n", "dca + yarn + temperature", "rerope + dynamic_ntk"]


ALIBI = [(name, spec) for name in models.ALIBI for spec in specs("slopes", "alibi", "decoder")]
LEARNED_ENCODERS = [(name, spec) for name in models.LEARNED_ENCODERS for spec in _learned(name, "encoder")]
LEARNED_DECODERS = [(name, spec) for name in models.LEARNED_DECODERS for spec in _learned(name, "decoder")]
ROPE_ENCODERS = [(name, spec) for name in models.ROPE_ENCODERS for spec in _rope("encoder")]
ROPE_DECODERS = [(name, spec) for name in models.ROPE_DECODERS for spec in _rope("decoder")]
LEARNED = LEARNED_ENCODERS + LEARNED_DECODERS
ROPE = ROPE_ENCODERS + ROPE_DECODERS
DECODERS = LEARNED_DECODERS + ROPE_DECODERS + ALIBI
ALL = LEARNED + ROPE + ALIBI


def every(pairs: list[tuple[str, str]]) -> pytest.MarkDecorator:
    """Parametrise a law over pairs of architecture and specification."""
    return pytest.mark.parametrize(("architecture", "spec"), pairs, ids=["-".join(pair) for pair in pairs])


@cache
def geometry(architecture: str) -> Geometry:
    """What ``inspect`` reads of a model."""
    return inspect(_built(architecture, ()))


def fresh(architecture: str, **changes: Any) -> Any:
    """A model of one's own, with the same weights at every call."""
    return copy.deepcopy(_built(architecture, tuple(changes.items())))


@cache
def _built(architecture: str, changes: tuple[tuple[str, Any], ...]) -> Any:
    return models.build(architecture, **dict(changes))


def rotary(rotary_dim: int = 64, base: float = 1e4, window: int = 2048, **facts: Any) -> Geometry:
    """The geometry of a RoPE model that does not exist."""
    inv_freq = tuple(base ** (-2 * pair / rotary_dim) for pair in range(rotary_dim // 2))
    parameters = {"rope_type": "default", "rope_theta": base}
    given = {"role": "decoder", "head_dim": rotary_dim, "inv_freq": inv_freq, "rope_parameters": parameters, **facts}
    return _geometry(encoding="rope", window=window, rotary_dim=rotary_dim, base=base, **given)


def learned(window: int = 512, **facts: Any) -> Geometry:
    """The geometry of a model with a position table that does not exist."""
    return _geometry(encoding="learned", window=window, **{"role": "encoder", "head_dim": 64, **facts})


def _geometry(window: int, **facts: Any) -> Geometry:
    shape = {"architecture": "synthetic", "reads": window, "layers": 2, "heads": 4, "kv_heads": 4, "hidden": 256}
    return Geometry(window=window, **{**shape, **facts})
