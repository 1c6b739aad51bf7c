"""evaluate: one model on benchmarks by length, baselines always beside it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from datetime import datetime, timezone
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from longspan import __version__, spec
from longspan.benchmarks.retrieval import Retrieval
from longspan.card import BenchmarkCard
from longspan.encoding.run import Encoder
from longspan.encoding.strategy import as_strategy
from longspan.errors import BenchmarkError, PlanError
from longspan.evaluation.bm25 import BM25
from longspan.evaluation.ranking import best_ten
from longspan.evaluation.score import Score
from longspan.extension import extended, plan_of
from longspan.inspection import inspect
from longspan.planning import Plan, plan
from longspan.reading import Strategy
from longspan.seams import anatomy

PACKAGES = ("torch", "transformers", "sentence-transformers")


def evaluate(
    model: Any,
    benchmarks: str | Sequence[Any],
    lengths: Sequence[int],
    *,
    to: int | None = None,
    methods: Sequence[str] = (),
    strategies: Sequence[str] = (),
    bm25: bool = False,
    window: int | None = None,
    seed: int = 0,
    known: Sequence[Score] = (),
    progress: bool = False,
    **options: Any,
) -> Iterator[Score]:
    """Measure a model as it stands, by each strategy, and extended by each method.

    A model that is not extended is by default read by truncation at the trained window and by the mean of
    chunks of that size, because chunk averaging, not truncation, is what an extension has to beat.

    Args:
        model: A SentenceTransformer. One that is extended already is measured as it stands, by default by one
            forward over its window.
        benchmarks: A specification ("passkey + fairytaleqa(documents=20)") or benchmark objects.
        lengths: Tokens per document; a benchmark of real texts takes them as they come.
        to: Target in tokens for ``methods``; the largest length when None.
        methods: Specifications, each measured by itself, by one forward over the extended window.
        strategies: Specifications of how long documents are read, such as ``"late(size=64)"``.
        bm25: Whether keyword search is measured as well.
        window: Trained length in tokens, where it is not what the model says.
        seed: Seed of the benchmarks.
        known: Scores of an earlier run; what they hold is not measured again.
        progress: Show progress bars on stderr.
        **options: Those of ``Encoder``: backend, dtype, layers, dims.

    Yields:
        One Score per metric, and per depth where the benchmark has depths.

    Raises:
        BenchmarkError: A benchmark cannot be built.
        PlanError: A method does not fit; nothing was measured.
    """
    chosen = spec.parse(benchmarks, BenchmarkCard) if isinstance(benchmarks, str) else tuple(benchmarks)
    arms = _arms(model, to or max([*lengths, 0]), methods, strategies, window, options)
    sets = [(b, examples) for b in chosen for examples in _sets(b, lengths, seed)]
    done = {_key(asdict(score)) for score in known}
    searches: list[_Dense | BM25] = [*arms, *([BM25()] if bm25 else [])]
    for arm in searches:
        for benchmark, examples in sets:
            facts = {
                **arm.facts,
                "benchmark": examples.name,
                "task": repr(benchmark),
                "length": examples.length,
                "seed": seed,
            }
            if _key(facts) not in done:
                title = f"{arm.label} {examples.name} {examples.length or ''}".strip() if progress else ""
                yield from _measure(arm, benchmark, examples, facts, title)


class _Dense:
    """A model, a way to read long documents, and the plan it is extended by meanwhile.

    Args:
        model: A SentenceTransformer.
        strategy: How documents are read.
        made: What to extend the model by while it is measured; None leaves it as it is.
        options: Those of ``Encoder``.
        shared: Vectors of documents, with the time they took [s], for arms that have the same ones.
    """

    def __init__(
        self, model: Any, strategy: Strategy, made: Plan | None, options: dict[str, Any], shared: dict[Any, Any]
    ) -> None:
        self.model, self.strategy, self.made, self.options, self.shared = model, strategy, made, options, shared
        plan = made or plan_of(model)
        with self._as_planned():
            encoder = Encoder(model, strategy, **options)
            window, engine = encoder.window, encoder.engine
        kind = (
            "extend" if plan and _is_one_window(strategy) else spec.short([_with(strategy, window=None)])
        )  # a Score has a field for the window
        self.facts = {
            **model_facts(model, engine),
            "strategy": kind,
            "plan": (spec.short(plan.methods) or "none") if plan else "",
            "window": window,
        }
        self.label = self.facts["plan"] or kind

    def rank(self, examples: Retrieval, title: str) -> tuple[dict[str, list[str]], float]:
        """The best ten documents of each query, and the time that took [s]."""
        start = time.perf_counter()
        prompts, options = self.model.prompts, {**self.options, "on_overflow": "truncate"}
        with self._as_planned():
            # As sentence-transformers' encode_document and encode_query use the prompts.
            queries = Encoder(self.model, prompt=prompts.get("query"), **options)
            asked = queries.encode(list(examples.queries.values()))
            key = (id(examples), self.facts["plan"], spec.short([_with(self.strategy, top=1)]))
            if key not in self.shared:  # strategies that only score otherwise have the same vectors
                began = time.perf_counter()
                documents = Encoder(self.model, self.strategy, prompt=prompts.get("document"), **options)
                read = documents.encode(list(examples.documents.values()), progress=title)
                self.shared[key] = read, time.perf_counter() - began
            else:
                start -= self.shared[key][1]
        scores = self.shared[key][0].scores(asked.vectors, self.strategy.top)
        return best_ten(examples, scores), time.perf_counter() - start

    def _as_planned(self) -> AbstractContextManager[Any]:
        return extended(self.model, method=self.made) if self.made else nullcontext()


def _is_one_window(strategy: Strategy) -> bool:
    return strategy.makes == "windows" and strategy.reads == "whole"


def _with(strategy: Any, **values: Any) -> Any:
    """The strategy with other values of those fields that it has."""
    return replace(strategy, **{name: value for name, value in values.items() if name in vars(strategy)})


def _arms(
    model: Any,
    target: int,
    methods: Sequence[str],
    strategies: Sequence[str],
    window: int | None,
    options: dict[str, Any],
) -> list[_Dense]:
    shared: dict[Any, Any] = {}
    if plan_of(model):
        if methods:
            raise PlanError("The model is extended already, so no method can be measured on it.", "load the original")
        return [_Dense(model, as_strategy(one), None, options, shared) for one in strategies or ("extend",)]
    geometry = inspect(model, window=window)
    plans = [plan(geometry, method, target) for method in methods]  # all checked before any is measured
    ladder = strategies or (f"truncate(window={geometry.window})", f"chunk_mean(window={geometry.window})")
    return [
        *(_Dense(model, as_strategy(one), None, options, shared) for one in ladder),
        *(_Dense(model, as_strategy("extend"), made, options, shared) for made in plans),
    ]


def _sets(benchmark: Any, lengths: Sequence[int], seed: int) -> Iterator[Retrieval]:
    """The benchmark at each length; once where its texts have a length of their own."""
    if getattr(benchmark, "natural", False):
        yield benchmark.examples(None, seed)
        return
    if not lengths:
        raise BenchmarkError(f"{benchmark!r} needs lengths.", "pass lengths=(512, 1024, 2048, 4096)")
    for length in lengths:
        yield benchmark.examples(length, seed)


def _measure(
    arm: _Dense | BM25, benchmark: Any, examples: Retrieval, facts: dict[str, Any], title: str
) -> Iterator[Score]:
    rankings, seconds = arm.rank(examples, title)
    results = {query: benchmark.score(examples.relevant[query], ranking) for query, ranking in rankings.items()}
    groups: dict[float | None, list[str]] = {None: list(results)}
    if getattr(benchmark, "depths", 0):
        for query in results:
            groups.setdefault(examples.depth[query], []).append(query)
    for depth, queries in groups.items():
        for metric in results[queries[0]]:
            values = [results[query][metric] for query in queries]
            yield score(values, **facts, depth=depth, metric=metric, seconds=seconds)


_TOLD_APART = ("model", "engine", "strategy", "plan", "window", "benchmark", "task", "length", "seed")


def _key(facts: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(facts[name] for name in _TOLD_APART)


def model_facts(model: Any, engine: str = "torch float32") -> dict[str, str]:
    """What a Score says about the model."""
    inner = anatomy.transformer(model)
    return {
        "model": str(inner.config._name_or_path),
        "revision": str(getattr(inner.config, "_commit_hash", None) or ""),
        "device": str(next(inner.parameters()).device),
        "engine": engine,
    }


def score(values: Sequence[float], **facts: Any) -> Score:
    """A Score from the values of its examples, with what describes the machine and the moment."""
    n = len(values)
    mean = sum(values) / n
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1) / n) if n > 1 else 0.0
    return Score(
        value=mean,
        stderr=spread,
        n=n,
        peak_bytes=_peak_bytes(facts["device"]),
        versions={"longspan": __version__, **{name: version(name) for name in PACKAGES}},
        commit=_commit(),
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **facts,
    )


def _peak_bytes(device: str) -> int:
    """Peak device memory since the last call; 0 on a CPU, where a process only knows its peak since it began."""
    if not device.startswith("cuda"):
        return 0
    import torch

    peak = torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    return int(peak)


@cache
def _commit() -> str:
    """Commit of a source checkout, "" for an installed package."""
    head = Path(__file__).parents[3] / ".git" / "HEAD"
    if not head.is_file():
        return ""
    name = head.read_text().strip()
    if not name.startswith("ref: "):
        return name[:12]
    branch = head.parent / name.removeprefix("ref: ")
    return branch.read_text().strip()[:12] if branch.is_file() else ""
