"""Grids: the tables of a report as texts, ready for its template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from longspan import registry
from longspan.evaluation.cells import Cell, Row, as_it_is, card_of, counts, is_lower, lengths
from longspan.evaluation.findings import Task
from longspan.evaluation.score import Score

if TYPE_CHECKING:
    from markupsafe import Markup

_METRICS = {
    "acc_at_1": "share of questions whose right document is ranked first (1 is perfect)",
    "ndcg_at_10": "1 if the right document is ranked first, less the lower it stands, 0 below rank 10, "
    "averaged over the questions",
    "cosine": "cosine between the vectors of a short text before and after the change (1 is identical)",
    "nll": "mean negative log-likelihood of a token in nats; perplexity (ppl) is exp(nll)",
    "likelihood": "mean likelihood that the model gave to the right token (1 is perfect)",
    "mean_cosine": "mean cosine of different texts (1: all vectors are the same)",
    "spearman": "rank correlation with the grades of people (1 is perfect, 0 is chance)",
}
_WAYS = {
    "bm25": "Keyword search (BM25): counts the words that question and document share, rare ones more. It needs no "
    "model and reads whole documents, so a model has to beat it.",
    "language": "A language model reads N tokens: a longer prompt loses its middle, a longer passage its beginning.",
    "hybrid": "Keyword search and the named way, fused by the ranks they give (reciprocal rank fusion).",
}
_PUBLISHED = ("passkey", "needle", "qmsum", "narrativeqa", "wikimqa", "summscreenfd")


def _columns(rows: Sequence[Row]) -> list[str]:
    return ["whole texts" if n is None else f"{n:,}" for n in lengths(rows)]


def grid(
    rows: Sequence[Row], metric: str, of: Sequence[Row], threshold: float = 0, published: bool = False
) -> dict[str, Any]:
    """A table of texts: columns, and label with cells for each row; with a threshold also the effective window."""

    def text(cell: Cell) -> str:
        if metric == "seconds":
            speed = f"{cell.tokens_per_second:,.0f} tokens/s" if cell.tokens_per_second else ""
            return _two(f"{cell.seconds:,.1f} s" if cell.seconds >= 1 else f"{cell.seconds:.2g} s", speed)
        if metric == "peak_bytes":
            return f"{cell.peak_bytes / 2**20:,.0f} MiB" if cell.peak_bytes else ""
        return _two(*cell.text(metric, interval=True).split(" ", 1))

    columns = lengths(of)
    window = threshold > 0 and len(columns) > 1
    made = []
    for row in rows:
        cells = [text(row.cells[n]) if n in row.cells else "" for n in columns]
        made.append((row.label, [*cells, *[row.effective(metric, threshold, ",d")][: int(window)]]))
    return {
        "metric": metric,
        "meaning": _METRICS.get(metric, ""),
        "lower": bool(rows) and is_lower(rows[0].benchmark, rows[0].task, metric),
        "columns": [*_columns(of), *["effective window"][: int(window)]],
        "rows": made,
        "published": _published(rows, metric, columns, window) if published else [],
        "window": window,
        "n": counts(rows),
    }


def _published(rows: Sequence[Row], metric: str, columns: Sequence[int | None], window: bool) -> list[Any]:
    """Rows of what others have published about the same models and about keyword search."""
    from longspan.benchmarks.published import published

    if not rows or rows[0].benchmark not in _PUBLISHED:
        return []
    made = []
    for model in dict.fromkeys([*(row.model for row in rows if row.kind != "keywords"), "bm25"]):
        found = [published(model, rows[0].benchmark, n).get(metric) for n in columns]
        if any(value is not None for value in found):
            cells = ["" if value is None else f"{value:.2f}" for value in found]
            made.append((f"published: {model}", cells + [""] * window))
    return made


def differences(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Each row less the model as it is, where both have the values of the same examples."""
    from markupsafe import Markup

    made = []
    for row in rows:
        base = as_it_is(row, rows)
        cells = []
        for n in lengths(rows):
            gain = None
            if base and base is not row and n in row.cells and n in base.cells:
                gain = row.cells[n].against(base.cells[n])
            text = _two(f"{gain.mean:+.2f}", f"[{gain.low:+.2f}, {gain.high:+.2f}]") if gain else ""
            sure = gain and (gain.low > 0 or gain.high < 0)
            cells.append(Markup("<strong>{}</strong>").format(text) if sure else text)
        if base and any(cells):
            made.append((row.label, base.label, cells))
    against = list(dict.fromkeys(base for _, base, _ in made))
    rows_of = [(label if len(against) == 1 else f"{label} less {base}", cells) for label, base, cells in made]
    return {"columns": _columns(rows), "rows": rows_of, "against": ", ".join(against)} if made else None


def read(rows: Sequence[Row]) -> dict[str, Any] | None:
    """How long the texts are and how many were not read to their end; None where it was not counted."""
    columns = lengths(rows)
    made: list[tuple[str, list[str]]] = []

    def line(label: str, texts: dict[int | None, str]) -> None:
        made.append((label, [texts.get(n, "") for n in columns]))

    known = [(row, n, cell) for row in rows for n, cell in row.cells.items() if cell.inputs is not None]
    if not known:
        return None
    line("mean length, characters", {n: f"{cell.characters:,.0f}" for _, n, cell in known if cell.characters})
    counted = [(row, n, cell.tokens) for row, n, cell in known if cell.tokens]
    for model in dict.fromkeys(row.model for row, _, _ in counted):
        found = {n: f"{tokens:,.0f}" for row, n, tokens in counted if row.model == model}
        line(f"mean length, tokens of {model}", found)
    searched = [row for row in rows if row.kind != "hybrid"]  # which reads as its two parts do
    for row in searched:
        cut = {n: f"{c.truncated:,.0f} of {c.inputs:,}" for n, c in row.cells.items() if c.truncated is not None}
        if any(cell.truncated for cell in row.cells.values()):
            line(f"not read to the end: {row.label}", cut)
    whole = [row.label for row in searched if all(cell.truncated == 0 for cell in row.cells.values())]
    return {"columns": _columns(rows), "rows": made, "whole": whole}


def board(tasks: Sequence[Task]) -> dict[str, Any]:
    """Method x task in the main metric of each: mean over the lengths beyond the window, the best in bold."""
    from markupsafe import Markup

    labels = list(dict.fromkeys(row.label for task in tasks for row in task.rows))
    made: dict[str, list[Any]] = {label: [] for label in labels}
    for task in tasks:
        found = {row.label: cell for row in task.rows if (cell := task.long(row))}
        top = max((task.good(cell) for cell in found.values()), default=0.0)
        for label in labels:
            cell = found.get(label)
            text: Any = f"{cell.value:.2f}" if cell else "-"
            if cell and task.good(cell) >= top - 1e-9:
                text = Markup("<strong>{}</strong>").format(text)
            made[label].append(text)
    heads = [(t.title, f"{t.metric}{' (less is better)' if t.lower else ''}, {t.reach}") for t in tasks]
    return {"columns": heads, "rows": list(made.items())}


def glossary(scores: Sequence[Score]) -> list[tuple[str, str]]:
    """One line for each way of reading and each method that occurs, from their cards."""
    ways, plans = registry.strategies(), registry.methods()
    told: dict[str, str] = {}
    for score in scores:
        bare = score.strategy.removeprefix("bm25 + ")
        if score.strategy == "bm25":
            told["bm25"] = _WAYS["bm25"]
            continue
        if bare != score.strategy:
            told["bm25 + ..."] = _WAYS["hybrid"]
        name = bare.split("(")[0]
        about = card_of(score.benchmark, score.task)
        if about and about.family in ("generation", "likelihood"):
            told["language model, N"] = _WAYS["language"]
        elif card := ways.get(name):
            key = "method\u00a0→\u00a0N" if name == "extend" else f"{name} N"
            told[key] = f"{card.title}: {card.vectors} vector{'s' * (card.vectors != 'one')} a document. {_for(card)}"
        for part in score.plan.split(" + "):
            if method := plans.get(part.split("(")[0]):
                told[method.name] = f"{method.title}. {_for(method)}"
    return sorted(told.items(), key=lambda one: list(_order(one[0])))


def origins(scores: Sequence[Score]) -> list[dict[str, str]]:
    """What was measured where: one row for each model, device and state of the code."""
    rows: dict[tuple[str, ...], list[Score]] = {}
    for s in scores:
        packages = ", ".join(f"{name} {version}" for name, version in sorted(s.versions.items()))
        rows.setdefault((s.model, s.version, s.device, packages, s.commit), []).append(s)
    names = ("model", "revision", "device", "versions", "commit")
    return [
        dict(zip(names, key, strict=True))
        | {
            "dates": " to ".join(dict.fromkeys((min(s.date for s in group), max(s.date for s in group)))),
            "seeds": ", ".join(map(str, sorted({s.seed for s in group}))),
            "data": ", ".join(sorted({f"{s.benchmark} {s.data}" for s in group if s.data})),
        }
        for key, group in rows.items()
    ]


def _two(first: str, second: str = "") -> Markup:
    """A cell of two lines, the second one small."""
    from markupsafe import Markup

    if not second:
        return Markup("{}").format(first)
    return Markup("{}<small>{}</small>").format(first, second.replace(" (", "\n("))


def _for(card: Any) -> str:
    return f"For {card.best_for}. But {card.caution}." if card.caution else f"For {card.best_for}."


def _order(name: str) -> tuple[int, str]:
    ranks = {"truncate N": 0, "language model, N": 0, "bm25": 3, "bm25 + ...": 4, "method\u00a0→\u00a0N": 1}
    return ranks.get(name, 2 if name.endswith(" N") else 1), name
