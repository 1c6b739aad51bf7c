"""Families: one verb each, and the data it returns.

A family is a folder of ``methods/`` and a seam that writes its data into a model. A class
with the family's verb is a method of that family, registered or not. A method that cannot reach
every length also has ``reach(geometry) -> int``, tokens; one with a native form in transformers has
``native(geometry, factor) -> dict | None``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from longspan.errors import PlanError

if TYPE_CHECKING:
    from torch import Tensor

    from longspan.geometry import Geometry


class Frequencies(NamedTuple):
    """A rotation map.

    Attributes:
        inv_freq: Radians per token, float64 ``[rotary_dim / 2]``.
        attention_factor: Factor on cos and sin, so that logits carry its square.
        first: Positions below this one keep the trained map.
    """

    inv_freq: Tensor
    attention_factor: float = 1.0
    first: int = 0


@runtime_checkable
class FrequencyMethod(Protocol):
    """Changes how fast each rotary pair turns."""

    def frequencies(self, geometry: Geometry, factor: float, length: int) -> Frequencies:
        """The map for ``length`` tokens, ``factor`` = length / window; the attention factor is relative."""
        ...


@runtime_checkable
class TableMethod(Protocol):
    """Changes the learned position table."""

    def table(self, weight: Tensor, rows: int) -> Tensor:
        """``rows`` rows made of the trained rows: ``[window, E] -> [rows, E]``; row 0 stays with [CLS]."""
        ...

    def position_ids(self, length: int, window: int, rows: int) -> Tensor:
        """Rows of the new table that an input of ``length`` real tokens reads: int64 ``[length]``."""
        ...


@runtime_checkable
class ScaleMethod(Protocol):
    """Changes the factor on the attention logits."""

    def scale(self, position: Tensor, length: Tensor, geometry: Geometry, target: int) -> Tensor | float:
        """The factor of each query, broadcast from ``position [..., N]`` and real ``length [..., 1]``.

        ``target`` is the planned length in tokens. A plain float means one factor for all inputs.
        """
        ...


FAMILIES: dict[str, type[Any]] = {
    "frequencies": FrequencyMethod,
    "tables": TableMethod,
    "scales": ScaleMethod,
}
ENCODINGS: dict[str, tuple[str, ...]] = {
    "frequencies": ("rope",),
    "tables": ("learned",),
    "scales": ("learned", "rope"),
}


def family_of(method: object) -> str:
    """The family whose verb the method has.

    Raises:
        PlanError: It has no family's verb.
    """
    for name, verb in FAMILIES.items():
        if isinstance(method, verb) and not isinstance(method, type):
            return name
    verbs = ", ".join(name for verb in FAMILIES.values() for name in vars(verb) if not name.startswith("_"))
    raise PlanError(f"{method!r} is not a method: it has none of the verbs.", f"give it one family's verbs: {verbs}")
