"""Scores: the record of one measurement, its file of JSON lines, and tables over length."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from longspan.benchmarks.retrieval import read_lines
from longspan.errors import BenchmarkError

_ACCEPTED: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "int | None": (int, type(None)),
    "float": (float, int),
    "float | None": (float, int, type(None)),
    "dict[str, str]": (dict,),
}
_DIGITS = {"cosine": 4}
_USUAL = "torch float32"


@dataclass(frozen=True, kw_only=True)
class Score:
    """One measurement with all that is needed to repeat it.

    Attributes:
        model: Name or path of the model.
        revision: Its revision or checksum.
        engine: How token states are computed, with the layers and dimensions where not all are used.
        strategy: How long inputs are read: a strategy's specification without its window, or bm25.
        plan: Specification of the methods, "" where there are none.
        window: How much is read at once [tokens], 0 for all.
        benchmark: Name of the benchmark.
        task: Its specification, with which data and how many.
        length: Length of the inputs [tokens], None where they come as they are.
        depth: Where in the input the evidence begins [0..1], None over all depths.
        metric: Name of the metric.
        value: Its mean over the examples.
        stderr: Standard error of that mean.
        n: How many examples.
        seed: Seed of the benchmark.
        seconds: Wall-clock time of the measurement [s].
        peak_bytes: Peak memory [bytes], 0 where it was not measured.
        device: What it ran on.
        versions: Package name to version.
        commit: Commit of longspan.
        date: ISO 8601 date and time.
    """

    model: str
    revision: str
    engine: str
    strategy: str
    plan: str
    window: int
    benchmark: str
    task: str
    length: int | None
    depth: float | None
    metric: str
    value: float
    stderr: float
    n: int
    seed: int
    seconds: float
    peak_bytes: int
    device: str
    versions: dict[str, str]
    commit: str
    date: str

    def __post_init__(self) -> None:
        """Check types and ranges."""
        for field in fields(self):
            value, kind = getattr(self, field.name), str(field.type)
            if isinstance(value, bool) or not isinstance(value, _ACCEPTED[kind]):
                raise _refused(f"{field.name}={value!r} is not {kind}")
            if isinstance(value, int | float) and not abs(value) < 2**63:  # also false for nan
                raise _refused(f"{field.name} is out of range or not finite")
            texts = [*value.keys(), *value.values()] if isinstance(value, dict) else [value]
            if isinstance(value, str | dict) and not all(isinstance(t, str) and t.isprintable() for t in texts):
                raise _refused(f"{field.name}={value!r} is not printable text")
        if not self.strategy:
            raise _refused("strategy is empty")
        if self.n < 1 or self.stderr < 0 or self.window < 0 or (self.length is not None and self.length < 1):
            small = f"n={self.n}, stderr={self.stderr}, window={self.window} or length={self.length}"
            raise _refused(f"{small} is too small")
        if self.depth is not None and not 0 <= self.depth <= 1:
            raise _refused(f"depth={self.depth} is outside 0..1")

    @property
    def label(self) -> str:
        """Row name in tables: ``truncate 512``, ``interpolate -> 4096``, ``late 4096 in tile``, ``bm25``."""
        if self.strategy == "extend":
            name = f"{self.plan} -> {self.window}"
        else:
            name = f"{self.strategy} {self.window or ''}".strip() + (f" in {self.plan}" if self.plan else "")
        return name if self.engine == _USUAL or not self.window else f"{name}, {self.engine}"


def append(path: Path, scores: Iterable[Score]) -> None:
    """Add scores to the end of a file in one write; what stands there is never changed.

    Args:
        path: A JSON-lines file; it and its folders are created where missing.
        scores: What to add.
    """
    data = "".join(json.dumps(asdict(score), allow_nan=False) + "\n" for score in scores).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        if file.tell() and file.seek(-1, os.SEEK_END) >= 0 and file.read() != b"\n":
            data = b"\n" + data  # an earlier write was cut short: do not lose the new line with it
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[Score]:
    """Read the scores of a file, oldest first.

    Raises:
        BenchmarkError: The file cannot be read, or a line is not a score; the line is named.
    """
    names = [field.name for field in fields(Score)]
    scores = []
    for line, row in read_lines(path):
        if wrong := sorted(row.keys() ^ set(names)):
            known = f"a score has the fields {', '.join(names)}"
            raise BenchmarkError(f"{path}, line {line}: lacks or misspells {', '.join(wrong)}.", known)
        try:
            scores.append(Score(**row))
        except BenchmarkError as error:
            raise BenchmarkError(f"{path}, line {line}: {error.fact}", error.hint) from None
    return scores


@dataclass(frozen=True)
class Cell:
    """What is known of one row at one length: pooled over seeds, and over depths where needed.

    Attributes:
        value: Mean weighted by the number of examples.
        stderr: Its standard error, the parts taken as independent.
        n: Examples in all.
        seconds: Mean wall-clock time of a measurement [s].
        peak_bytes: Highest peak memory [bytes].
    """

    value: float
    stderr: float
    n: int
    seconds: float
    peak_bytes: int

    def text(self, metric: str) -> str:
        """``0.48 ±0.07``."""
        digits = _DIGITS.get(metric, 2)
        return f"{self.value:.{digits}f} ±{self.stderr:.{digits}f}"


@dataclass(frozen=True)
class Row:
    """One method in the table of one task.

    Attributes:
        benchmark: Name of the benchmark.
        task: Its specification.
        label: The method, with the model before it where several are compared.
        cells: Length [tokens] to cell, shortest first; None (inputs as they come) before all.
    """

    benchmark: str
    task: str
    label: str
    cells: dict[int | None, Cell]


def table(scores: Sequence[Score], *, metric: str) -> list[Row]:
    """Pivot scores over length.

    Tasks and methods keep the order in which they were first seen. Where the same measurement was
    made twice the later one counts. Scores for single depths are pooled unless the same length
    also has one over all depths.

    Args:
        scores: Scores of any benchmarks.
        metric: Which of their metrics.
    """
    names = row_names(scores)
    rows: dict[tuple[str, str, str], dict[int | None, list[Score]]] = {}
    for score in latest(scores):
        if score.metric == metric:
            row = rows.setdefault((score.benchmark, score.task, names[_who(score)]), {})
            row.setdefault(score.length, []).append(score)
    return [
        Row(*key, {length: _pool(row[length]) for length in sorted(row, key=lambda n: n or 0)})
        for key, row in rows.items()
    ]


def latest(scores: Iterable[Score]) -> list[Score]:
    """Scores without those that were measured again later, in the order first seen."""
    kept = {}
    for s in scores:
        kept[(*_who(s), s.benchmark, s.task, s.length, s.depth, s.metric, s.seed)] = s
    return list(kept.values())


def row_names(scores: Iterable[Score]) -> dict[tuple[str, str, str], str]:
    """Row name of each model, revision and label: no longer than it must be to tell them apart."""
    who = {_who(score) for score in scores}
    revisions = {pair[:2] for pair in who}
    models = {model for model, _ in revisions}
    if len(revisions) == 1:
        return {one: one[2] for one in who}
    if len(models) == len(revisions):
        return {one: f"{one[0]}: {one[2]}" for one in who}
    return {one: f"{one[0]}@{one[1]}: {one[2]}" for one in who}


def markdown(scores: Sequence[Score]) -> str:
    """Tables of all scores, method x length, one for each task and metric, as Markdown.

    Each cell is the mean and its standard error; n, the number of examples, stands under the table.
    """
    parts = []
    for benchmark, task in dict.fromkeys((score.benchmark, score.task) for score in scores):
        mine = [score for score in scores if (score.benchmark, score.task) == (benchmark, task)]
        for metric in dict.fromkeys(score.metric for score in mine):
            rows = table(mine, metric=metric)
            parts.append(f"### {benchmark}, {metric}\n\n{_grid(rows, metric)}\n\n{task}; {counts(rows)}.\n")
    return "\n".join(parts)


def counts(rows: Sequence[Row]) -> str:
    """``n = 50``, or ``n = 50 to 100`` where the cells differ."""
    found = {cell.n for row in rows for cell in row.cells.values()} or {0}
    return f"n = {min(found)}" if len(found) == 1 else f"n = {min(found)} to {max(found)}"


def lengths(rows: Sequence[Row]) -> list[int | None]:
    """Lengths [tokens] of any of the rows, ascending, None first."""
    return sorted({length for row in rows for length in row.cells}, key=lambda n: n or 0)


def _grid(rows: Sequence[Row], metric: str) -> str:
    columns = lengths(rows)
    grid = [["method", *("whole" if n is None else str(n) for n in columns)]]
    for row in rows:
        cells = [row.cells[n].text(metric) if n in row.cells else "-" for n in columns]
        grid.append([row.label.replace("|", "\\|"), *cells])
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in grid]
    rule = " | ".join("-" * width for width in widths)
    return "\n".join(f"| {line} |" for line in (lines[0], rule, *lines[1:]))


def _pool(scores: list[Score]) -> Cell:
    scores = [score for score in scores if score.depth is None] or scores
    n = sum(score.n for score in scores)
    return Cell(
        sum(score.n * score.value for score in scores) / n,
        math.hypot(*(score.n * score.stderr for score in scores)) / n,
        n,
        sum(score.seconds for score in scores) / len(scores),
        max(score.peak_bytes for score in scores),
    )


def _who(score: Score) -> tuple[str, str, str]:
    return score.model, score.revision, score.label


def _refused(fact: str) -> BenchmarkError:
    return BenchmarkError(f"This is not a score: {fact}.", "see longspan.evaluation.score.Score for its fields")
