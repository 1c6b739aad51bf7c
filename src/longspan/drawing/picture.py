"""draw: one panel for each method of a plan, written as a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import shorten, wrap
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from longspan import spec
from longspan.disk import replaced
from longspan.drawing import curves, matrix
from longspan.errors import LongspanError, PlanError, StorageError, require
from longspan.families import ENCODINGS, family_of
from longspan.geometry import Encoding, Geometry, Role

if TYPE_CHECKING:
    from longspan.planning import Plan

SUFFIXES = (".svg", ".png", ".pdf")
_WIDTH = 50  # characters of a title that fit above a panel
_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "svg.hashsalt": "longspan",
    "svg.fonttype": "none",
    "text.parse_math": False,
}


def synthetic(
    methods: str,
    role: Role | None = None,
    window: int | None = None,
    base: float | None = None,
    head_dim: int | None = None,
) -> Geometry:
    """The geometry of a model that does not exist, with the positions that the methods need.

    Args:
        methods: A specification.
        role: None: a decoder if it is rotary, otherwise an encoder.
        window: Trained length, tokens. None: 64, so that a picture shows every one.
        base: RoPE theta. None: 10000.
        head_dim: Channels of a head, all of which rotate. None: 64.

    Raises:
        SpecError: The specification does not parse.
        PlanError: There is no such model.
    """
    window, head_dim = 64 if window is None else window, 64 if head_dim is None else head_dim
    base = 10_000.0 if base is None else base
    if window < 2 or head_dim < 2 or head_dim % 2 or not 1 < base < math.inf:
        raise PlanError(
            f"No rotary model has a window of {window}, heads of {head_dim} and a base of {base:g}.",
            "give a window from 2, an even head_dim and a base above 1",
        )
    parts = () if methods.strip().lower() in ("none", "") else spec.parse(methods)
    needed: list[Encoding] = [one for part in parts for one in ENCODINGS[family_of(part)]]  # type: ignore[misc]
    encoding: Encoding = "rope" if not needed or "rope" in needed else needed[0]
    if encoding != "rope":
        rotation: dict[str, Any] = {}
    else:
        inv_freq = tuple(base ** (-2 * pair / head_dim) for pair in range(head_dim // 2))
        parameters = {"rope_type": "default", "rope_theta": base}
        rotation = {"rotary_dim": head_dim, "base": base, "inv_freq": inv_freq, "rope_parameters": parameters}
    return Geometry(
        architecture="synthetic",
        role=role or ("decoder" if encoding == "rope" else "encoder"),
        encoding=encoding,
        window=window,
        reads=window,
        layers=1,
        heads=8,
        kv_heads=8,
        head_dim=head_dim,
        hidden=8 * head_dim,
        **rotation,
    )


def numbers(made: Plan) -> dict[str, Any]:
    """What ``draw`` draws, as JSON data: one entry for each family beside the facts.

    ``pairwise.distance[q][k]`` is the position of query q less that of key k, None where q does not see k;
    wavelengths are in tokens, None where a pair stands still.

    Raises:
        PlanError: There is nothing to draw, or it is too large.
    """
    geometry = made.geometry
    facts = {
        "methods": spec.write(made.methods),
        "window": geometry.window,
        "length": made.length,
        "role": geometry.role,
    }
    return {**facts, **{one.family: _plain(one.kind.compute(one.made)) for one in _panels([made])}}


def draw(made: Plan | Sequence[Plan], path: str | Path | None = None) -> Path:
    """Draw what a plan makes of positions: one panel for each of its methods, plans side by side.

    A pairwise method: the distance that attention reads, for every query and key. Frequencies: the wavelength of
    each rotary pair, against the input's length where it depends on that. A table: the trained row of each position.
    A scale: the factor on the logits. Slopes: one for each head.

    Args:
        made: The plan, or several.
        path: A .svg, .png or .pdf file; the methods' names and .svg in this folder if None.

    Returns:
        The file.

    Raises:
        PlanError: There is nothing to draw, it is too large, or the suffix is none of the three.
        StorageError: The file cannot be written.
        LongspanError: matplotlib is not installed.

    Example:
        >>> draw(plan(inspect("EleutherAI/pythia-70m", window=512), "self_extend", 2048), "shape.svg")
        PosixPath('shape.svg')
    """
    plans = list(made) if isinstance(made, Sequence) else [made]
    panels = _panels(plans)
    names = dict.fromkeys(_name(method) for each in plans for method in each.methods)
    path = Path(f"{'+'.join(names)}.svg") if path is None else Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise PlanError(f"{path.name!r} is no picture that can be written.", f"end the name in {', '.join(SUFFIXES)}")
    matplotlib = require("matplotlib", "A picture", "report", LongspanError)
    new_figure = require("matplotlib.figure", "A picture", "report", LongspanError).Figure
    with matplotlib.rc_context(_STYLE):
        figure = new_figure(figsize=(4.4 * len(panels), 4.3), layout="constrained", facecolor="white")
        for place, one in enumerate(panels, 1):
            axes = figure.add_subplot(1, len(panels), place)
            computed = one.kind.compute(one.made)
            note = one.kind.paint(axes, computed, one.made)
            axes.set_title("\n".join([*_title(one.made), *wrap(note, _WIDTH)]))
        _write(figure, path)
    return path


class _Kind(NamedTuple):
    """How one family is computed, and painted on axes; painting returns a note for the title."""

    compute: Callable[[Plan], dict[str, Tensor]]
    paint: Callable[[Any, dict[str, Tensor], Plan], str]


class _Panel(NamedTuple):
    family: str
    kind: _Kind
    made: Plan


def _panels(plans: Sequence[Plan]) -> list[_Panel]:
    """One for each method, computed as if it were alone in its plan."""
    found = []
    for made in plans:
        for method in made.methods:
            family, alone = family_of(method), replace(made, methods=(method,))
            if family not in _KINDS:
                raise PlanError(f"There is no picture of {family}.", f"there are pictures of {', '.join(_KINDS)}")
            found.append(_Panel(family, _KINDS[family], alone))
    if not found:
        raise PlanError("Without a method positions stay as they are, and there is nothing to draw.", "name a method")
    return found


def _name(method: object) -> str:
    module = type(method).__module__
    return module.rsplit(".", 1)[-1] if module.startswith("longspan.") else type(method).__name__


def _title(made: Plan) -> list[str]:
    geometry = made.geometry
    window = f"{geometry.window:,} -> {made.length:,} tokens, {geometry.architecture} {geometry.role}"
    return [*wrap(shorten(spec.write(made.methods), 230), _WIDTH), *wrap(window, _WIDTH)]


def _plain(computed: dict[str, Tensor]) -> dict[str, Any]:
    return {name: _listed(value.tolist()) for name, value in computed.items() if name != "range"}


def _listed(value: Any) -> Any:
    if isinstance(value, list):
        return [_listed(one) for one in value]
    return value if math.isfinite(value) else None  # JSON has no other word


def _write(figure: Any, path: Path) -> None:
    kind = path.suffix.lower().removeprefix(".")
    dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}
    with replaced(path, StorageError) as half:
        figure.savefig(half, format=kind, dpi=160, metadata=dated[kind])


_KINDS = {
    "pairwise": _Kind(matrix.distance, matrix.heat),
    "frequencies": _Kind(curves.wavelengths, curves.waves),
    "tables": _Kind(curves.rows, curves.steps),
    "scales": _Kind(curves.factors, curves.factor),
    "slopes": _Kind(curves.slopes, curves.heads),
}
