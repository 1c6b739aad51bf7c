"""Laws of benchmarks: the right answer scores 1 and none 0, a seed gives the same set, what cannot be built is told."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from longspan import registry, spec
from longspan.benchmarks.tasks import Labelled, Passages, Questions, Retrieval, digest
from longspan.card import BenchmarkCard
from longspan.errors import BenchmarkError

CARDS = registry.benchmarks()
KINDS = {"retrieval": Retrieval, "generation": Questions, "likelihood": Passages, "vectors": Labelled}
LENGTH = 1024
_FOLDER = tempfile.TemporaryDirectory(prefix="longspan-twins-")


@cache
def twin(name: str) -> str:
    """A folder with the made-up set of a benchmark that reads files."""
    folder = Path(_FOLDER.name) / name
    sys.modules[registry.load(name, BenchmarkCard).__module__].twin(folder)
    return str(folder)


def made(name: str) -> list[Any]:
    """The benchmarks of a name, on made-up data where they read files."""
    benchmark = registry.load(name, BenchmarkCard)()
    parts = benchmark.parts() if hasattr(benchmark, "parts") else (benchmark,)
    return [_on_twin(part) for part in parts]


def _on_twin(benchmark: Any) -> Any:
    module = sys.modules[type(benchmark).__module__]
    place = next((f.name for f in fields(benchmark) if f.name in ("folder", "path")), None)
    return (
        replace(benchmark, **{place: twin(module.__name__.rsplit(".", 1)[-1])})
        if place and hasattr(module, "twin")
        else benchmark
    )


EVERY = [(spec.short([benchmark]).replace(_FOLDER.name, ""), benchmark) for name in CARDS for benchmark in made(name)]
JUDGED = [(name, one) for name, one in EVERY if not isinstance(one, tuple) and getattr(one, "judged", True)]


def length_of(benchmark: Any) -> int | None:
    return None if getattr(benchmark, "natural", False) else LENGTH


@cache
def examples(benchmark: Any, seed: int) -> Any:
    return benchmark.examples(length_of(benchmark), seed)


def over(cases: list[tuple[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("benchmark", [one for _, one in cases], ids=[name for name, _ in cases])


def asked(made: Any) -> dict[str, Any]:
    return (
        made.relevant if isinstance(made, Retrieval) else made.questions if isinstance(made, Questions) else made.texts
    )


def card_of(benchmark: Any) -> BenchmarkCard:
    return CARDS[type(benchmark).__module__.rsplit(".", 1)[-1]]


def gold_of(made: Any, example: Any) -> Any:
    if isinstance(made, Retrieval):
        return list(example)
    return example.gold if isinstance(made, Questions) else [0.0] * made.scored


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
def test_a_benchmarks_card_uses_the_words_of_the_house(card: BenchmarkCard) -> None:
    assert card.family in KINDS
    assert {card.scope, card.diffusion} <= {"low", "middle", "high"}
    assert set(card.lower) <= set(card.metrics)
    assert len(set(card.metrics)) == len(card.metrics) > 0


@over(EVERY)
def test_a_benchmark_is_a_frozen_dataclass_whose_specification_parses_back(benchmark: Any) -> None:
    assert is_dataclass(benchmark)
    assert type(benchmark).__dataclass_params__.frozen
    assert registry.plain(type(benchmark).__name__) == registry.plain(card_of(benchmark).name)
    assert spec.parse(repr(benchmark), BenchmarkCard) == (benchmark,)
    assert spec.parse(spec.short([benchmark]), BenchmarkCard) == (benchmark,)


@over(EVERY)
def test_a_set_is_of_its_familys_kind_and_sorted(benchmark: Any) -> None:
    found = examples(benchmark, 0)
    assert isinstance(found, KINDS[card_of(benchmark).family])
    assert list(asked(found)) == sorted(asked(found))
    assert asked(found)
    if isinstance(found, Retrieval):
        assert list(found.documents) == sorted(found.documents)
        assert found.queries.keys() == found.relevant.keys() >= found.depth.keys()
        assert all(set(right) <= found.documents.keys() and right for right in found.relevant.values())
    if isinstance(found, Questions):
        assert all(one.depth is None or 0 <= one.depth <= 1 for one in found.questions.values())


@over([(name, one) for name, one in JUDGED if card_of(one).family != "vectors"])
def test_gold_scores_one_and_empty_scores_zero(benchmark: Any) -> None:
    card, found = card_of(benchmark), examples(benchmark, 0)
    for example in asked(found).values():
        gold, empty = (
            benchmark.score(example, output) for output in (gold_of(found, example), type(gold_of(found, example))())
        )
        for metric in set(card.metrics) - set(card.lower):
            assert gold[metric] == pytest.approx(1, abs=1e-9), metric
            assert empty[metric] == 0, metric
        assert all(gold[metric] < empty[metric] for metric in card.lower)


@over(EVERY)
def test_scores_have_the_metrics_of_the_card(benchmark: Any) -> None:
    found = examples(benchmark, 0)
    if isinstance(found, Labelled):
        import numpy as np

        vectors = np.random.default_rng(0).normal(size=(len(found.texts), 16))
        told = benchmark.score(found, vectors)
        assert all(len(values) for values in told.values())
    else:
        example = next(iter(asked(found).values()))
        told = benchmark.score(example, gold_of(found, example))
    assert set(told) == set(card_of(benchmark).metrics)


@over(EVERY)
def test_a_seed_gives_the_same_set(benchmark: Any) -> None:
    assert digest(benchmark.examples(length_of(benchmark), 0)) == digest(examples(benchmark, 0))


@over([(name, one) for name, one in EVERY if not getattr(one, "natural", False)])
def test_a_length_that_cannot_be_built_is_told(benchmark: Any) -> None:
    for length in (None, 0):
        with pytest.raises(BenchmarkError) as caught:
            benchmark.examples(length, 0)
        assert caught.value.hint


@over([(name, one) for name, one in EVERY if getattr(one, "natural", False)])
def test_texts_of_their_own_length_take_no_other(benchmark: Any) -> None:
    with pytest.raises(BenchmarkError):
        benchmark.examples(LENGTH, 0)


FITTED = [(name, one) for name, one in EVERY if "count" in type(one).examples.__annotations__ and length_of(one)]


@over([(name, one) for name, one in FITTED if card_of(one).family == "generation"])
def test_a_prompt_and_its_reply_fit_the_length(benchmark: Any) -> None:
    def count(text: str) -> int:
        return -(-len(text) // 4)

    length = 2 * LENGTH
    for question in benchmark.examples(length, 3, count).questions.values():
        assert length // 2 < count(question.prompt) + question.new_tokens <= length


@pytest.mark.parametrize("name", [name for name in CARDS if hasattr(registry.load(name, BenchmarkCard), "parts")])
def test_a_collection_has_parts_and_no_set_of_its_own(name: str) -> None:
    whole = registry.load(name, BenchmarkCard)()
    assert len(whole.parts()) > 1
    with pytest.raises(BenchmarkError):
        whole.examples(LENGTH, 0)
    with pytest.raises(BenchmarkError):
        type(whole)(task="no such task").examples(LENGTH, 0)
