"""Rows and cells of a table of scores: what is pooled, what its text says, and which way is better."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from longspan import registry
from longspan.benchmarks.tasks import Passages, Questions, Retrieval
from longspan.card import BenchmarkCard
from longspan.evaluation.statistics import Interval, effective_window, interval, paired

Part = tuple[str, int]
"""Digest of a set and its seed: examples with the same part are the same examples."""

_DIGITS = {"cosine": 4}


@dataclass(frozen=True)
class Cell:
    """What is known of one row at one length: pooled over seeds, and over depths where needed.

    Attributes:
        value: Mean weighted by the number of examples.
        stderr: Its standard error, the parts taken as independent.
        n: Examples in all.
        seconds: Mean wall-clock time of a measurement [s].
        peak_bytes: Highest peak memory [bytes].
        parts: Value of each example, by digest and seed; empty where not all were kept.
        inputs: Texts in a measurement, None where they were not counted.
        truncated: How many of them were not read to their end, the mean over measurements.
        characters: Their mean length [characters].
        tokens: Their mean length [tokens of the row's model].
    """

    value: float
    stderr: float
    n: int
    seconds: float
    peak_bytes: int
    parts: Mapping[Part, tuple[float, ...]] = field(default_factory=dict)
    inputs: int | None = None
    truncated: float | None = None
    characters: float | None = None
    tokens: float | None = None

    @cached_property
    def interval(self) -> Interval | None:
        """95 % bootstrap interval over the examples of all seeds, None where they were not kept."""
        values = [value for part in self.parts.values() for value in part]
        return interval(values) if len(values) == self.n > 1 else None

    @property
    def bounds(self) -> tuple[float, float]:
        """The ends of the interval, or of one standard error where there is none."""
        if self.interval:
            return self.interval.low, self.interval.high
        return self.value - self.stderr, self.value + self.stderr

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens of all texts over the time, those that were cut off included; None where unknown."""
        known = self.inputs and self.tokens and self.seconds > 0
        return self.inputs * self.tokens / self.seconds if known else None  # type: ignore[operator]

    def text(self, metric: str, interval: bool = False) -> str:
        """``0.48 ±0.07``, or with the interval ``0.48 [0.34, 0.62]``; of nll also the perplexity."""
        digits = _DIGITS.get(metric, 2)
        low, high = self.bounds
        around = f"±{self.stderr:.{digits}f}" if self.n > 1 else ""  # one example tells nothing of others
        if interval and self.interval:
            around = f"[{low:.{digits}f}, {high:.{digits}f}]"
        perplexity = f" (ppl {_exp(self.value):.3g})" if metric == "nll" else ""
        return f"{self.value:.{digits}f} {around}{perplexity}".strip()

    def against(self, other: Cell) -> Interval | None:
        """Interval of the difference to another row on the same examples, None where there are none."""
        # Without a digest nothing says that the examples are the same.
        common = [
            part for part, found in self.parts.items() if part[0] and len(other.parts.get(part, ())) == len(found)
        ]
        ours = [value for part in common for value in self.parts[part]]
        theirs = [value for part in common for value in other.parts[part]]
        return paired(ours, theirs) if len(ours) > 1 else None


@dataclass(frozen=True)
class Row:
    """One method in the table of one task.

    Attributes:
        benchmark: Name of the benchmark.
        task: Its specification.
        label: The method, with the model before it where several are compared.
        cells: Length [tokens] to cell, shortest first; None (inputs as they come) before all.
        model: The model's name.
        strategy: How long inputs are read, as in a Score.
        window: How much is read at once [tokens].
        version: What tells it from other models of that name.
    """

    benchmark: str
    task: str
    label: str
    cells: dict[int | None, Cell]
    model: str = ""
    strategy: str = ""
    window: int = 0
    version: str = ""

    @property
    def kind(self) -> str:
        """``keywords``, ``hybrid``, or how many vectors a document gets: ``one`` or ``several``."""
        if self.strategy.startswith("bm25"):
            return "hybrid" if self.strategy != "bm25" else "keywords"
        card = registry.strategies().get(self.strategy.split("(")[0])
        return card.vectors if card else "one"

    def effective(self, metric: str, threshold: float, style: str = "d") -> str:
        """The effective window in tokens, ``≥`` before it where no longer length was measured, "-" where unknown."""
        known = {length: cell.value for length, cell in self.cells.items() if length is not None}
        if metric == "nll":  # the mean likelihood of a token: its perplexity may rise to 1 / threshold
            known = {length: _exp(-value) for length, value in known.items()}
        elif is_lower(self.benchmark, self.task, metric):
            return "-"
        reached = effective_window(known, threshold)
        if reached is None:
            return "-"
        return f"{'≥ ' if reached == max(known) else ''}{reached:{style}}"


def card_of(benchmark: str, task: str) -> BenchmarkCard | None:
    """The card of a benchmark or, where a set has a name of its own, that of the class that made it."""
    cards = registry.benchmarks()
    made_by = registry.plain(task.split("(")[0])
    return cards.get(benchmark) or next((c for c in cards.values() if registry.plain(c.name) == made_by), None)


def metrics_of(benchmark: Any, examples: Any) -> set[str]:
    """Names of all that a benchmark measures on a set, none where that cannot be known.

    One without a card is asked: it judges a right answer to the set's first example.
    """
    if card := card_of(examples.name, repr(benchmark)):
        return set(card.metrics)
    try:
        return set(benchmark.score(*_right(examples)))
    except Exception:  # noqa: BLE001  # whatever code of one's own raises at an answer that no model gave
        return set()


def _right(examples: Any) -> tuple[Any, Any]:
    """What is judged by, and a right answer of the form that a model's has."""
    if isinstance(examples, Retrieval):
        relevant = next(iter(examples.relevant.values()))
        return relevant, list(relevant)
    if isinstance(examples, Questions):
        question = next(iter(examples.questions.values()))
        return question, question.gold
    if isinstance(examples, Passages):
        return next(iter(examples.texts.values())), [-1.0] * examples.scored
    return examples, np.eye(len(examples.texts), dtype=np.float32)


def fitted(benchmark: str, task: str) -> bool:
    """Whether a benchmark's texts are fitted to a length by the model's tokenizer, so that each model has others."""
    card = card_of(benchmark, task)
    return card is not None and "count" in registry.load(card.name, BenchmarkCard).examples.__annotations__


def is_lower(benchmark: str, task: str, metric: str) -> bool:
    """Whether less of a metric is better."""
    card = card_of(benchmark, task)
    return metric in card.lower if card else metric == "nll"


def as_it_is(row: Row, rows: Sequence[Row]) -> Row | None:
    """What a row is compared with: the model as it is, its first truncate row, else that of the first model."""
    plain = [one for one in rows if one.strategy.split("(")[0] == "truncate"]
    own = [one for one in plain if (one.model, one.version) == (row.model, row.version)]
    return next(iter(own or plain), None)


def counts(rows: Sequence[Row]) -> str:
    """``n = 50``, or ``n = 50 to 100`` where the cells differ."""
    found = {cell.n for row in rows for cell in row.cells.values()} or {0}
    return f"n = {min(found)}" if len(found) == 1 else f"n = {min(found)} to {max(found)}"


def lengths(rows: Sequence[Row]) -> list[int | None]:
    """Lengths [tokens] of any of the rows, ascending, None first."""
    return sorted({length for row in rows for length in row.cells}, key=lambda n: n or 0)


def grid(rows: Sequence[Row], metric: str, threshold: float) -> str:
    """A table in Markdown: method x length, and the effective window where there are several lengths."""
    columns = lengths(rows)
    window = len(columns) > 1
    lines = [["method", *("whole" if n is None else str(n) for n in columns), *["effective window"][: int(window)]]]
    for row in rows:
        cells = [row.cells[n].text(metric) if n in row.cells else "-" for n in columns]
        last = [row.effective(metric, threshold)] if window else []
        lines.append([row.label.replace("|", "\\|"), *cells, *last])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    rule = " | ".join("-" * width for width in widths)
    return "\n".join(f"| {line} |" for line in (texts[0], rule, *texts[1:]))


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))
