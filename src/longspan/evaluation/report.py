"""Report: one self-contained HTML page of scores that a reader new to the project understands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longspan.disk import replaced
from longspan.errors import BenchmarkError, LongspanError
from longspan.evaluation import figures, grids
from longspan.evaluation.cells import Row, card_of, counts, fitted, lengths
from longspan.evaluation.findings import Task, by_task, sentences, tradeoff
from longspan.evaluation.score import DRIFT, Score, Who, latest, row_names, table, who

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

_TEMPLATE = Path(__file__).with_name("report.html.j2")


def report(
    scores: Sequence[Score],
    path: Path,
    *,
    title: str,
    notes: Sequence[str] = (),
    png: Path | None = None,
    threshold: float = 0.85,
) -> Path:
    """Write a page: what came out in sentences, then curves over length, depth maps, tables and costs.

    The page needs no other file and makes no request. It is written beside ``path`` and then
    renamed, so a reader never sees half of it.

    Args:
        scores: What to show, oldest first; a repeated measurement replaces the earlier one.
        path: Where the HTML goes; folders are created where missing.
        title: Heading of the page.
        notes: Paragraphs under the heading.
        png: Folder for each figure as a PNG file, created where missing; None for none.
        threshold: Share of the score at the shortest length that the effective window keeps (0..1].

    Returns:
        The path.

    Raises:
        BenchmarkError: There are no scores, they are not of the same data, or the threshold is no share.
        LongspanError: matplotlib or jinja2 is not installed.
    """
    if not scores:
        raise BenchmarkError("There are no scores to report.", "run `longspan evaluate` first")
    if not 0 < threshold <= 1:
        raise BenchmarkError(f"A threshold of {threshold} is not a share.", "0.85 keeps 85 % of the short score")
    try:
        import jinja2
        import matplotlib  # noqa: F401 only to say early that it is missing
    except ImportError as error:
        raise LongspanError(f"A report needs {error.name}.", "pip install 'longspan[report]'") from None
    scores = latest(scores)
    _same_data(scores)
    # An arrow that is not torn from its number at the end of a line.
    names = {one: name.replace(" -> ", "\u00a0→\u00a0") for one, name in row_names(scores).items()}
    drift = table([s for s in scores if s.benchmark == DRIFT], metric="cosine", names=names)
    long = [score for score in scores if score.benchmark != DRIFT]
    tasks = [_task(long, *key, names) for key in dict.fromkeys((s.benchmark, s.task) for s in long)]
    drawn: dict[str, Figure] = {}

    def draw(figure: Figure, alt: str) -> Markup:
        drawn[f"{len(drawn) + 1:02d}-{re.sub('[^a-z0-9]+', '-', alt.lower())[:80].strip('-')}.png"] = figure
        return figures.svg(figure, alt)

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    with figures.style():
        sections = [_section(task, long, names, threshold, draw) for task in tasks]
        page = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
            title=title,
            notes=notes,
            compared=_compared(scores, tasks),
            sentences=sentences(tasks, drift),
            results=by_task(tasks),
            glossary=grids.glossary(scores),
            board=grids.board(tasks),
            sections=sections,
            trades=_trades(tasks, drift, draw),
            drift=grids.grid(drift, "cosine", drift),
            threshold=f"{100 * threshold:g} %",
            origins=grids.origins(scores),
        )
        with replaced(path, BenchmarkError) as half:
            half.write_text(page, encoding="utf-8")
        for name, figure in drawn.items() if png else ():
            with replaced(Path(png or "", name), BenchmarkError) as half:
                figures.png(figure, half)
    return path


def _same_data(scores: Sequence[Score]) -> None:
    """Refuse scores that stand in one cell or column of a table but were measured on other examples."""
    known: dict[tuple[object, ...], str] = {}
    for s in scores:
        # A set that is fitted to a length is another one for each tokenizer, and so for each model.
        whose = (s.model, s.version) if fitted(s.benchmark, s.task) else ()
        first = known.setdefault((s.benchmark, s.task, s.length, s.seed, whose), s.data) if s.data else ""
        if s.data != first:
            where = f"{s.task}{f' at {s.length} tokens' if s.length else ''}, seed {s.seed}"
            raise BenchmarkError(
                f"{s.benchmark} was measured on different data ({first} and {s.data}): {where}.",
                "report them apart: each file on a page of its own, or measure again what is older",
            )


def _task(scores: Sequence[Score], benchmark: str, task: str, names: dict[Who, str]) -> Task:
    mine = [score for score in scores if (score.benchmark, score.task) == (benchmark, task)]
    card = card_of(benchmark, task)
    found = dict.fromkeys(score.metric for score in mine)
    metric = next((m for m in (card.metrics if card else ()) if m in found), next(iter(found)))
    title = card.title if card and card.name == benchmark else benchmark
    if len({s.task for s in scores if s.benchmark == benchmark}) > 1:
        title = f"{title} ({task.partition('(')[2] or task + ')'}"
    return Task(benchmark, task, title, metric, tuple(table(mine, metric=metric, names=names)))


def _section(task: Task, scores: Sequence[Score], names: dict[Who, str], threshold: float, draw: Any) -> dict[str, Any]:
    """Everything the page shows of one task: a figure of its main metric, and a table of each."""
    mine = [score for score in scores if (score.benchmark, score.task) == (task.benchmark, task.task)]
    card = card_of(task.benchmark, task.task)
    rows = task.rows
    others = [metric for metric in dict.fromkeys(score.metric for score in mine) if metric != task.metric]
    over_length = any(lengths(rows))
    kind, said = (figures.curve, "over length") if over_length else (figures.dots, "of each method")
    versions: dict[str, set[str]] = {}
    for s in mine:
        for package, version in s.versions.items():
            versions.setdefault(package, set()).add(version)
    apart = [f"{name} {' and '.join(sorted(v))}" for name, v in sorted(versions.items()) if len(v) > 1]
    return {
        "title": task.title,
        "card": card,
        "task": task.task,
        "metric": task.metric,
        "lower": task.lower,
        "retrieval": task.retrieval,
        "over_length": over_length,
        "intervals": all(cell.interval for row in rows for cell in row.cells.values()),
        "figure": draw(kind(rows, task.metric, task.lower), f"{task.task}: {task.metric} {said}"),
        "tables": [
            grids.grid(found, metric, found, threshold, published=True)
            for metric in (task.metric, *others)
            for found in [rows if metric == task.metric else table(mine, metric=metric, names=names)]
        ],
        "differences": grids.differences(rows),
        "maps": _maps(mine, task.metric, names, draw),
        "cost": grids.grid(rows, "seconds", rows),
        "peak": grids.grid(rows, "peak_bytes", rows)
        if any(c.peak_bytes for r in rows for c in r.cells.values())
        else None,
        "read": grids.read(rows),
        "devices": sorted({score.device for score in mine}),
        "versions": "; ".join(apart),
    }


def _maps(scores: Sequence[Score], metric: str, names: dict[Who, str], draw: Any) -> dict[str, Any]:
    """A map of each method that was scored at single depths: depth down, length across."""
    deep = [score for score in scores if score.depth is not None and score.metric == metric]
    drawn, found = [], []
    for one in dict.fromkeys(map(who, deep)):
        mine = [score for score in deep if who(score) == one]
        depths = sorted({score.depth for score in mine if score.depth is not None})
        rows = [(d, table([s for s in mine if s.depth == d], metric=metric, names=names)[0]) for d in depths]
        alt = f"{mine[0].task}: {metric} by depth and length, {names[one]}"
        drawn.append(draw(figures.depth_map(rows, metric, names[one]), alt))
        found += [row for _, row in rows]
    return {"figures": drawn, "n": counts(found)}


def _trades(tasks: Sequence[Task], drift: Sequence[Row], draw: Any) -> list[dict[str, Any]]:
    """Short against long, one figure for each task where both are known."""
    made = []
    for task in tasks:
        axis, points = tradeoff(task, drift)
        if points:
            up = f"{task.metric}, {task.reach}"
            figure = figures.scatter(points, task.rows, axis, f"long inputs ({task.reach}): {task.metric}")
            made.append({"title": task.title, "figure": draw(figure, f"{task.task}: short inputs against {up}")})
    return made


def _compared(scores: Sequence[Score], tasks: Sequence[Task]) -> str:
    """What was compared, in one sentence."""
    measured = [s for s in scores if s.strategy != "bm25"]
    models = []
    for model in dict.fromkeys(s.model for s in measured):
        windows = [s.window for s in measured if s.model == model and s.strategy.startswith("truncate")]
        models.append(f"{model} (reads {windows[0]:,} tokens at once)" if windows else model)
    ways = {s.strategy for s in measured if not s.plan and not s.strategy.startswith("bm25")}
    plans = {s.plan for s in measured if s.plan}
    parts = (
        [f"{len(ways)} way{'s' * (len(ways) != 1)} of reading long texts with the model left as it is"] if ways else []
    )
    if plans:
        longest = max(s.window for s in measured if s.plan)
        parts.append(f"{len(plans)} extension{'s' * (len(plans) != 1)} of its window, up to {longest:,} tokens")
    if any(s.strategy == "bm25" for s in scores):
        parts.append("keyword search, which needs no model")
    kinds = ", ".join(task.title for task in tasks) or "short inputs only"
    return f"{', '.join(models) or 'No model'}: {'; '.join(parts)}. Measured on: {kinds}."
