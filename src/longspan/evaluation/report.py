"""Report: one self-contained HTML page of scores that a reader new to the project understands."""

from __future__ import annotations

import io
import os
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longspan import registry
from longspan.errors import BenchmarkError, LongspanError
from longspan.evaluation.score import Cell, Row, Score, counts, latest, lengths, row_names, table

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

DRIFT = "short_drift"
_TEMPLATE = Path(__file__).with_name("report.html.j2")
_METRICS = {
    "acc_at_1": "share of questions whose right document is ranked first (1 is perfect)",
    "ndcg_at_10": "1 if the right document is ranked first, less the lower it stands, 0 below rank 10, "
    "averaged over the questions",
    "cosine": "cosine between the vectors of a short text before and after the change (1 is identical)",
}
# Colours that stay apart for colour-blind readers, on white and on black; markers and dashes say the same.
_COLOURS = ("#2f8fd0", "#e0701a", "#18a077", "#c46ba3", "#c79a00", "#7a7a7a")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DASHES = ("-", "--", "-.", ":")
_INK = "#010203"  # replaced by the page's text colour, light or dark
_INKED = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color")
_STYLE: dict[Any, Any] = dict.fromkeys(_INKED, _INK) | {
    "font.size": 12,
    "legend.fontsize": 12,
    "axes.titlesize": 12,
    "grid.alpha": 0.15,
    "svg.fonttype": "none",
    "text.parse_math": False,
}


def report(scores: Sequence[Score], path: Path, *, title: str, notes: Sequence[str] = ()) -> Path:
    """Write a page with curves over length, depth maps and tables.

    The page needs no other file and makes no request. It is written beside ``path`` and then
    renamed, so a reader never sees half of it.

    Args:
        scores: What to show, oldest first; a repeated measurement replaces the earlier one.
        path: Where the HTML goes; folders are created where missing.
        title: Heading of the page.
        notes: Paragraphs under the heading.

    Returns:
        The path.

    Raises:
        BenchmarkError: There are no scores.
        LongspanError: matplotlib or jinja2 is not installed.
    """
    if not scores:
        raise BenchmarkError("There are no scores to report.", "run `longspan evaluate` first")
    try:
        import jinja2
        import matplotlib
    except ImportError as error:
        raise LongspanError(f"A report needs {error.name}.", "pip install 'longspan[report]'") from None
    long = [score for score in scores if score.benchmark != DRIFT]
    drift = [score for score in scores if score.benchmark == DRIFT]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    with matplotlib.rc_context(_STYLE):
        sections = [_section(long, *task) for task in dict.fromkeys((s.benchmark, s.task) for s in long)]
    page = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        title=title,
        notes=notes,
        sections=sections,
        drift=_grid(table(drift, metric="cosine"), "cosine"),
        strategies={score.strategy for score in scores},
        origins=_origins(scores),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        half.write_text(page, encoding="utf-8")
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
    return path


def _section(scores: Sequence[Score], benchmark: str, task: str) -> dict[str, Any]:
    """Everything the page shows of one task: a figure of its main metric, and a table of each."""
    mine = [score for score in scores if (score.benchmark, score.task) == (benchmark, task)]
    card = registry.benchmarks().get(benchmark)
    found = dict.fromkeys(score.metric for score in mine)
    metrics = sorted(found, key=lambda m: card.metrics.index(m) if card and m in card.metrics else len(found))
    tables = [(metric, table(mine, metric=metric)) for metric in metrics]
    rows = tables[0][1]
    return {
        "title": card.title if card else benchmark,
        "task": task,
        "question": card.task if card else "",
        "caution": card.caution if card else "",
        "metric": metrics[0],
        "figure": _curve(rows, metrics[0]) if any(lengths(rows)) else _dots(rows, metrics[0]),
        "over_length": any(lengths(rows)),
        "tables": [_grid(rows, metric) for metric, rows in tables],
        "maps": _maps(mine, metrics[0]),
        "deep": counts([row for depth in _depths(mine) for row in _at(mine, depth, metrics[0])]),
        "cost": _grid(rows, "seconds"),
        "peak": _grid(rows, "peak_bytes") if any(c.peak_bytes for row in rows for c in row.cells.values()) else None,
        "devices": sorted({score.device for score in mine}),
    }


def _grid(rows: Sequence[Row], metric: str) -> dict[str, Any]:
    """A table of texts: columns, and label with cells for each row."""
    columns = lengths(rows)

    def text(cell: Cell) -> str:
        if metric == "seconds":
            return f"{cell.seconds:,.1f} s"
        return f"{cell.peak_bytes / 2**20:,.0f} MiB" if metric == "peak_bytes" else cell.text(metric)

    return {
        "metric": metric,
        "meaning": _METRICS.get(metric, ""),
        "columns": ["whole texts" if n is None else f"{n:,}" for n in columns],
        "rows": [(row.label, [text(row.cells[n]) if n in row.cells else "" for n in columns]) for row in rows],
        "n": counts(rows),
    }


def _curve(rows: Sequence[Row], metric: str) -> Markup:
    """Metric over length with a band of one standard error."""
    figure, axes = _figure(10, 4.2)
    for i, row in enumerate(rows):
        points = [(n, cell) for n, cell in row.cells.items() if n is not None]
        x, y = [n for n, _ in points], [cell.value for _, cell in points]
        low, high = [c.value - c.stderr for _, c in points], [c.value + c.stderr for _, c in points]
        axes.fill_between(x, low, high, color=_COLOURS[i % len(_COLOURS)], alpha=0.15, linewidth=0)
        axes.plot(x, y, _DASHES[i % 4], marker=_MARKERS[i % 7], color=_COLOURS[i % 6], label=row.label, linewidth=2)
    ticks = [n for n in lengths(rows) if n is not None]
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [f"{n:,}" for n in ticks])
    axes.minorticks_off()
    axes.set_xlabel("length of the texts (tokens)")
    axes.set_ylabel(metric)
    _unit(axes.set_ylim, rows)
    handles, labels = axes.get_legend_handles_labels()
    columns = 3 if max(map(len, labels)) < 30 else 1
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, handlelength=4)
    axes.grid(axis="y")
    return _svg(figure, f"{rows[0].task}: {metric} over length")


def _dots(rows: Sequence[Row], metric: str) -> Markup:
    """Metric of each method with a bar of one standard error, for texts of any length."""
    figure, axes = _figure(10, 1.1 + 0.36 * len(rows))
    for i, row in enumerate(rows):
        cell = row.cells[None]
        axes.errorbar(cell.value, -i, xerr=cell.stderr, fmt=_MARKERS[i % 7], color=_COLOURS[i % 6], capsize=4)
    axes.set_yticks([-i for i in range(len(rows))], [row.label for row in rows])
    axes.set_ylim(0.6 - len(rows), 0.6)
    axes.set_xlabel(metric)
    _unit(axes.set_xlim, rows)
    axes.grid(axis="x")
    return _svg(figure, f"{rows[0].task}: {metric} of each method")


def _maps(scores: Sequence[Score], metric: str) -> list[Markup]:
    """A map of each method that was scored at single depths: depth down, length across."""
    deep = [score for score in latest(scores) if score.depth is not None and score.metric == metric]
    names = row_names(scores)
    methods = {(s.model, s.revision, s.label): names[s.model, s.revision, s.label] for s in deep}
    return [
        _map([s for s in deep if (s.model, s.revision, s.label) == who], name, metric) for who, name in methods.items()
    ]


def _map(scores: Sequence[Score], name: str, metric: str) -> Markup:
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    depths = _depths(scores)
    columns = lengths([row for depth in depths for row in _at(scores, depth, metric)])
    figure, axes = _figure(5, 1.5 + 0.32 * len(depths))
    colours = colormaps["RdYlGn"]
    for y, depth in enumerate(depths):
        cells = _at(scores, depth, metric)[0].cells
        for x, length in enumerate(columns):
            if length not in cells:
                continue
            value = cells[length].value
            red, green, blue, _ = fill = colours(value)  # the map clips to 0..1, the same for every figure
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=fill))
            ink = "#111111" if 0.3 * red + 0.6 * green + 0.1 * blue > 0.45 else "#ffffff"
            axes.text(x, y, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=11)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(depths) - 0.5, -0.5)
    axes.set_xticks(range(len(columns)), ["whole" if n is None else str(n) for n in columns])
    axes.set_yticks(range(len(depths)), [f"{depth:.0%}" for depth in depths])
    axes.set_xlabel("length (tokens)")
    axes.set_ylabel("depth")
    axes.set_title(name)
    return _svg(figure, f"{scores[0].task}: {metric} by depth and length, {name}")


def _depths(scores: Sequence[Score]) -> list[float]:
    return sorted({score.depth for score in scores if score.depth is not None})


def _at(scores: Sequence[Score], depth: float, metric: str) -> list[Row]:
    return table([score for score in scores if score.depth == depth], metric=metric)


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


def _svg(figure: Figure, alt: str) -> Markup:
    """The figure as inline SVG with live text, nothing to fetch and ids of its own."""
    from markupsafe import Markup, escape
    from matplotlib import rc_context

    own = f"s{zlib.crc32(alt.encode(errors='replace')):08x}-"
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": own}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = re.sub(r'^.*?<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" ALT>', buffer.getvalue(), flags=re.S)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{own}", text)
    text = text.replace(_INK, "currentColor").replace("ALT", f'role="img" aria-label="{escape(alt)}"', 1)
    return Markup(text)  # noqa: S704 matplotlib escapes what it draws, and alt is escaped here


def _origins(scores: Sequence[Score]) -> list[dict[str, str]]:
    """What was measured where: one row for each model, device and state of the code."""
    rows: dict[tuple[str, ...], list[Score]] = {}
    for s in scores:
        packages = ", ".join(f"{name} {version}" for name, version in sorted(s.versions.items()))
        rows.setdefault((s.model, s.revision, s.device, packages, s.commit), []).append(s)
    names = ("model", "revision", "device", "versions", "commit")
    return [
        dict(zip(names, key, strict=True))
        | {
            "dates": " to ".join(dict.fromkeys((min(s.date for s in group), max(s.date for s in group)))),
            "seeds": ", ".join(map(str, sorted({s.seed for s in group}))),
        }
        for key, group in rows.items()
    ]
