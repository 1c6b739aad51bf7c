"""Families: one verb each, and the data it returns.

A family is a folder of ``methods/`` and a seam that writes its data into a model. A class
with the family's verb is a method of that family, registered or not. What a method may have besides:

* ``reach(geometry, target) -> int``, tokens, where it cannot reach every length;
* ``native(geometry, factor) -> dict | None``, its form in transformers;
* ``by_length``, true where a frequency map or slopes depend on how long an input is. ``frequencies`` then gets the
  input's own length; on a decoder it is rounded up to whole ``step`` tokens (the window when None);
* ``adaptive``, false where a pairwise method changes inputs (of a decoder: queries) within the window too;
* ``files``, paths of the files that it reads: what they hold is part of what a model is (``identity``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

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
        """The map for ``length`` tokens; the attention factor is relative.

        ``length`` is the target, or an input's own length where the method is ``by_length``; ``factor`` is
        target / window in both.
        """
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


class Range(NamedTuple):
    """Pairs of query and key that share their positions: query q sees the keys from ``first[q]`` up to ``last[q]``.

    All ranges of an attention call together make one softmax.

    Attributes:
        query: Where each query is rotated to, a position of float64 ``[Q]``; it may be fractional.
        key: Where each key is rotated to, float64 ``[K]``.
        first: Position of the first key that each query sees here, int64 ``[Q]``.
        last: The position behind the last one, int64 ``[Q]``; nothing is seen where it is not above ``first``.
        lookup: ``exact``: cos and sin of the position itself. ``linear``: where a position is fractional, cos and
            sin are interpolated between the two whole positions around it.
        frequencies: The map to rotate by, None for the model's own.
    """

    query: Tensor
    key: Tensor
    first: Tensor
    last: Tensor
    lookup: Literal["exact", "linear"] = "exact"
    frequencies: Frequencies | None = None


@runtime_checkable
class PairwiseMethod(Protocol):
    """Changes the distance between a query and a key, pair by pair."""

    def ranges(self, query: Tensor, key: Tensor, length: int, geometry: Geometry, target: int) -> list[Range]:
        """The ranges that part the pairs each query sees: every pair in exactly one.

        Args:
            query: Positions of the queries, consecutive, int64 ``[Q]``.
            key: Positions of the keys, consecutive, int64 ``[K]``. A decoder's query at p sees keys 0 to p,
                an encoder's all keys.
            length: Real tokens of the input, cached ones included.
            geometry: The model before.
            target: The planned length in tokens.
        """
        ...


@runtime_checkable
class SlopeMethod(Protocol):
    """Changes how fast an ALiBi head forgets."""

    def slopes(self, geometry: Geometry, factor: float) -> Tensor:
        """The slope of each head per token, float64 ``[heads]``; the trained ones at factor 1."""
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
    "pairwise": PairwiseMethod,
    "slopes": SlopeMethod,
    "scales": ScaleMethod,
}
ENCODINGS: dict[str, tuple[str, ...]] = {
    "frequencies": ("rope",),
    "tables": ("learned",),
    "pairwise": ("rope",),
    "slopes": ("alibi",),
    "scales": ("learned", "rope"),
}


def files_of(methods: Iterable[object]) -> tuple[str, ...]:
    """Paths of the files that methods read."""
    return tuple(str(path) for method in methods for path in getattr(method, "files", ()))


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
