"""compare: every method that applies, screened on a sample, raced on benchmarks, and one chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from longspan import registry, spec
from longspan.benchmarks.retrieval.fairytaleqa import FairytaleQA
from longspan.card import BenchmarkCard, MethodCard
from longspan.errors import PlanError
from longspan.evaluation.drift import short_drift
from longspan.evaluation.measurement import seed_of
from longspan.evaluation.race import Cell, Race, mean_of, metric_of
from longspan.evaluation.run import collect, own_identity
from longspan.evaluation.score import DRIFT, Score
from longspan.evaluation.statistics import Interval
from longspan.geometry import Geometry
from longspan.identity import identity
from longspan.inspection import inspect, trained
from longspan.outcomes import remember
from longspan.planning import plan
from longspan.seams import anatomy
from longspan.values import whole

FINALISTS = 4
_TEXTS = 16  # whose vectors are compared before and after
_BASES = 2  # how many of the best ways to give positions are tried with each factor on the logits


@dataclass(frozen=True)
class Contender:
    """A method in the race.

    Attributes:
        method: Its specification.
        score: Mean over the sets that are longer than the trained window, each set counted once.
        behind: Its difference to the winner with the 95 % interval of a paired bootstrap.
        short: Mean score on the sets within the trained window, None where there are none.
        drift: Mean cosine of short texts' vectors to those of the model as it was, None for a language model.
        speed: Tokens read in a second at the target length.
        position_bytes: Size of its position data [bytes].
        short_inputs: exact, adaptive or changed.
    """

    method: str
    score: float
    behind: Interval
    short: float | None
    drift: float | None
    speed: float
    position_bytes: int
    short_inputs: str


@dataclass(frozen=True)
class Comparison:
    """What was tried and what was chosen.

    Attributes:
        model: Its name.
        to: Target length [tokens].
        method: Specification of the method that won.
        why: One sentence on the evidence.
        command: The command that applies it.
        contenders: Those that reached the race, best first.
        screened: Specification to its score on the sample, of all that were screened, best first.
        refused: Specification to why it does not apply.
        ladder: Row name to score on the same sets, of all that an extension has to beat.
        sets: What it was measured on.
        scores: Every score of it.
    """

    model: str
    to: int
    method: str
    why: str
    command: str
    contenders: list[Contender]
    screened: dict[str, float]
    refused: dict[str, str]
    ladder: dict[str, float]
    sets: list[str]
    scores: list[Score]


def compare(
    model: Any,
    to: int,
    *,
    benchmarks: str | Sequence[Any] | None = None,
    data: Path | None = None,
    methods: Sequence[str] = (),
    window: int | None = None,
    seed: int = 0,
    quick: bool = False,
    cache: Path | None = None,
    known: Iterable[Score] = (),
    keep: Callable[[list[Score]], None] = lambda scores: None,
    progress: bool = False,
    **options: Any,
) -> Comparison:
    """Try every method that applies to a model and choose one by measurement.

    Each way to give positions, with the parameters its card names, is screened on a sample of the sets at the
    target length; the best of them are screened again with each factor on the logits. The best four then race on the
    whole sets, one set after another, and a method that is behind the best with all of its 95 % interval drops out.
    What is chosen is kept for ``extend(model, to, "auto")``.

    Args:
        model: A SentenceTransformer or a causal language model, not extended.
        to: Target in tokens.
        benchmarks: What to race on; None for the user's documents where ``data`` is given, else for passkeys, needles
            and tales (perplexity and passkeys for a language model).
        data: The user's documents: a folder with corpus.jsonl, queries.jsonl and qrels.jsonl, or documents without
            any questions, from which tests are built; with ``benchmarks``, a folder with a folder for each set.
        methods: Specifications; () for all that apply.
        window: Trained length in tokens, where it is not what the model says.
        seed: Seed of the benchmarks.
        quick: Whether the race is on samples as well.
        cache: A file that keeps vectors for the next run.
        known: Scores of an earlier run; what they hold is not measured again.
        keep: Called with all scores of a measurement as soon as it is made.
        progress: Show progress bars on stderr.
        **options: Those of ``evaluate``.

    Raises:
        PlanError: The model is extended already, or no method applies.
        BenchmarkError: A benchmark cannot be built.
    """
    to, window, seed = whole(to, "The target in tokens", PlanError, "write to=4096"), trained(window), seed_of(seed)
    own = own_identity(model, window, options.get("tokenizer"))
    race = Race(model, to, inspect(model, window=window), seed, [*known], keep, own)
    race.how = {"cache": cache, "progress": progress, "window": window, **options}
    chosen = _benchmarks(model, benchmarks, data)
    tried = race.applicable(methods or _positions(race.geometry))
    if not tried:
        raise PlanError(
            f"No method takes this {race.geometry.architecture} to {to} tokens: "
            f"{next(iter(race.refused.values()), 'none is known')}",
            "`longspan plan` tells what a method lacks",
        )
    race.measure(chosen, tried, [to], quick=True)
    if not methods:
        best = list(race.means(race.values(tried, quick=True)))[:_BASES]
        scaled = [f"{base} + {scale}" if base != "none" else scale for base in best for scale in _scales(race.geometry)]
        tried += race.applicable(scaled)
        race.measure(chosen, tried, [to], quick=True)
    screened = race.means(race.values(tried, quick=True))
    left = list(screened)[:FINALISTS]
    lengths = sorted({race.geometry.window, max(to // 2, race.geometry.window), to})
    for one in chosen:
        race.measure([one], left, lengths, quick)
        left = race.in_reach(race.values(left, quick))
    race.measure(chosen, [], lengths, quick, ladder=True)
    return _result(race, left, screened, quick)


def _positions(geometry: Geometry) -> list[str]:
    """All that gives positions beyond the window, with each card's parameters; nothing at all where that works."""
    cards = [card for card in _cards(geometry) if card.family != "scales"]
    return [
        *([] if geometry.encoding == "learned" else ["none"]),
        *(one for card in cards for one in card.grid or (card.name,)),
    ]


def _scales(geometry: Geometry) -> list[str]:
    return [one for card in _cards(geometry) if card.family == "scales" for one in card.grid or (card.name,)]


def _cards(geometry: Geometry) -> list[MethodCard]:
    return [
        card
        for card in registry.methods().values()
        if geometry.encoding in card.encodings and geometry.role in card.roles
    ]


def _benchmarks(model: Any, benchmarks: str | Sequence[Any] | None, data: Path | None) -> tuple[Any, ...]:
    """What to race on."""
    if benchmarks is not None:
        return tuple(collect(benchmarks, data))
    if not anatomy.is_pipeline(model):
        text = f"perplexity(folder={str(data)!r})" if data else "perplexity + lm_passkey"
    elif data is None:
        text = "passkey(documents=50) + needle(documents=50) + fairytaleqa"
    else:
        labelled = (data / "qrels.jsonl").is_file()
        whole = "folder" if labelled else "inverse_cloze"
        text = " + ".join(f"{name}(path={str(data)!r})" for name in (whole, "passage_needle", "lengthened_pairs"))
    return spec.parse(text, BenchmarkCard)


def _result(race: Race, left: Sequence[str], screened: dict[str, float], quick: bool) -> Comparison:
    values = race.values(left, quick)
    means = race.means(values)
    best = next(iter(means))
    contenders = []
    drifts = _drifts(race, left)
    for method, mean in means.items():
        made = plan(race.geometry, method, race.to)
        cells = values[method]
        short = [one for cell, one in cells.items() if cell not in race.long(cells)]
        longest = [one for cell, one in cells.items() if cell[2] in (race.to, None)]
        contenders.append(
            Contender(
                method,
                mean,
                race.behind(values, method, best),
                mean_of(short) if short else None,
                drifts.get(method),
                sum((one.tokens or 0) * (one.inputs or 0) for one in longest) / sum(one.seconds for one in longest),
                made.position_bytes,
                made.short_inputs,
            )
        )
    ladder = _ladder(race, set(values[best]))
    names = [f"{cell[0]} {cell[2] or 'whole'}" for cell in race.long(values[best])]
    sets = ", ".join(dict.fromkeys(cell[0] for cell in values[best]))
    why = f"the best of {len(screened)} methods on {sets}: {means[best]:.4f}"
    if len(contenders) > 1:
        second = contenders[1]
        sure = "surely" if second.behind.high < 0 else "not surely"
        why += f", {sure} ahead of {second.method} ({second.score:.4f})"
    folder = f"{Path(race.name).name}-{race.to}"
    command = f'longspan extend {race.name} --to {race.to} --method "{best}" --out {folder}'
    outcome = {"method": best, "why": why, "date": datetime.now(timezone.utc).date().isoformat(), "model": race.name}
    remember(identity(race.model, window=race.how.get("window")), race.to, outcome)
    return Comparison(
        race.name, race.to, best, why, command, contenders, screened, race.refused, ladder, names, race.scores
    )


def _ladder(race: Race, cells: set[Cell]) -> dict[str, float]:
    """Mean of each row that an extension has to beat, on the long sets of the race."""
    rows: dict[str, dict[Cell, Score]] = {}
    for one in [*race.known, *race.scores]:
        cell = (one.benchmark, one.task, one.length)
        if "extend" not in one.strategy and cell in cells and one.depth is None and one.metric == metric_of(one):
            rows.setdefault(one.label, {})[cell] = one
    wanted = race.long(dict.fromkeys(cells))  # type: ignore[arg-type]
    full = {label: found for label, found in rows.items() if found.keys() >= wanted.keys()}
    told = {label: mean_of(found[cell] for cell in wanted) for label, found in full.items()}
    return dict(sorted(told.items(), key=lambda pair: -pair[1]))


def _drifts(race: Race, methods: Sequence[str]) -> dict[str, float]:
    """Mean cosine of short texts' vectors before and after each method."""
    if not anatomy.is_pipeline(race.model):
        return {}
    window = race.geometry.window
    known = [one for one in race.known if (one.benchmark, one.window) == (DRIFT, race.to)]
    texts = list(FairytaleQA(documents=_TEXTS).examples(None, 0).documents.values())
    lengths = [window // 4, window - 2]  # [CLS] and [SEP] take two
    held = {(one.plan, one.length) for one in known}
    new = [method for method in methods if not held >= {(method, length) for length in lengths}]
    given: dict[str, Any] = {"to": race.to, "methods": new, "window": race.how.get("window")}
    measured = [*short_drift(race.model, texts, lengths, **given)] if new else []
    race.scores += measured
    race.keep(measured)
    found = [*(one for one in known if one.plan not in new), *measured]
    return {method: mean_of(one for one in found if one.plan == method) for method in methods}
