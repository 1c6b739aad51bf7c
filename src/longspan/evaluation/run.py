"""evaluate: one model on benchmarks by length, baselines always beside it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from longspan import __version__, spec
from longspan.benchmarks.retrieval import Retrieval
from longspan.card import BenchmarkCard
from longspan.encoding.run import encode
from longspan.encoding.windows import ChunkMean, Strategy, Truncate
from longspan.errors import BenchmarkError
from longspan.evaluation.score import Score
from longspan.extension import extended, plan_of
from longspan.inspection import inspect
from longspan.seams import anatomy

PACKAGES = ("torch", "transformers", "sentence-transformers")


def evaluate(
    model: Any,
    benchmarks: str | Sequence[Any],
    lengths: Sequence[int],
    *,
    to: int | None = None,
    methods: Sequence[str] = (),
    window: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Iterator[Score]:
    """Measure a model as it is, and extended by each method.

    Truncation at the trained window and the mean of chunks of that size are always measured, because
    chunk averaging, not truncation, is what an extension has to beat.

    Args:
        model: A SentenceTransformer, not extended: then the baselines and ``methods`` are measured;
            or extended: then it is measured as it stands.
        benchmarks: A specification ("passkey + fairytaleqa(documents=20)") or benchmark objects.
        lengths: Tokens per document; a benchmark of real texts takes them as they come.
        to: Target in tokens for ``methods``; the largest length when None.
        methods: Specifications, each measured by itself.
        window: Trained length in tokens, where it is not what the model says.
        seed: Seed of the benchmarks.
        progress: Show progress bars on stderr.

    Yields:
        One Score per metric, and per depth where the benchmark has depths.

    Raises:
        BenchmarkError: A benchmark cannot be built.
        PlanError: A method does not fit; nothing was measured for it.
    """
    chosen = spec.parse(benchmarks, BenchmarkCard) if isinstance(benchmarks, str) else tuple(benchmarks)
    sets = [(b, examples) for b in chosen for examples in _sets(b, lengths, seed)]
    target = to or max([*lengths, 0])
    if made := plan_of(model):
        arms: list[tuple[str, str, Strategy]] = [(spec.short(made.methods), "", Truncate(made.length))]
    else:
        size = window or inspect(model).window
        arms = [("", "", Truncate(size)), ("", "", ChunkMean(size, limit=target))]
        arms += [("", method, Truncate(target)) for method in methods]
    for name, method, strategy in arms:
        for benchmark, examples in sets:
            title = f"{method or name or type(strategy).__name__} {examples.name} {examples.length or ''}"
            measure = _Measure(model, benchmark, examples, seed, title.strip() if progress else "")
            if method:
                with extended(model, target, method, window=window) as longer:
                    label = spec.short(plan.methods) if (plan := plan_of(longer)) else ""
                    yield from measure("extend", label or "none", strategy)
            else:
                kind = "extend" if name else ("chunk_mean" if isinstance(strategy, ChunkMean) else "truncate")
                yield from measure(kind, name, strategy)


def _sets(benchmark: Any, lengths: Sequence[int], seed: int) -> Iterator[Retrieval]:
    """The benchmark at each length; once where its texts have a length of their own."""
    if getattr(benchmark, "natural", False):
        yield benchmark.examples(None, seed)
        return
    if not lengths:
        raise BenchmarkError(f"{benchmark!r} needs lengths.", "pass lengths=(512, 1024, 2048, 4096)")
    for length in lengths:
        yield benchmark.examples(length, seed)


class _Measure:
    """One benchmark at one length, ready to be measured under several readings."""

    def __init__(self, model: Any, benchmark: Any, examples: Retrieval, seed: int, title: str) -> None:
        self.model = model
        self.benchmark = benchmark
        self.examples = examples
        self.seed = seed
        self.title = title

    def __call__(self, kind: str, plan: str, strategy: Strategy) -> Iterator[Score]:
        start = time.perf_counter()
        rankings = self._rank(strategy)
        seconds = time.perf_counter() - start
        results = {
            query: self.benchmark.score(self.examples.relevant[query], ranking) for query, ranking in rankings.items()
        }
        groups: dict[float | None, list[str]] = {None: list(results)}
        if getattr(self.benchmark, "depths", 0):
            for query in results:
                groups.setdefault(_bin(self.examples.depth[query], self.benchmark.depths), []).append(query)
        for depth, queries in groups.items():
            for metric in results[queries[0]]:
                values = [results[query][metric] for query in queries]
                yield score(
                    self.model,
                    strategy=kind,
                    plan=plan,
                    window=strategy.length,
                    benchmark=self.examples.name,
                    task=repr(self.benchmark),
                    length=self.examples.length,
                    depth=depth,
                    metric=metric,
                    values=values,
                    seed=self.seed,
                    seconds=seconds,
                )

    def _rank(self, strategy: Strategy) -> dict[str, list[str]]:
        documents, queries = self.examples.documents, self.examples.queries
        prompts = self.model.prompts  # as sentence-transformers' encode_document and encode_query use them
        corpus = encode(
            self.model,
            list(documents.values()),
            strategy,
            prompt=prompts.get("document"),
            on_overflow="truncate",
            progress=self.title,
        ).vectors
        asked = encode(
            self.model,
            list(queries.values()),
            Truncate(strategy.length),
            prompt=prompts.get("query"),
            on_overflow="truncate",
        ).vectors
        corpus, asked = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in (corpus, asked))
        names = list(documents)
        # A stable sort: equal scores keep the order of the ids, so that a rerun gives the same ranking.
        order = np.argsort(-(asked @ corpus.T), axis=1, kind="stable")[:, :10]
        return {query: [names[i] for i in row] for query, row in zip(queries, order.tolist(), strict=True)}


def score(model: Any, *, values: Sequence[float], **facts: Any) -> Score:
    """A Score from the values of its examples, with what describes the machine and the moment."""
    inner, n = anatomy.transformer(model), len(values)
    mean = sum(values) / n
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1) / n) if n > 1 else 0.0
    return Score(
        model=str(inner.config._name_or_path),
        revision=str(getattr(inner.config, "_commit_hash", None) or ""),
        value=mean,
        stderr=spread,
        n=n,
        peak_bytes=_peak_bytes(inner),
        device=str(next(inner.parameters()).device),
        versions={"longspan": __version__, **{name: version(name) for name in PACKAGES}},
        commit=_commit(),
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **facts,
    )


def _peak_bytes(model: Any) -> int:
    """Peak device memory since the last call; 0 on a CPU, where a process only knows its peak since it began."""
    import torch

    device = next(model.parameters()).device
    if device.type != "cuda":
        return 0
    peak = torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    return int(peak)


def _bin(depth: float, depths: int) -> float:
    return (min(int(depth * depths), depths - 1) + 0.5) / depths


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
