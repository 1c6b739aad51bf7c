"""evaluate: one model on benchmarks by length, baselines always beside it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from longspan import registry, spec
from longspan.benchmarks.tasks import Count, Labelled, Questions, digest
from longspan.card import BenchmarkCard
from longspan.encoding.strategy import as_strategy
from longspan.errors import BenchmarkError, PlanError
from longspan.evaluation.bm25 import BM25
from longspan.evaluation.cache import VectorCache
from longspan.evaluation.cells import metrics_of
from longspan.evaluation.language import Language
from longspan.evaluation.measurement import Outcome, lengths_of, score, seed_of, target_of
from longspan.evaluation.sampling import quick_lengths, sample
from longspan.evaluation.score import Score
from longspan.evaluation.search import Dense, Hybrid
from longspan.extension import plan_of
from longspan.identity import identity
from longspan.inspection import inspect, trained
from longspan.planning import plan
from longspan.seams import anatomy
from longspan.storage.load import tokenizer_of
from longspan.tokenizer import own, tokens_of

LADDER = ("truncate", "chunk_mean", "chunk_max", "chunk_max(top=2)", "long_late")
"""How a model reads long documents without being extended: what an extension has to beat."""

Arm = Dense | Hybrid | BM25 | Language


def evaluate(
    model: Any,
    benchmarks: str | Sequence[Any],
    lengths: Sequence[int],
    *,
    to: int | None = None,
    methods: Sequence[str] = (),
    strategies: Sequence[str] | None = None,
    bm25: bool = True,
    window: int | None = None,
    seed: int = 0,
    data: Path | None = None,
    cache: Path | None = None,
    quick: bool = False,
    known: Sequence[Score] = (),
    keep: Callable[[list[Score]], None] = lambda scores: None,
    progress: bool = False,
    tokenizer: Any = None,
    **options: Any,
) -> Iterator[Score]:
    """Measure a model as it stands, by each strategy, and extended by each method.

    Args:
        model: A SentenceTransformer for benchmarks of documents and vectors, a causal language model for those of
            questions and passages; methods are measured on twins of it. One that is extended already is measured as it
            stands.
        benchmarks: A specification ("passkey + fairytaleqa(documents=20)") or benchmark objects.
        lengths: Tokens per document; a benchmark of real texts takes them as they come.
        to: Target in tokens for ``methods``; the largest length when None.
        methods: Specifications, each measured by itself, by one forward over the extended window.
        strategies: Specifications of how long documents are read, such as ``"late(size=64)"``; None for ``LADDER``
            at the trained window, and one forward over the extended one where the model is extended already.
        bm25: Whether keyword search is measured as well, and its fusion with each search that makes one vector of
            one window.
        window: Trained length in tokens, where it is not what the model says.
        seed: Seed of the benchmarks.
        data: A folder with a folder for each set that is not shipped, named like the set.
        cache: A file that keeps vectors for the next run; None keeps them in memory for this one.
        quick: Whether a sample of each set, at two of the lengths, is enough: to rank methods, not to quote.
        known: Scores of an earlier run; what they hold of this very model is not measured again. Of a measurement that
            they hold a part of, the rest is made.
        keep: Called with all new scores of a measurement at once, before the first of them is yielded.
        progress: Show progress bars on stderr.
        tokenizer: Of a causal language model; None for the one beside it.
        **options: Those of ``Encoder``: backend, dtype, layers, dims.

    Yields:
        One Score per metric, and per depth where the benchmark has depths.

    Raises:
        BenchmarkError: A benchmark cannot be built, or asks what this kind of model cannot answer, or the model was
            changed while it was measured.
        PlanError: A method does not fit; nothing was measured.

    Warns:
        UserWarning: A part of a collection has no data here; the others are measured.
    """
    window, seed, lengths = trained(window), seed_of(seed), lengths_of(lengths)
    chosen = collect(benchmarks, data, seed)
    target = target_of(to) or max([*lengths, 0])
    arms: Sequence[Arm]
    if anatomy.is_pipeline(model):
        arms = _searches(model, target, methods, strategies, bm25, window, options, VectorCache(cache))
        count = _counter(model.tokenizer)
    else:
        tokenizer = tokenizer or tokenizer_of(anatomy.transformer(model).config._name_or_path, model)
        arms = writers = _writers(model, target, methods, window, tokenizer)
        count = writers[0].count
    sets = list(_sets(chosen, quick_lengths(lengths) if quick else lengths, seed, count))
    if quick:
        sets = [(benchmark, sample(examples, seed)) for benchmark, examples in sets]
    for benchmark, examples in sets:
        if not any(_can(arm, examples) for arm in arms):
            raise _unanswered(model, benchmark, examples)
    done: dict[tuple[Any, ...], set[tuple[float | None, str]]] = {}
    for one in known:
        done.setdefault(_key(asdict(one)), set()).add((one.depth, one.metric))
    for benchmark, examples in sets:
        facts = {
            "benchmark": examples.name,
            "task": f"{benchmark!r}{', quick' if quick else ''}",
            "length": examples.length,
            "seed": seed,
            "data": digest(examples),
        }
        for arm in arms:
            mine = own_identity(model, window, tokenizer)
            told: dict[str, Any] = {"identity": mine, **arm.facts, **facts}
            before = done.get(_key(told), set())
            if not _can(arm, examples) or (before and _complete(before, benchmark, examples)):
                continue
            title = f"{arm.label} {examples.name} {examples.length or ''}".strip() if progress else ""
            answer = arm.answer(examples, title)
            if own_identity(model, window, tokenizer) != mine:
                raise BenchmarkError("The model was changed while it was measured.", "change it when nothing reads it")
            found = _scores(benchmark, examples, answer, told)
            new = [one for one in found if (one.depth, one.metric) not in before]
            keep(new)
            yield from new


def _counter(tokenizer: Any) -> Count:
    counting = own(tokenizer)
    return lambda text: len(
        tokens_of(counting, text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
    )


def _can(arm: Arm, examples: Any) -> bool:
    # A set of vectors looks at one vector of each text, not at the best of several.
    return isinstance(examples, arm.answers) and (not isinstance(examples, Labelled) or getattr(arm, "whole", False))


def _searches(
    model: Any,
    target: int,
    methods: Sequence[str],
    strategies: Sequence[str] | None,
    bm25: bool,
    window: int | None,
    options: dict[str, Any],
    cache: VectorCache,
) -> Sequence[Arm]:
    extension = plan_of(model)
    if extension and methods:
        raise PlanError("The model is extended already, so no method can be measured on it.", "load the original")
    geometry = extension.geometry if extension else inspect(model, window=window)
    plans = [plan(geometry, method, target) for method in methods]  # all checked before any is measured
    ladder: list[Any] = [as_strategy(one) for one in (LADDER if strategies is None else strategies)]
    if strategies is None:
        ladder = [replace(one, window=geometry.window) for one in ladder]
    longer = [None] if extension and strategies is None else plans
    read = [*((one, None) for one in ladder), *((as_strategy("extend"), made) for made in longer)]
    dense = [Dense(model, strategy, made, options, cache) for strategy, made in read]
    if not bm25:
        return [*dense]
    keywords = BM25()
    return [keywords, *dense, *(Hybrid(keywords, one) for one in dense if one.whole)]


def own_identity(model: Any, window: int | None = None, tokenizer: Any = None) -> str:
    """``identity`` of a model as its Scores have it: before it is extended, with the tokenizer that reads for it."""
    if not anatomy.is_pipeline(model):
        tokenizer = tokenizer or tokenizer_of(anatomy.transformer(model).config._name_or_path, model)
    return identity(model, tokenizer=tokenizer, window=window)


def _writers(model: Any, target: int, methods: Sequence[str], window: int | None, tokenizer: Any) -> list[Language]:
    if plan_of(model) and methods:
        raise PlanError("The model is extended already, so no method can be measured on it.", "load the original")
    plans = [plan(inspect(model, window=window), method, target) for method in methods]
    return [Language(model, tokenizer, made) for made in (None, *plans)]


def collect(benchmarks: str | Sequence[Any], data: Path | None = None, seed: int = 0) -> list[Any]:
    """The benchmarks of a specification, part by part where one is a collection, with the folders of their data.

    Args:
        benchmarks: A specification or benchmark objects.
        data: A folder with a folder for each set that is not shipped, named like the set.
        seed: Seed of the benchmarks.

    Warns:
        UserWarning: A part of a collection has no data here and is left out.
    """
    found: list[Any] = []
    named: Sequence[Any] = spec.parse(benchmarks, BenchmarkCard) if isinstance(benchmarks, str) else benchmarks
    for asked in named:
        if not hasattr(asked, "parts") or asked.task:
            found.append(_found(asked, data))
            continue
        for part in (_found(one, data) for one in asked.parts()):
            try:
                if getattr(part, "natural", False):
                    part.examples(None, seed)
                found.append(part)
            except BenchmarkError as error:  # noqa: PERF203 the others may have theirs
                warnings.warn(f"not measured: {spec.short([part])}: {error.fact} hint: {error.hint}", stacklevel=3)
    return found


def _sets(chosen: Sequence[Any], lengths: Sequence[int], seed: int, count: Count) -> Iterator[tuple[Any, Any]]:
    """Each benchmark with its set, at each length where it takes one."""
    for benchmark in chosen:
        natural = getattr(benchmark, "natural", False)
        if not natural and not lengths:
            raise BenchmarkError(f"{benchmark!r} needs lengths.", "pass lengths=(512, 1024, 2048, 4096)")
        for length in (None,) if natural else lengths:
            yield benchmark, _built(benchmark, length, seed, count)


def _found(benchmark: Any, data: Path | None) -> Any:
    """The benchmark with the folder of its data, where there is one."""
    if not data or getattr(benchmark, "folder", None) != "":
        return benchmark
    name = getattr(benchmark, "task", "") or type(benchmark).__module__.rsplit(".", 1)[-1]
    places = [place for place in (data / name, data / type(benchmark).__name__.lower() / name) if place.is_dir()]
    return replace(benchmark, folder=str(places[0])) if places else benchmark


def _built(benchmark: Any, length: int | None, seed: int, count: Count) -> Any:
    """The set at a length; one that is fitted to a length in tokens is told how this model counts them."""
    counted = "count" in benchmark.examples.__annotations__
    return benchmark.examples(length, seed, count) if counted else benchmark.examples(length, seed)


def _scores(benchmark: Any, examples: Any, outcome: Outcome, facts: dict[str, Any]) -> Iterator[Score]:
    known: dict[str, Any] = {"seconds": outcome.seconds, "read": outcome.read}
    if isinstance(examples, Labelled):
        for metric, values in benchmark.score(examples, outcome.outputs[""]).items():
            yield score(values, **facts, **known, depth=None, metric=metric)
        return
    asked = _asked(examples)
    results = {name: benchmark.score(asked[name], output) for name, output in outcome.outputs.items()}
    depths = _depths(examples) if getattr(benchmark, "depths", 0) else {}
    groups: dict[float | None, list[str]] = {None: list(results)}
    for name in results if depths else ():
        groups.setdefault(depths[name], []).append(name)
    for depth, names in groups.items():
        for metric in results[names[0]]:
            values = [results[name][metric] for name in names]
            yield score(values, **facts, **known, depth=depth, metric=metric)


def _asked(examples: Any) -> dict[str, Any]:
    """Id of each example to what its answer is judged by."""
    for field in ("relevant", "questions", "texts"):
        if hasattr(examples, field):
            found: dict[str, Any] = getattr(examples, field)
            return found
    raise BenchmarkError(f"A {type(examples).__name__} is no set.", "see longspan.benchmarks.tasks")


def _depths(examples: Any) -> dict[str, float]:
    if isinstance(examples, Questions):
        return {name: question.depth for name, question in examples.questions.items() if question.depth is not None}
    return dict(examples.depth)


def _unanswered(model: Any, benchmark: Any, examples: Any) -> BenchmarkError:
    wanted = ("retrieval", "vectors") if anatomy.is_pipeline(model) else ("generation", "likelihood")
    names = sorted(card.name for card in registry.benchmarks().values() if card.family in wanted)
    return BenchmarkError(
        f"A {type(model).__name__} has no answers for {spec.short([benchmark])}, a set of {type(examples).__name__}.",
        f"for it there are {', '.join(names)}",
    )


def _complete(before: set[tuple[float | None, str]], benchmark: Any, examples: Any) -> bool:
    """Whether depths and metrics are those of every score that a measurement gives; not where that is not known."""
    metrics = metrics_of(benchmark, examples)
    depths = {None, *_depths(examples).values()} if getattr(benchmark, "depths", 0) else {None}
    return bool(metrics) and before >= {(depth, metric) for depth in depths for metric in metrics}


_TOLD_APART = (
    *("identity", "model", "revision", "engine", "strategy", "plan", "window"),
    *("benchmark", "task", "length", "seed", "data"),
)


def _key(facts: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(facts[name] for name in _TOLD_APART)
