"""Scores: the record of one measurement, its file of JSON lines, and tables over length."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path

from longspan.benchmarks.files import append_lines, read_lines
from longspan.errors import BenchmarkError
from longspan.evaluation.cells import Cell, Row, counts, grid, is_lower, lengths

Who = tuple[str, str, str]

_ACCEPTED: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "int | None": (int, type(None)),
    "float": (float, int),
    "float | None": (float, int, type(None)),
    "dict[str, str]": (dict,),
    "tuple[float, ...]": (tuple,),
}
_USUAL = "torch float32"
DRIFT = "short_drift"
"""Name of the comparison of short texts' vectors before and after, which is no benchmark of its own."""


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
        data: Digest of the benchmark's data, "" in scores older than this field.
        inputs: How many texts were read, None where it was not counted.
        truncated: How many of them not to their end.
        characters: Their mean length [characters].
        tokens: Their mean length [tokens of this model, which compare with no other tokenizer's].
        values: The value of each example, in the benchmark's order; empty where they were not kept.
        identity: ``identity`` of the model before the plan, with the window that was assumed; "" for keyword search and
            in scores older than this field, of which nobody knows what the model was.
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
    data: str = ""
    inputs: int | None = None
    truncated: int | None = None
    characters: float | None = None
    tokens: float | None = None
    values: tuple[float, ...] = ()
    identity: str = ""

    def __post_init__(self) -> None:
        """Check types and ranges."""
        for field in fields(self):
            value, kind = getattr(self, field.name), str(field.type)
            if isinstance(value, bool) or not isinstance(value, _ACCEPTED[kind]):
                raise _refused(f"{field.name}={value!r} is not {kind}")
            numbers = value if isinstance(value, tuple) else (value,) if isinstance(value, int | float) else ()
            if not all(isinstance(x, int | float) and abs(x) < 2**63 for x in numbers):  # also false for nan
                raise _refused(f"{field.name} is out of range or not finite")
            texts = [*value.keys(), *value.values()] if isinstance(value, dict) else [value]
            if isinstance(value, str | dict) and not all(isinstance(t, str) and t.isprintable() for t in texts):
                raise _refused(f"{field.name}={value!r} is not printable text")
        if not self.strategy:
            raise _refused("strategy is empty")
        if self.n < 1 or self.stderr < 0 or self.window < 0 or (self.length is not None and self.length < 1):
            small = f"n={self.n}, stderr={self.stderr}, window={self.window} or length={self.length}"
            raise _refused(f"{small} is too small")
        if self.values and len(self.values) != self.n:
            raise _refused(f"it has {len(self.values)} values, n={self.n}")
        if self.depth is not None and not 0 <= self.depth <= 1:
            raise _refused(f"depth={self.depth} is outside 0..1")

    @property
    def version(self) -> str:
        """What tells models of one name apart: the revision and the identity's first characters."""
        return "+".join(part for part in (self.revision, self.identity[:8]) if part)

    @property
    def label(self) -> str:
        """Row name: ``truncate 512``, ``interpolate -> 4096``, ``late 4096 in tile``, ``bm25 + tile -> 4096``."""
        if self.strategy in ("extend", "bm25 + extend"):
            name = f"{self.strategy.removesuffix('extend')}{self.plan} -> {self.window}"
        else:
            name = f"{self.strategy} {self.window or ''}".strip() + (f" in {self.plan}" if self.plan else "")
        return name if self.engine == _USUAL or not self.window else f"{name}, {self.engine}"


def append(path: Path, scores: Iterable[Score]) -> None:
    """Add scores to the end of a file in one write; whole lines that stand there are never changed.

    A last line that a killed run has cut short is moved to a file beside it that ends in ``.torn``.

    Args:
        path: A JSON-lines file; it and its folders are created where missing.
        scores: What to add.

    Raises:
        BenchmarkError: It cannot be written.
    """
    append_lines(path, map(asdict, scores))


def read(path: Path) -> list[Score]:
    """Read the scores of a file, oldest first.

    Raises:
        BenchmarkError: The file cannot be read, or a line is not a score; the line is named.

    Warns:
        UserWarning: A killed run has cut its last line short; it is left out.
    """
    names = [field.name for field in fields(Score)]
    older = {field.name for field in fields(Score) if field.default is not MISSING}
    scores = []
    for line, row in read_lines(path, lambda line: _warn_torn(path, line)):
        if wrong := sorted((row.keys() ^ set(names)) - (older - row.keys())):
            known = f"a score has the fields {', '.join(names)}"
            raise BenchmarkError(f"{path}, line {line}: lacks or misspells {', '.join(wrong)}.", known)
        if isinstance(values := row.get("values"), list):
            row["values"] = tuple(values)
        try:
            scores.append(Score(**row))
        except BenchmarkError as error:
            raise BenchmarkError(f"{path}, line {line}: {error.fact}", error.hint) from None
    return scores


def table(scores: Sequence[Score], *, metric: str, names: Mapping[Who, str] | None = None) -> list[Row]:
    """Pivot scores over length.

    Tasks and methods keep the order in which they were first seen. Where the same measurement was
    made twice the later one counts. Scores for single depths are pooled unless the same length
    also has one over all depths.

    Args:
        scores: Scores of any benchmarks.
        metric: Which of their metrics.
        names: Row names, where they are those of a greater set of scores; None for ``row_names(scores)``.
    """
    names = row_names(scores) if names is None else names
    rows: dict[tuple[str, str, str], dict[int | None, list[Score]]] = {}
    for score in latest(scores):
        if score.metric == metric:
            row = rows.setdefault((score.benchmark, score.task, names[who(score)]), {})
            row.setdefault(score.length, []).append(score)
    made = []
    for key, row in rows.items():
        one = next(iter(row.values()))[0]
        cells = {n: _pool(row[n]) for n in sorted(row, key=lambda n: n or 0)}
        made.append(Row(*key, cells, one.model, one.strategy, one.window, one.version))
    return made


def latest(scores: Iterable[Score]) -> list[Score]:
    """Scores without those that were measured again later, in the order first seen."""
    kept = {}
    for s in scores:
        kept[(*who(s), s.benchmark, s.task, s.length, s.depth, s.metric, s.seed)] = s
    return list(kept.values())


def row_names(scores: Iterable[Score]) -> dict[Who, str]:
    """Row name of each model, version and label: no longer than it must be to tell them apart.

    Keyword search belongs to no model: it is ``bm25`` beside any of them. Of a folder or hub id the last part is
    enough where no two models share it.
    """
    found = {who(score): score.strategy == "bm25" for score in scores}
    keywords = [one for one, alone in found.items() if alone]
    versions = {one[:2] for one, alone in found.items() if not alone}
    models = {model for model, _ in versions}
    names = {one: one[2] if len(keywords) == 1 else f"{one[0]}@{one[1]}: {one[2]}" for one in keywords}
    last = {model: re.split(r"[/\\]", model.rstrip("/\\"))[-1] for model in models}
    if len(set(last.values())) < len(models):
        last = {model: model for model in models}
    for one in found.keys() - set(keywords):
        model = last[one[0]] if len(models) == len(versions) else f"{last[one[0]]}@{one[1]}".rstrip("@")
        names[one] = one[2] if len(versions) == 1 else f"{model}: {one[2]}"
    return names


def markdown(scores: Sequence[Score], threshold: float = 0.85) -> str:
    """Tables of all scores, method x length, one for each task and metric, as Markdown.

    Each cell is the mean and its standard error; n, the number of examples, stands under the table.

    Args:
        scores: What to show.
        threshold: Share of the score at the shortest length that the effective window keeps [0..1].
    """
    parts = []
    names = row_names(scores)
    for benchmark, task in dict.fromkeys((score.benchmark, score.task) for score in scores):
        mine = [score for score in scores if (score.benchmark, score.task) == (benchmark, task)]
        for metric in dict.fromkeys(score.metric for score in mine):
            rows = table(mine, metric=metric, names=names)
            lower = " (lower is better)" if is_lower(benchmark, task, metric) else ""
            kept = ""
            if len(lengths(rows)) > 1:
                kept = f"; effective window: keeps {100 * threshold:g} % of the score at the shortest length"
            title = f"### {benchmark}, {metric}{lower}"
            parts.append(f"{title}\n\n{grid(rows, metric, threshold)}\n\n{task}; {counts(rows)}{kept}.\n")
    return "\n".join(parts)


def _pool(scores: list[Score]) -> Cell:
    scores = [score for score in scores if score.depth is None] or scores
    n = sum(score.n for score in scores)
    parts: dict[tuple[str, int], tuple[float, ...]] = {}
    for s in sorted(scores, key=lambda s: (s.data, s.seed, s.depth or 0)):  # depths of one set go together
        parts[s.data, s.seed] = parts.get((s.data, s.seed), ()) + s.values
    read = [s for s in scores if s.inputs is not None]
    return Cell(
        sum(score.n * score.value for score in scores) / n,
        math.hypot(*(score.n * score.stderr for score in scores)) / n,
        n,
        sum(score.seconds for score in scores) / len(scores),
        max(score.peak_bytes for score in scores),
        parts if all(s.values for s in scores) else {},
        read[0].inputs if read else None,
        _mean([s.truncated for s in read]),
        _mean([s.characters for s in read]),
        _mean([s.tokens for s in read]),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def who(score: Score) -> Who:
    """What makes a row: model, version and label."""
    return score.model, score.version, score.label


def _warn_torn(path: Path, line: int) -> None:
    warnings.warn(f"{path}, line {line}: a killed run has cut it short; it is left out", stacklevel=4)


def _refused(fact: str) -> BenchmarkError:
    return BenchmarkError(f"This is not a score: {fact}.", "see longspan.evaluation.score.Score for its fields")
