"""Figures of a report: scores over length, dots, maps over depth, and short against long; as SVG and as PNG."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from longspan.evaluation.cells import Cell, Row, as_it_is, lengths

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

WIDTH = 6.2  # inches: text of 10 points stays readable on a telephone and is not huge on a screen
# Colours that stay apart for colour-blind readers, on white and on black; markers and dashes say the same.
_COLOURS = ("#2f86d0", "#e0701a", "#18a077", "#c46ba3", "#b8900a", "#7f63d6", "#22a3c3", "#a8614a")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
_DASHES = {"one": "-", "several": "--", "hybrid": ":", "keywords": "-."}
_PLAIN = "#7d848c"
_INK = "#010203"  # replaced by the page's text colour, light or dark
_INKED = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color")
_STYLE: dict[Any, Any] = dict.fromkeys(_INKED, _INK) | {
    "font.size": 10,
    "legend.fontsize": 9.5,
    "axes.titlesize": 10,
    "grid.alpha": 0.15,
    "svg.fonttype": "none",
    "text.parse_math": False,
}


@contextmanager
def style() -> Iterator[None]:
    """The look of all figures; matplotlib is as it was afterwards."""
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        yield


def curve(rows: Sequence[Row], metric: str, lower: bool = False) -> Figure:
    """Metric over length with a bar for the interval of each point."""
    half = -(-len(rows) // 2)
    wide = [max((len(row.label) for row in part), default=0) for part in (rows[:half], rows[half:])]
    columns = 2 if sum(wide) < 68 else 1  # characters that fit beside two handles
    figure, axes = _figure(WIDTH, 3.3 + 0.2 * (half if columns == 2 else len(rows)))
    for i, (row, look) in enumerate(zip(rows, looks(rows), strict=True)):
        points = [(n, cell) for n, cell in row.cells.items() if n is not None]
        # A little apart, so that rows of the same score do not hide each other.
        x = [n * 2 ** (0.02 * (i - (len(rows) - 1) / 2)) for n, _ in points]
        y = [cell.value for _, cell in points]
        axes.errorbar(x, y, yerr=_bars([cell for _, cell in points]), fmt="none", ecolor=look["color"], alpha=0.45)
        axes.plot(x, y, label="\n".join(wrap(row.label, 80)), **look)
    ticks = [n for n in lengths(rows) if n is not None]
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [f"{n:,}" for n in ticks])
    axes.minorticks_off()
    axes.set_xlabel("length of the texts (tokens)")
    axes.set_ylabel(_named(metric, lower))
    _unit(axes.set_ylim, rows)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=columns, frameon=False, handlelength=3.5)
    axes.grid(axis="y")
    return figure


def dots(rows: Sequence[Row], metric: str, lower: bool = False) -> Figure:
    """Metric of each method with a bar for its interval, the best above, for texts of any length."""
    shown = [(row, row.cells[None], look) for row, look in zip(rows, looks(rows), strict=True) if None in row.cells]
    shown.sort(key=lambda one: one[1].value, reverse=not lower)
    # A name stands above its mark, not beside it: names are long, and telephones narrow.
    figure, axes = _figure(4.6, 0.9 + 0.38 * len(shown))
    for i, (row, cell, look) in enumerate(shown):
        mark = {"marker": look["marker"], "color": look["color"], "markersize": 6}
        axes.errorbar(cell.value, -i, xerr=_bars([cell]), capsize=3, linestyle="none", **mark)
        axes.text(0.01, -i + 0.28, row.label, transform=axes.get_yaxis_transform(), fontsize=9, va="center")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_ylim(0.5 - len(shown), 0.7)
    axes.set_xlabel(_named(metric, lower))
    _unit(axes.set_xlim, rows)
    axes.grid(axis="x")
    return figure


def depth_map(rows: Sequence[tuple[float, Row]], metric: str, title: str) -> Figure:
    """Depth down, length across, the score as a colour and as a number.

    Args:
        rows: Depth [0..1] and the scores of one method at that depth.
        metric: Name of the metric.
        title: Name of the method.
    """
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    columns = lengths([row for _, row in rows])
    values = [cell.value for _, row in rows for cell in row.cells.values()]
    # The same colours for every map of shares; other metrics have a range of their own.
    low, high = (0.0, 1.0) if all(0 <= value <= 1 for value in values) else (min(values), max(values))
    figure, axes = _figure(max(3.2, 1.3 + 0.62 * len(columns)), 1.2 + 0.27 * len(rows))
    colours = colormaps["cividis"]
    for y, (_, row) in enumerate(rows):
        for x, length in enumerate(columns):
            if length not in row.cells:
                continue
            value = row.cells[length].value
            red, green, blue, _ = fill = colours((value - low) / (high - low or 1))
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=fill))
            ink = "#111111" if 0.3 * red + 0.6 * green + 0.1 * blue > 0.45 else "#ffffff"
            axes.text(x, y, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=9)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xticks(range(len(columns)), ["whole" if n is None else f"{n:,}" for n in columns])
    axes.set_yticks(range(len(rows)), [f"{depth:.0%}" for depth, _ in rows])
    axes.set_xlabel(f"length (tokens); colour: {metric}")
    axes.set_ylabel("depth in the text")
    axes.set_title(title)
    return figure


def scatter(points: Sequence[tuple[Row, float, float]], rows: Sequence[Row], across: str, up: str) -> Figure:
    """Short inputs against long ones; names stand in a column at the right, each tied to its point.

    Args:
        points: Row, first axis, second axis.
        rows: All rows of the task, so that a method looks as in its other figure.
        across: What is on the first axis.
        up: What is on the second axis.
    """
    figure, axes = _figure(WIDTH, max(3.2, 0.9 + 0.24 * len(points)))
    look = dict(zip([row.label for row in rows], looks(rows), strict=True))
    ordered = sorted(points, key=lambda point: (point[2], point[1]))
    for place, (row, x, y) in enumerate(ordered):
        own = look[row.label]
        axes.plot([x], [y], marker=own["marker"], color=own["color"], markersize=8, linestyle="none")
        axes.annotate(
            row.label,
            (x, y),
            xytext=(1.06, (place + 0.5) / len(ordered)),
            textcoords="axes fraction",
            va="center",
            fontsize=9,
            arrowprops={
                "arrowstyle": "-",
                "color": own["color"],
                "alpha": 0.55,
                "linewidth": 0.9,
                "relpos": (0, 0.5),
                "shrinkA": 2,
                "shrinkB": 5,
            },
        )
    spread = max(x for _, x, _ in points) - min(x for _, x, _ in points)
    axes.margins(0.08, 0.1)
    if spread < 0.01:  # nothing differs: do not make a difference of rounding
        axes.set_xlim(min(x for _, x, _ in points) - 0.05, max(x for _, x, _ in points) + 0.05)
    _unit(axes.set_ylim, [row for row, _, _ in points])
    axes.xaxis.get_major_locator().set_params(nbins=5)
    axes.set_xlabel("\n".join(wrap(across, 40)))
    axes.set_ylabel("\n".join(wrap(up, 36)))
    axes.grid()
    return figure


def looks(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Colour, marker and dashes of each row: grey for a model as it is, ink for keywords, dashes by kind."""
    made: list[dict[str, Any]] = []
    coloured = 0
    for i, row in enumerate(rows):
        look = {"marker": _MARKERS[i % 9], "linestyle": _DASHES.get(row.kind, "-"), "linewidth": 1.8, "markersize": 5.5}
        if row.kind == "keywords":
            look |= {"color": _INK, "linewidth": 2.2}
        elif row is as_it_is(row, rows):
            look |= {"color": _PLAIN, "linewidth": 2.6}
        else:
            look["color"] = _COLOURS[coloured % len(_COLOURS)]
            coloured += 1
        made.append(look)
    return made


def svg(figure: Figure, alt: str) -> Markup:
    """The figure as inline SVG with live text, nothing to fetch and ids of its own."""
    from markupsafe import Markup, escape
    from matplotlib import rc_context

    own = f"s{zlib.crc32(alt.encode(errors='replace')):08x}-"
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": own}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = re.sub(r'^.*?<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" ALT>', buffer.getvalue(), flags=re.S)
    # Text of 10 points is neither tiny on a telephone, where the page scrolls the figure, nor huge on a screen.
    points = figure.get_figwidth() * 72
    text = text.replace("<svg ", f'<svg style="min-width: {0.95 * points:.0f}px; max-width: {1.42 * points:.0f}px" ', 1)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{own}", text)
    text = text.replace(_INK, "currentColor").replace("ALT", f'role="img" aria-label="{escape(alt)}"', 1)
    return Markup(text)  # noqa: S704 matplotlib escapes what it draws, and alt is escaped here


def png(figure: Figure, path: Path) -> None:
    """The figure as a file, dark on white."""
    figure.savefig(path, format="png", dpi=160, facecolor="white", metadata={"Software": None})


def _bars(cells: Sequence[Cell]) -> list[list[float]]:
    ends = [(cell.value, *cell.bounds) for cell in cells]
    # The mean of all parts and of all their values may differ in the last digit.
    return [[max(value - low, 0.0) for value, low, _ in ends], [max(high - value, 0.0) for value, _, high in ends]]


def _named(metric: str, lower: bool) -> str:
    return f"{metric} (less is better)" if lower else metric


def _unit(limit: Any, rows: Sequence[Row]) -> None:
    """Show 0 to 1 where the values are shares, so that no axis exaggerates a difference."""
    if all(0 <= cell.value <= 1 for row in rows for cell in row.cells.values()):
        limit(-0.02, 1.04)


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    """An empty figure [inches], without the global state of pyplot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
