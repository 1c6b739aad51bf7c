"""Geometry: the facts about a model that a method may know."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NoReturn

from longspan.errors import InspectError
from longspan.values import declared, fitted

Role = Literal["encoder", "decoder"]
Encoding = Literal["learned", "rope", "alibi", "relative", "none"]

SLIDING = ("sliding_attention", "chunked_attention", "window_attention", "hybrid_sliding")
"""Types of layers that look at a band of tokens."""
MAX_LENGTH = 2**24
"""Longest window and target [tokens]. The longest published is ten million (Llama 4)."""
MAX_ROWS = 2**22
"""Most rows of a position table that a plan makes; of 768 channels they are 12 GB."""
MAX_FACTOR = 1024
"""Largest extension accepted; the largest published one is 512 (LongRoPE, 4k to 2048k)."""
_MOST = {
    **dict.fromkeys(("window", "reads", "reach", "sliding"), MAX_LENGTH),
    **dict.fromkeys(("layers", "heads", "kv_heads", "pad_offset"), 2**14),
    **dict.fromkeys(("head_dim", "hidden", "rotary_dim"), 2**20),
    "parameters": 2**50,
}
"""Counts are bounded before anything of their size is made."""
_MAY_BE_NONE_OF = ("parameters", "pad_offset", "rotary_dim", "reach")


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """What a model's positions look like, before anything is changed.

    Attributes:
        architecture: transformers' model type.
        role: Whether attention is bidirectional (encoder) or causal (decoder).
        encoding: How positions enter the model.
        window: Trained length in tokens; rows reserved for padding are taken off.
        reads: Tokens the pipeline reads today; sentence-transformers may cut below the window.
        layers: Transformer layers.
        heads: Query heads.
        kv_heads: Key and value heads.
        head_dim: Channels of a head.
        hidden: Channels of the hidden state.
        parameters: Weights, unitless count.
        dtype: Name of the weights' data type.
        pooling: How token states become one vector, "" when the model does not pool.
        pad_offset: Rows of the position table in front of position 0 (2 in the RoBERTa family).
        rotary_dim: Channels of a head that rotate.
        base: RoPE theta.
        inv_freq: Trained inverse frequencies, radians per token, ``[rotary_dim / 2]``; already
            scaled where the checkpoint is.
        attention_factor: Trained factor on cos and sin.
        rope_parameters: transformers' own description of the trained rotation.
        longrope_only: Whether the configuration refuses rope types other than default and longrope (Phi-3).
        layer_type: Layer type whose rotation is extended, "" when all layers share one.
        scalable_queries: Whether a factor on the query projections' weights is a factor on all logits.
        layer_types: Type of each layer, empty when all are alike.
        reach: Tokens the widest attention layer looks back, None when unlimited.
        sliding: Tokens a sliding (or chunked) layer looks at, None when there is no such layer.
        relative_bias: Whether attention adds a learned bias by distance, beside what ``encoding`` says.
        extended: The plan an extended checkpoint carries, as JSON data.
        source: Folder or hub id it was read from.

    Raises:
        InspectError: A field is of another type or out of range, or two disagree.
    """

    architecture: str
    role: Role
    encoding: Encoding
    window: int
    reads: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    parameters: int = 0
    dtype: str = "float32"
    pooling: str = ""
    pad_offset: int = 0
    rotary_dim: int = 0
    base: float = 0.0
    inv_freq: tuple[float, ...] = ()
    attention_factor: float = 1.0
    rope_parameters: dict[str, Any] = field(default_factory=dict)
    longrope_only: bool = False
    layer_type: str = ""
    scalable_queries: bool = False
    layer_types: tuple[str, ...] = ()
    reach: int | None = None
    sliding: int | None = None
    relative_bias: bool = False
    extended: dict[str, Any] | None = None
    source: str = ""

    def __post_init__(self) -> None:
        """Check types, ranges, and that sizes agree."""
        for name, hint in declared(type(self)).items():
            try:
                object.__setattr__(self, name, value := fitted(getattr(self, name), hint))
            except ValueError as wanted:
                self._refuse(f"{name}={getattr(self, name)!r} is no {wanted} in range")
            least = 0 if name in _MAY_BE_NONE_OF else 1
            if name in _MOST and value is not None and not least <= value <= _MOST[name]:
                self._refuse(f"{name}={value} is not in {least}..{_MOST[name]}")
        if self.encoding == "rope":
            self._check_rotation()
        if self.extended is not None:
            told = (self.extended.get("methods"), self.extended.get("length"))
            if not isinstance(told[0], str) or not isinstance(told[1], int):
                self._refuse(f"the plan it carries names methods={told[0]!r} and length={told[1]!r}")

    def _check_rotation(self) -> None:
        if self.rotary_dim != 2 * len(self.inv_freq) or not 0 < self.rotary_dim <= self.head_dim:
            self._refuse(f"{self.rotary_dim} of {self.head_dim} channels rotate at {len(self.inv_freq)} frequencies")
        if self.base <= 1 or self.attention_factor <= 0 or min(self.inv_freq) < 0:
            numbers = f"base={self.base:g}, attention_factor={self.attention_factor:g}"
            self._refuse(f"{numbers} and frequencies down to {min(self.inv_freq):g} give no rotation")

    def _refuse(self, fact: str) -> NoReturn:
        raise InspectError(
            f"The geometry of {self.source!r} cannot be: {fact}.", "correct the configuration that it was read from"
        )

    @property
    def rope_type(self) -> str:
        """Transformers' name of the trained rotation: default, linear, yarn, llama3 ..."""
        return str(self.rope_parameters.get("rope_type", "default"))

    def cache_bytes(self, length: int) -> int:
        """Bytes of the KV cache of one sequence of ``length`` tokens; 0 for an encoder.

        A sliding layer keeps what it looks at; a layer that is no attention (a state space, a convolution) keeps no
        tokens.
        """
        if self.role == "encoder":
            return 0
        size = 2 if self.dtype in ("bfloat16", "float16") else 4
        kept = {
            **dict.fromkeys(SLIDING, min(length, self.sliding or length)),
            **dict.fromkeys(("linear_attention", "mamba", "recurrent", "conv"), 0),
        }
        kinds = self.layer_types or (SLIDING[0] if self.reach else "full_attention",) * self.layers
        tokens = sum(kept.get(kind, length) for kind in kinds)
        return 2 * tokens * self.kv_heads * self.head_dim * size

    def describe(self) -> str:
        """The facts as aligned text, one a line."""
        rows = {
            "architecture": f"{self.architecture} {self.role}, {self.parameters / 1e6:.1f} M parameters, {self.dtype}",
            "shape": f"{self.layers} layers, {self.heads} heads ({self.kv_heads} kv) of {self.head_dim}",
            "positions": self._positions(),
            "window": f"{self.window} tokens{self._trained()}",
        }
        if self.reads != self.window:
            rows["reads"] = f"{self.reads} tokens; the pipeline cuts the rest"
        if self.reach is not None:
            rows["reach"] = f"{self.reach} tokens back in every layer"
        elif self.sliding is not None:
            count = sum(kind in SLIDING for kind in self.layer_types)
            way = "back" if self.role == "decoder" else "aside"
            rows["sliding"] = f"{count} of {self.layers} layers look {self.sliding} tokens {way}"
        if self.pooling:
            rows["pooling"] = self.pooling
        if self.extended:
            rows["extended"] = f"to {self.extended['length']} tokens by {self.extended['methods']}"
        return "\n".join(f"{name:<13}{value}" for name, value in rows.items())

    def _trained(self) -> str:
        rope = self.rope_parameters
        if self.rope_type == "linear" and "original_max_position_embeddings" not in rope and not self.extended:
            # Both are in use, and nothing in the configuration tells them apart.
            return f" trained; {self.window * rope['factor']:g} if they do not count the scaling: then pass window"
        before = (self.extended or {}).get("geometry")
        return f", {before.get('window')} of them trained" if isinstance(before, dict) else " trained"

    def _positions(self) -> str:
        if self.encoding == "learned":
            offset = f", {self.pad_offset} rows before position 0" if self.pad_offset else ""
            bias = ", and a relative bias" if self.relative_bias else ""
            return f"learned, {self.window} rows{offset}{bias}"
        if self.encoding == "rope":
            factor = self.rope_parameters.get("factor")
            size = f" {factor:g}x" if isinstance(factor, (int, float)) else ""
            kind = "" if self.rope_type == "default" else f", scaled by {self.rope_type}{size}"
            only = f" in {self.layer_type} layers" if self.layer_type else ""
            return f"rope, base {self.base:g}, {self.rotary_dim} of {self.head_dim} channels rotate{only}{kind}"
        return "none that longspan knows" if self.encoding == "none" else self.encoding

    def to_json(self) -> dict[str, Any]:
        """JSON data; ``from_json`` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> Geometry:
        """Read JSON data.

        Raises:
            InspectError: A field is missing, unknown, or not what `Geometry` accepts.
        """
        if not isinstance(data, dict):
            raise InspectError(f"A {type(data).__name__} is no geometry.", "run `longspan inspect` again")
        if unknown := sorted(map(str, data.keys() - declared(cls).keys())):
            raise InspectError(f"Geometry has no field {', '.join(unknown)}.", "it was written by a newer longspan")
        try:
            return cls(**data)
        except TypeError as error:
            raise InspectError(f"The geometry is incomplete: {error}.", "run `longspan inspect` again") from None
