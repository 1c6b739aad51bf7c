"""Findings: what came out of many scores, in numbers over tasks and in plain sentences made of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from longspan.evaluation.cells import Cell, Part, Row, as_it_is, card_of, is_lower, lengths

_EQUAL = 1e-9


@dataclass(frozen=True)
class Task:
    """One task in its main metric.

    Attributes:
        benchmark: Name of the benchmark.
        task: Its specification.
        title: What a reader calls it.
        metric: The main metric.
        rows: One for each method.
    """

    benchmark: str
    task: str
    title: str
    metric: str
    rows: tuple[Row, ...]

    @property
    def lower(self) -> bool:
        """Whether less is better."""
        return is_lower(self.benchmark, self.task, self.metric)

    @property
    def retrieval(self) -> bool:
        """Whether documents are searched, so that keyword search has an answer too."""
        card = card_of(self.benchmark, self.task)
        return card.family == "retrieval" if card else any(row.kind == "keywords" for row in self.rows)

    @property
    def trained(self) -> int:
        """The trained window: what the models as they are read at once [tokens], 0 where none was measured."""
        plain = [as_it_is(row, self.rows) for row in self.rows]
        return max((row.window for row in plain if row), default=0)

    @property
    def beyond(self) -> tuple[int | None, ...]:
        """Lengths beyond the trained window, or all of them where none is."""
        every = lengths(self.rows)
        return tuple(n for n in every if n is None or n > self.trained) or tuple(every)

    @property
    def reach(self) -> str:
        """Those lengths in words."""
        if None in self.beyond:
            return "whole texts"
        first, last = min(n or 0 for n in self.beyond), max(n or 0 for n in self.beyond)
        return f"{first:,} tokens" if first == last else f"{first:,} to {last:,} tokens"

    def long(self, row: Row) -> Cell | None:
        """A row's mean over the lengths beyond the window; None where it was not measured at each of them."""
        if any(n not in row.cells for n in self.beyond):
            return None
        cells = [row.cells[n] for n in self.beyond]
        # Seeds of different lengths have digests of their own, as a set holds its length.
        parts: dict[Part, tuple[float, ...]] = {part: found for cell in cells for part, found in cell.parts.items()}
        return Cell(
            sum(cell.value for cell in cells) / len(cells),
            math.hypot(*(cell.stderr for cell in cells)) / len(cells),
            sum(cell.n for cell in cells),
            sum(cell.seconds for cell in cells),
            max(cell.peak_bytes for cell in cells),
            parts if all(cell.parts for cell in cells) else {},
        )

    def best(self, *kinds: str) -> list[tuple[Row, Cell]]:
        """The best rows of some kinds, several where they are equal, none where none was measured."""
        found = [(row, cell) for row in self.rows if row.kind in kinds and (cell := self.long(row))]
        if not found:
            return []
        top = max(self.good(cell) for _, cell in found)
        return [(row, cell) for row, cell in found if self.good(cell) >= top - _EQUAL]

    def good(self, cell: Cell) -> float:
        """The value, more always better."""
        return -cell.value if self.lower else cell.value


def tradeoff(task: Task, drift: Sequence[Row]) -> tuple[str, list[tuple[Row, float, float]]]:
    """What short inputs keep and what long ones score, of each row where both are known.

    Args:
        task: A task.
        drift: Cosines of short inputs before and after, one row for each extension.

    Returns:
        What is on the first axis, and row, first axis and second axis of each point. The model as it is has 1.
    """
    if task.lower:
        return "", []
    kept: dict[str, float] = {}
    drifted = {row.label: row for row in drift if row.cells}
    if any(row.label in drifted for row in task.rows):
        short = max(n or 0 for row in drifted.values() for n in row.cells)
        kept = {label: row.cells[short].value for label, row in drifted.items() if short in row.cells}
        kept |= {base.label: 1.0 for row in task.rows if (base := as_it_is(row, task.rows))}
        axis = f"short inputs ({short:,} tokens): cosine to the vectors before"
    else:
        first = lengths(task.rows)[0]
        if first is None or first > task.trained:
            return "", []
        for row in task.rows:
            base = as_it_is(row, task.rows)
            if base and first in row.cells and first in base.cells and base.cells[first].value > 0:
                kept[row.label] = row.cells[first].value / base.cells[first].value
        axis = f"short inputs ({first:,} tokens): score / that of the model as it is"
    points = [(row, kept[row.label], c.value) for row in task.rows if row.label in kept and (c := task.long(row))]
    return axis, points if len(points) > 1 else []


def sentences(tasks: Sequence[Task], drift: Sequence[Row]) -> list[str]:
    """What came out, the most sobering first."""
    searched = [task for task in tasks if task.retrieval]
    told = _keywords(searched) + _kinds(searched)
    for task in tasks:
        if not task.retrieval and (best := task.best("one", "several")):
            less = ", less is better" if task.lower else ""
            told.append(f"On {task.title} ({task.metric}{less}; {task.reach}): {_won(task, best)}.")
    return [*told, _short(tasks, drift)]


def by_task(tasks: Sequence[Task]) -> list[tuple[str, str]]:
    """Title and result of each task over documents: the best of each kind beside the model as it is."""
    kinds = {"one": "one vector a document", "several": "several vectors", "hybrid": "with keywords fused in"}
    told = []
    for task in tasks:
        if not task.retrieval:
            continue
        parts = [f"keyword search {cell.value:.2f}" for _, cell in task.best("keywords")[:1]]
        for kind, words in kinds.items():
            if best := task.best(kind):
                parts.append(f"{words}: {_won(task, best) if kind == 'one' else _named(best)}")
        told.append((f"{task.title} ({task.metric}, {task.reach})", "; ".join(parts)))
    return told


def _keywords(tasks: Sequence[Task]) -> list[str]:
    if not tasks:
        return []
    measured = [task for task in tasks if task.best("keywords") and task.best("one", "several")]
    if not measured:
        return ["Keyword search (BM25) was not measured, so whether a model is needed at all stays open."]
    won = [
        task
        for task in measured
        if task.good(task.best("keywords")[0][1]) >= task.good(task.best("one", "several")[0][1]) - _EQUAL
    ]
    start = "Keyword search (BM25), which needs no model,"
    values = [task.best("keywords")[0][1].value for task in measured]
    mean = f"it has {sum(values) / len(values):.2f} {_over(measured, tasks)}"
    if not won:
        where = "the retrieval task" if len(measured) == 1 else f"all {len(measured)} retrieval tasks"
        return [f"{start} is beaten by the model in {where}; {mean}."]
    where = ", ".join(task.title for task in won)
    share = "" if len(measured) == 1 else f" in {len(won)} of {len(measured)} retrieval tasks"
    return [f"{start} wins{share}: no way of reading with the model alone is better on {where}; {mean}."]


def _kinds(tasks: Sequence[Task]) -> list[str]:
    """The best on average of those with one vector, with several, and fused with keywords."""
    told = []
    for kind, words in (
        ("one", "With one vector a document"),
        ("several", "With several vectors a document"),
        ("hybrid", "Fused with keyword search"),
    ):
        found: dict[str, list[int]] = {}
        for i, task in enumerate(tasks):
            for row in task.rows:
                if row.kind == kind and task.long(row):
                    found.setdefault(row.label, []).append(i)
        if not found:
            if kind == "several" and tasks:
                told.append("No way of reading that makes several vectors a document was measured.")
            continue
        # Means over different tasks do not compare: those tasks count that the most rows have in common.
        shared = {len(had) * sum(set(had) <= set(other) for other in found.values()): had for had in found.values()}
        of = [tasks[i] for i in shared[max(shared)]]
        chosen = set(shared[max(shared)])
        most = len(of)
        means = {label: _mean(of, label) for label, had in found.items() if chosen <= set(had)}
        label = max(means, key=means.__getitem__)
        plain = [as_it_is(row, task.rows) for task in of for row in task.rows if row.label == label]
        bases = [cell.value for task, base in zip(of, plain, strict=True) if base and (cell := task.long(base))]
        where = _over(of, tasks)
        text = f"{words}, {label} is the best: {means[label]:.2f} {where}"
        if len(bases) == most and {base.label for base in plain if base} == {label}:
            text = f"{words}, nothing beats the model as it is ({label}): {means[label]:.2f} {where}"
        elif len(bases) == most:
            text += f", against {sum(bases) / most:.2f} of the model as it is"
        told.append(f"{text}.")
    return told


def _over(some: Sequence[Task], every: Sequence[Task]) -> str:
    """What a mean is over; its tasks by name where they are not all, as it compares with no mean over others."""
    if len(some) == 1:
        return f"on {some[0].title}"
    if len(some) == len(every):
        return f"on average over {'both' if len(every) == 2 else f'all {len(every)}'} retrieval tasks"
    return f"on average over {len(some)} tasks ({'; '.join(task.title for task in some)})"


def _mean(tasks: Sequence[Task], label: str) -> float:
    cells = [cell for task in tasks for row in task.rows if row.label == label and (cell := task.long(row))]
    return sum(cell.value for cell in cells) / len(cells)


def _won(task: Task, best: list[tuple[Row, Cell]]) -> str:
    """The best rows beside the model as it is, with what the difference is worth."""
    row, cell = best[0]
    base = as_it_is(row, task.rows)
    if base is None or (plain := task.long(base)) is None:
        return _named(best)
    if base in [one for one, _ in best]:
        return f"none beats the model as it is, {plain.value:.2f}"
    text = f"{_named(best)}, the model as it is {plain.value:.2f}"
    if gain := cell.against(plain):
        worth = "beyond chance" if gain.low > 0 or gain.high < 0 else "may be chance"
        text += f" (difference {gain.mean:+.2f}, 95 % interval {gain.low:+.2f} to {gain.high:+.2f}: {worth})"
    return text


def _named(best: list[tuple[Row, Cell]]) -> str:
    more = f" and {len(best) - 1} more" if len(best) > 1 else ""
    return f"{best[0][0].label}{more} {best[0][1].value:.2f}"


def _short(tasks: Sequence[Task], drift: Sequence[Row]) -> str:
    if cells := [(row, row.cells[max(row.cells, key=lambda n: n or 0)]) for row in drift if row.cells]:
        (least, kept), (most, lost) = max(cells, key=lambda c: c[1].value), min(cells, key=lambda c: c[1].value)
        length = max(n or 0 for row in drift for n in row.cells)
        text = f"Short inputs ({length:,} tokens) have vectors with a cosine of {kept.value:.4f} to those before under"
        if kept.value - lost.value < _EQUAL:
            return f"{text} each extension measured."
        return f"{text} {least.label}, which changes them least, and of {lost.value:.4f} under {most.label}, the most."
    losses = []
    for task in tasks:
        axis, points = tradeoff(task, ())
        if axis and (best := task.best("one")):
            losses += [f"{100 * kept:.0f} % on {task.title}" for row, kept, _ in points if row == best[0][0]]
    if losses:
        return (
            f"Short inputs: what is best on long texts keeps, of the score of the model as it is, {', '.join(losses)}."
        )
    return "What short inputs lose was not measured."
