"""evaluate by strategy and engine, keyword search beside it, on a folder of one's own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from longspan import BenchmarkError, PlanError, evaluate, extended
from longspan.evaluation.score import Score

FILLER = "Nothing happened on that day, and the next day was the same. " * 60
TOPICS = ["a flooded river", "a stolen painting", "a lost dog", "an election", "a wedding in June"]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Documents that tell their topic behind everything that 256 tokens hold."""
    folder = tmp_path_factory.mktemp("own-set")
    rows: dict[str, list[dict]] = {"corpus": [], "queries": [], "qrels": []}
    for place, topic in enumerate(TOPICS):
        text = f"{FILLER} The newspaper then told of {topic}. {FILLER[:600]}"
        rows["corpus"].append({"id": f"d{place}", "text": text})
        rows["queries"].append({"id": f"q{place}", "text": f"What was told of {topic}?"})
        rows["qrels"].append({"query-id": f"q{place}", "corpus-id": f"d{place}", "score": 1})
    for name, lines in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(folder)


def accuracy(scores: Iterable[Score]) -> dict[str, float]:
    return {score.label: score.value for score in scores if score.metric == "acc_at_1"}


def test_strategies_are_measured_beside_keyword_search(minilm, own: str) -> None:
    asked = ["truncate", "chunk_max(window=64)", "chunk_max(window=64, top=2)", "late(window=512, size=32)"]
    scores = list(evaluate(minilm, f"folder(path={own!r})", (), strategies=asked, bm25=True))
    found = accuracy(scores)
    assert list(found) == ["truncate 256", "chunk_max 64", "chunk_max(top=2) 64", "late(size=32) 512", "bm25"]
    assert found["chunk_max 64"] == found["bm25"] == 1
    assert found["truncate 256"] <= 0.4, "what tells the documents apart stands behind the window"
    assert {score.benchmark for score in scores} == {Path(own).name}
    again = list(evaluate(minilm, f"folder(path={own!r})", (), strategies=asked, bm25=True, known=scores))
    assert again == []


def test_a_model_that_is_extended_is_read_by_strategies_too(minilm, own: str) -> None:
    with extended(minilm, 2048, "tile"):
        found = accuracy(evaluate(minilm, f"folder(path={own!r})", (), strategies=["extend", "chunk_max(window=64)"]))
        assert list(found) == ["tile -> 2048", "chunk_max 64 in tile"]
        with pytest.raises(PlanError, match="extended already"):
            next(evaluate(minilm, f"folder(path={own!r})", (), methods=["tile"]))


def test_engine_and_cuts_are_part_of_a_score(minilm, own: str) -> None:
    whole = list(evaluate(minilm, f"folder(path={own!r})", (), strategies=["truncate"]))
    options = {"dtype": "bfloat16", "layers": 5, "dims": 96}
    cut = list(evaluate(minilm, f"folder(path={own!r})", (), strategies=["truncate"], known=whole, **options))
    assert {score.engine for score in whole} == {"torch float32"}
    assert {score.engine for score in cut} == {"torch bfloat16, 5 layers, 96 dims"}
    assert cut[0].label == "truncate 256, torch bfloat16, 5 layers, 96 dims"


def test_a_folder_that_is_no_set_is_told(minilm, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"corpus\.jsonl cannot be read"):
        next(evaluate(minilm, f"folder(path={str(tmp_path)!r})", ()))
