"""evaluate: one model on benchmarks by length, baselines always beside it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
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
from longspan.encoding.windows import ChunkMean, Strategy, Truncate, unit
from longspan.errors import BenchmarkError, PlanError
from longspan.evaluation.score import Score
from longspan.extension import extended, plan_of
from longspan.inspection import inspect
from longspan.planning import Plan, plan
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
    known: Sequence[Score] = (),
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
        known: Scores of an earlier run; what they hold is not measured again.
        progress: Show progress bars on stderr.

    Yields:
        One Score per metric, and per depth where the benchmark has depths.

    Raises:
        BenchmarkError: A benchmark cannot be built.
        PlanError: A method does not fit; nothing was measured.
    """
    chosen = spec.parse(benchmarks, BenchmarkCard) if isinstance(benchmarks, str) else tuple(benchmarks)
    arms = _arms(model, to or max([*lengths, 0]), methods, window)
    sets = [(b, examples) for b in chosen for examples in _sets(b, lengths, seed)]
    name = str(anatomy.transformer(model).config._name_or_path)
    done = {(k.model, k.strategy, k.plan, k.window, k.benchmark, k.task, k.length, k.seed) for k in known}
    for arm in arms:
        for benchmark, examples in sets:
            what = (arm.kind, arm.label, arm.strategy.length, examples.name, repr(benchmark), examples.length, seed)
            if (name, *what) in done:
                continue
            title = f"{arm.label or arm.kind} {examples.name} {examples.length or ''}".strip() if progress else ""
            with extended(model, method=arm.plan) if arm.plan else nullcontext():
                yield from _measure(model, benchmark, examples, arm, seed, title)


@dataclass(frozen=True)
class _Arm:
    """One way to read long inputs.

    Attributes:
        kind: truncate, chunk_mean or extend.
        label: Specification of the methods, "" where there are none.
        strategy: The windows.
        plan: What to extend the model by while it is measured; None leaves it as it is.
    """

    kind: str
    label: str
    strategy: Strategy
    plan: Plan | None = None


def _arms(model: Any, target: int, methods: Sequence[str], window: int | None) -> list[_Arm]:
    if made := plan_of(model):
        if methods:
            raise PlanError("The model is extended already, so no method can be measured on it.", "load the original")
        return [_Arm("extend", _label(made), Truncate(made.length))]
    geometry = inspect(model, window=window)
    plans = [plan(geometry, method, target) for method in methods]  # all checked before any is measured
    return [
        _Arm("truncate", "", Truncate(geometry.window)),
        _Arm("chunk_mean", "", ChunkMean(geometry.window, limit=max(target, geometry.window))),
        *(_Arm("extend", _label(made), Truncate(target), made) for made in plans),
    ]


def _label(made: Plan) -> str:
    return spec.short(made.methods) or "none"


def _sets(benchmark: Any, lengths: Sequence[int], seed: int) -> Iterator[Retrieval]:
    """The benchmark at each length; once where its texts have a length of their own."""
    if getattr(benchmark, "natural", False):
        yield benchmark.examples(None, seed)
        return
    if not lengths:
        raise BenchmarkError(f"{benchmark!r} needs lengths.", "pass lengths=(512, 1024, 2048, 4096)")
    for length in lengths:
        yield benchmark.examples(length, seed)


def _measure(model: Any, benchmark: Any, examples: Retrieval, arm: _Arm, seed: int, title: str) -> Iterator[Score]:
    start = time.perf_counter()
    rankings = _rank(model, examples, arm.strategy, title)
    seconds = time.perf_counter() - start
    results = {query: benchmark.score(examples.relevant[query], ranking) for query, ranking in rankings.items()}
    groups: dict[float | None, list[str]] = {None: list(results)}
    if getattr(benchmark, "depths", 0):
        for query in results:
            groups.setdefault(examples.depth[query], []).append(query)
    for depth, queries in groups.items():
        for metric in results[queries[0]]:
            yield score(
                model,
                strategy=arm.kind,
                plan=arm.label,
                window=arm.strategy.length,
                benchmark=examples.name,
                task=repr(benchmark),
                length=examples.length,
                depth=depth,
                metric=metric,
                values=[results[query][metric] for query in queries],
                seed=seed,
                seconds=seconds,
            )


def _rank(model: Any, examples: Retrieval, strategy: Strategy, title: str) -> dict[str, list[str]]:
    documents, queries = examples.documents, examples.queries
    prompts = model.prompts  # as sentence-transformers' encode_document and encode_query use them
    options: dict[str, Any] = {"on_overflow": "truncate"}
    read = encode(model, list(documents.values()), strategy, prompt=prompts.get("document"), progress=title, **options)
    asked = encode(model, list(queries.values()), Truncate(strategy.length), prompt=prompts.get("query"), **options)
    # A stable sort: equal scores keep the order of the ids, so that a rerun gives the same ranking.
    order = np.argsort(-(unit(asked.vectors) @ unit(read.vectors).T), axis=1, kind="stable")[:, :10]
    names = list(documents)
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
