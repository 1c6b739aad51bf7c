"""evaluate by strategy and engine, keyword search beside it, on a folder of one's own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from longspan import BenchmarkError, Encoder, PlanError, encode, evaluate, extended
from longspan.benchmarks.files import from_folder
from longspan.benchmarks.tasks import Labelled
from longspan.encoding.strategy import as_strategy
from longspan.evaluation.cache import VectorCache
from longspan.evaluation.ranking import fuse
from longspan.evaluation.score import Score
from longspan.evaluation.search import Dense

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
    dense = ["truncate 256", "chunk_max 64", "chunk_max(top=2) 64", "late(size=32) 512"]
    assert list(found) == ["bm25", *dense, "bm25 + truncate 256"]
    assert found["chunk_max 64"] == found["bm25"] == 1
    assert found["truncate 256"] <= 0.4, "what tells the documents apart stands behind the window"
    assert {score.benchmark for score in scores} == {Path(own).name}
    again = list(evaluate(minilm, f"folder(path={own!r})", (), strategies=asked, bm25=True, known=scores))
    assert again == []


def test_a_model_that_is_extended_is_read_by_strategies_too(minilm, own: str) -> None:
    with extended(minilm, 2048, "tile"):
        found = accuracy(evaluate(minilm, f"folder(path={own!r})", (), strategies=["extend", "chunk_max(window=64)"]))
        assert list(found) == ["bm25", "tile -> 2048", "chunk_max 64 in tile", "bm25 + tile -> 2048"]
        with pytest.raises(PlanError, match="extended already"):
            next(evaluate(minilm, f"folder(path={own!r})", (), methods=["tile"]))


def test_engine_and_cuts_are_part_of_a_score(minilm, own: str) -> None:
    whole = list(evaluate(minilm, f"folder(path={own!r})", (), strategies=["truncate"], bm25=False))
    options = {"dtype": "bfloat16", "layers": 5, "dims": 96, "bm25": False}
    cut = list(evaluate(minilm, f"folder(path={own!r})", (), strategies=["truncate"], known=whole, **options))
    assert {score.engine for score in whole} == {"torch float32"}
    assert {score.engine for score in cut} == {"torch bfloat16, 5 layers, 96 dims"}
    assert cut[0].label == "truncate 256, torch bfloat16, 5 layers, 96 dims"


def test_the_ladder_stands_beside_every_extension(minilm, own: str) -> None:
    found = accuracy(evaluate(minilm, f"folder(path={own!r})", (), to=2048, methods=["tile"]))
    assert list(found) == [
        "bm25",
        "truncate 512",
        "chunk_mean 512",
        "chunk_max 512",
        "chunk_max(top=2) 512",
        "long_late 512",
        "tile -> 2048",
        "bm25 + truncate 512",
        "bm25 + tile -> 2048",
    ]
    assert found["bm25 + tile -> 2048"] >= found["tile -> 2048"]


def test_what_was_not_read_is_counted(minilm, own: str) -> None:
    short, whole = list(
        evaluate(minilm, f"folder(path={own!r})", (), strategies=["truncate", "chunk_mean"], bm25=False)
    )[::2]
    assert (short.inputs, short.truncated, whole.truncated) == (5, 5, 0)
    assert whole.tokens == short.tokens > 900
    assert short.characters > 4000
    assert len(short.values) == short.n == 5


def test_vectors_are_computed_once(minilm, own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"strategies": ["truncate", "chunk_mean", "chunk_max", "chunk_max(top=2)"], "cache": tmp_path / "v.sqlite"}
    first = list(evaluate(minilm, f"folder(path={own!r})", (), **asked))
    found = accuracy(first)
    assert found["chunk_max 256"] > found["truncate 256"], "each way to read has vectors of its own"
    monkeypatch.setattr(Encoder, "encode", None)
    again = list(evaluate(minilm, f"folder(path={own!r})", (), **asked))
    assert [(s.label, s.value, s.seconds > 0) for s in again] == [(s.label, s.value, True) for s in first]
    monkeypatch.undo()
    with extended(minilm, 1024, "tile"):
        other = accuracy(evaluate(minilm, f"folder(path={own!r})", (), cache=tmp_path / "v.sqlite", bm25=False))
    assert list(other) == [
        "truncate 512 in tile",
        "chunk_mean 512 in tile",
        "chunk_max 512 in tile",
        "chunk_max(top=2) 512 in tile",
        "long_late 512 in tile",
        "tile -> 1024",
    ]


def test_a_mean_of_chunks_is_made_of_the_vectors_of_the_chunks(minilm, own: str) -> None:
    texts = list(from_folder("own", own).documents.values())
    straight = encode(minilm, texts, "chunk_mean(window=64, overlap=8)").vectors
    arm = Dense(minilm, as_strategy("chunk_mean(window=64, overlap=8)"), None, {}, VectorCache())
    outcome = arm.answer(Labelled("own", None, dict(enumerate(texts))), "").outputs[""]
    np.testing.assert_allclose(outcome, straight, atol=1e-6)


def test_a_file_that_is_no_cache_is_told(minilm, own: str, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("not a database, and long enough to be looked at as one " * 10)
    with pytest.raises(BenchmarkError, match="no cache of vectors"):
        list(evaluate(minilm, f"folder(path={own!r})", (), cache=tmp_path / "notes"))


def test_fusion_is_by_rank() -> None:
    one, two = np.array([[3.0, 2.0, 1.0]]), np.array([[0.1, 0.9, 0.5]])
    np.testing.assert_allclose(fuse([one, two]), [[1 / 61 + 1 / 63, 1 / 62 + 1 / 61, 1 / 63 + 1 / 62]])


def test_a_folder_that_is_no_set_is_told(minilm, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"corpus\.jsonl cannot be read"):
        next(evaluate(minilm, f"folder(path={str(tmp_path)!r})", ()))
