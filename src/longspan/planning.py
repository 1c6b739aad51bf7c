"""plan: compose methods for one model and one length, check them, and hold the data they give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from longspan import distances, promises, registry, spec
from longspan.checks import check_length, check_methods, check_model
from longspan.description import describe
from longspan.errors import InspectError, PlanError
from longspan.families import Frequencies, Range, family_of, files_of
from longspan.geometry import Geometry

if TYPE_CHECKING:
    from longspan.card import MethodCard

DEFAULTS = {"learned": "tile", "rope": "yarn", "alibi": "alibi_interpolation", "none": "none"}
"""What is used when no method is named, by position encoding."""

Methods = str | object | Sequence[object] | None


@dataclass(frozen=True)
class Plan:
    """What will be done to a model, as data; ``plan`` builds and checks it.

    Attributes:
        geometry: The model before.
        methods: The methods, at most one of a family.
        length: Target in tokens.
    """

    geometry: Geometry
    methods: tuple[Any, ...]
    length: int

    @property
    def factor(self) -> float:
        """Target length over trained window, unitless."""
        return self.length / self.geometry.window

    def of(self, family: str) -> Any | None:
        """The method of a family, None when there is none."""
        return next((method for method in self.methods if family_of(method) == family), None)

    @cached_property
    def frequencies(self) -> Frequencies | None:
        """The absolute rotation map at the target, with the trained factor and a scale that is folded in."""
        return self.frequencies_at(self.length) if self.geometry.encoding == "rope" else None

    def frequencies_at(self, length: int) -> Frequencies:
        """The absolute rotation map of a rotary model for an input of ``length`` tokens."""
        new = self._rotation(length)
        folded = math.sqrt(self.constant_scale) if self.scale_home == "rotation" else 1.0
        return new._replace(attention_factor=new.attention_factor * self.geometry.attention_factor * folded)

    @property
    def by_length(self) -> bool:
        """Whether the rotation map depends on how long an input is."""
        return self.factor > 1 and bool(getattr(self.of("frequencies"), "by_length", False))

    @property
    def late(self) -> bool:
        """Whether queries and keys must be rotated inside attention, pair by pair or by length."""
        return self.by_length or (self.factor > 1 and self.of("pairwise") is not None)

    @property
    def adaptive(self) -> bool:
        """Whether what is within the window keeps its true distances."""
        return bool(getattr(self.of("pairwise"), "adaptive", True))

    def ranges(self, query: Tensor, key: Tensor, length: int) -> list[Range]:
        """The ranges of an attention call, from the positions ``[Q]`` and ``[K]`` and the input's real length."""
        return distances.ranges(self, query, key, length)

    @cached_property
    def rope_parameters(self) -> dict[str, Any] | None:
        """Transformers' parameters for the map, None when the trained ones stay.

        A method's own native type where it has one; otherwise the ``longrope`` container, which holds any
        static map: ``short_factor = long_factor = base map / map``.
        """
        new, geometry = self.frequencies, self.geometry
        folded = self.scale_home == "rotation"
        if new is None or self.by_length or ((self.factor == 1 or not self.of("frequencies")) and not folded):
            return None
        # In a proportional map the partial factor is no size: its last pairs are there, and stand still.
        sizes = () if geometry.rope_type == "proportional" else ("partial_rotary_factor",)
        kept = {k: v for k, v in geometry.rope_parameters.items() if k in ("rope_theta", *sizes)}
        kept.setdefault("rope_theta", geometry.base)
        native = getattr(self.of("frequencies"), "native", None)
        if native and geometry.rope_type == "default" and not folded:
            own = native(geometry, self.factor)
            if own and (own["rope_type"] == "default" or not geometry.longrope_only):
                return {**kept, **own}
        exponent = torch.arange(0, geometry.rotary_dim, 2, dtype=torch.float64) / geometry.rotary_dim
        # A stopped pair (frequency 0) is a very large factor: 1e12 turns less than a float32 ulp in any window.
        container = (geometry.base**-exponent / new.inv_freq.clamp(min=1e-300)).clamp(max=1e12).tolist()
        return {
            **kept,
            "rope_type": "longrope",
            "short_factor": container,
            "long_factor": container,
            "attention_factor": new.attention_factor,
            "factor": max(self.factor, 1.0),
            "original_max_position_embeddings": geometry.window,
        }

    def table(self, weight: Tensor) -> Tensor:
        """The new position table ``[length, E]`` from the trained rows ``[window, E]``."""
        method = self.of("tables")
        return method.table(weight[: self.geometry.window], self.length) if method else weight

    def position_ids(self, length: int) -> Tensor:
        """Rows of the new table that an input of ``length`` tokens reads, int64 ``[length]``."""
        method = self.of("tables")
        return method.position_ids(length, self.geometry.window, self.length) if method else torch.arange(length)

    def scale(self, position: Tensor, length: Tensor) -> Tensor | float:
        """The factor on the logits of each query, from ``position [..., N]`` and real ``length [..., 1]``."""
        method = self.of("scales")
        if method is None:
            return 1.0
        factor: Tensor | float = method.scale(position, length, self.geometry, self.length)
        return factor

    @cached_property
    def constant_scale(self) -> float:
        """The factor on the logits where it is one for all inputs, else 1.0."""
        one = torch.ones(1, 1)
        factor = self.scale(one, one)
        return factor if isinstance(factor, float) else 1.0

    @cached_property
    def scale_home(self) -> Literal["nowhere", "rotation", "queries", "attention"]:
        """Where the factor on the logits is written.

        A constant one goes into cos and sin if the whole head rotates by one map, or into the weights of the
        query projections: stock tools keep it in both. Otherwise attention multiplies at run time.
        """
        geometry, whole = self.geometry, self.geometry.rotary_dim == self.geometry.head_dim
        if isinstance(self.scale(one := torch.ones(1, 1), one), Tensor):
            return "attention"
        if self.constant_scale == 1:
            return "nowhere"
        static = geometry.encoding == "rope" and not self.by_length
        if static and whole and not geometry.layer_type and not self._rotation(self.length).first:
            return "rotation"
        return "queries" if geometry.scalable_queries else "attention"

    def _rotation(self, length: int) -> Frequencies:
        # The method's map, its attention factor still relative to the trained one.
        geometry, method = self.geometry, self.of("frequencies")
        if method is None or self.factor == 1:
            return Frequencies(torch.tensor(geometry.inv_freq, dtype=torch.float64))
        new: Frequencies = method.frequencies(geometry, self.factor, length)
        if new.inv_freq.shape != (len(geometry.inv_freq),) or not bool(new.inv_freq.isfinite().all()):
            raise PlanError(
                f"{spec.short([method])} gives no number for each of the {len(geometry.inv_freq)} rotary pairs.",
                "change its parameters",
            )
        return new

    @property
    def slopes(self) -> Tensor | None:
        """The new slope of each ALiBi head over its trained one at the target ``[heads]``, None when they stay."""
        return self.slopes_at(self.length) if self.of("slopes") and self.factor > 1 else None

    def slopes_at(self, length: int) -> Tensor:
        """The new slope of each ALiBi head over its trained one for an input of ``length`` tokens, ``[heads]``."""
        method: Any = self.of("slopes")
        geometry = self.geometry
        new, trained = (method.slopes(geometry, f) for f in (max(1.0, length / geometry.window), 1.0))
        ratio: Tensor = new / trained
        return ratio

    @property
    def slopes_by_length(self) -> bool:
        """Whether the slopes depend on how long an input is."""
        return bool(getattr(self.of("slopes"), "by_length", False))

    @cached_property
    def rewires_positions(self) -> bool:
        """Whether the position ids depend on the input's length."""
        window = self.geometry.window
        lengths = {1, 2, window // 2, window, min(window + 1, self.length), self.length}
        return any(not torch.equal(self.position_ids(n), torch.arange(n)) for n in lengths if n)

    @property
    def native(self) -> bool:
        """Whether stock tools, loading the saved checkpoint, give the same vectors at every length."""
        return not promises.beyond_stock(self)

    def same_in_stock(self, length: int) -> bool:
        """Whether stock tools, loading the saved checkpoint, give the same vector at this length."""
        return promises.same_in_stock(self, length)

    @cached_property
    def short_inputs(self) -> promises.ShortInputs:
        """What happens to inputs within the trained window.

        ``exact``: bit-identical, in every tool. ``adaptive``: bit-identical in longspan by a rule on each input's
        length, which stock tools do not apply; with sliding layers, or a norm after the rotation (HunYuan, NanoChat),
        equal but for rounding, some 6e-7 of the largest state. ``changed``: not identical.
        """
        return promises.short_inputs(self)

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the files that its methods read."""
        return files_of(self.methods)

    @property
    def position_bytes(self) -> int:
        """Size of the position data [bytes]: the table's rows, or the frequencies."""
        geometry = self.geometry
        size = 2 if geometry.dtype in ("bfloat16", "float16") else 4
        return self.length * geometry.hidden * size if geometry.encoding == "learned" else geometry.rotary_dim * 2

    @property
    def cards(self) -> list[MethodCard]:
        """Cards of the registered methods among its own."""
        known = {registry.plain(name): card for name, card in registry.methods().items()}
        return [known[name] for each in self.methods if (name := registry.plain(type(each).__name__)) in known]

    def describe(self) -> str:
        """What changes, what it costs and where it comes from, as aligned text."""
        return describe(self)

    def to_json(self) -> dict[str, Any]:
        """JSON data; ``from_json`` reads it back."""
        from longspan import __version__

        return {
            "longspan": __version__,
            "methods": spec.write(self.methods),
            "length": self.length,
            "geometry": self.geometry.to_json(),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Plan:
        """Read JSON data and check it again.

        Raises:
            PlanError: A key is missing or of another type, or the plan does not fit itself.
            SpecError: It names a method, or a parameter of one, that is not known here.
        """
        if not isinstance(data, dict):
            raise _unreadable(f"it is a {type(data).__name__}")
        methods, length = data.get("methods"), data.get("length")
        if not isinstance(methods, str) or not isinstance(length, int):
            raise _unreadable(f"it has methods={methods!r} and length={length!r}")
        try:
            geometry = Geometry.from_json(data.get("geometry"))
        except InspectError as error:
            raise _unreadable(error.fact) from error
        return plan(geometry, methods, length)


def _unreadable(fact: str) -> PlanError:
    return PlanError(f"The stored plan cannot be read: {fact.rstrip('.')}.", "extend the model again")


def plan(geometry: Geometry, methods: Methods = None, length: int = 0) -> Plan:
    """Compose methods and check that they fit the model, the length and one another.

    Args:
        geometry: What ``inspect`` read.
        methods: A specification ("yarn + log_n"), a method, several, "none", or None for the family's default.
        length: Target in tokens.

    Raises:
        PlanError: They do not fit.
        SpecError: The specification does not parse.

    Example:
        >>> plan(inspect("sentence-transformers/all-MiniLM-L6-v2"), "interpolate + log_n", 4096).short_inputs
        'adaptive'
    """
    length = check_length(geometry, length)
    made = Plan(geometry, _resolve(methods, geometry), length)
    check_model(geometry)
    check_methods(made)
    return made


def _resolve(methods: Methods, geometry: Geometry) -> tuple[Any, ...]:
    if methods is None:
        methods = DEFAULTS.get(geometry.encoding, "none")
    if isinstance(methods, str):
        return () if methods.strip().lower() in ("none", "") else spec.parse(methods)
    return tuple(methods) if isinstance(methods, (tuple, list)) else (methods,)
