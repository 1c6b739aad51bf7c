"""The whole stack against a published number: all-MiniLM-L6-v2 on LongEmbed's QMSum, nDCG@10 0.16322."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from longspan.benchmarks.files import to_folder
from longspan.benchmarks.published import published
from longspan.benchmarks.tasks import Retrieval
from longspan.evaluation.mteb_bridge import write_mteb
from longspan.evaluation.mteb_tasks import read_mteb
from longspan.evaluation.run import evaluate

HEADS = Path(__file__).parents[1] / "data" / "qmsum_heads.jsonl.gz"


@pytest.fixture
def heads(tmp_path: Path) -> Path:
    rows = [json.loads(line) for line in gzip.decompress(HEADS.read_bytes()).decode().splitlines()]
    documents = {row["document"]: row["text"] for row in rows if "document" in row}
    queries = {row["query"]: row["text"] for row in rows if "query" in row}
    relevant = {row["query"]: (row["relevant"],) for row in rows if "query" in row}
    to_folder(Retrieval("qmsum", None, documents, queries, relevant), tmp_path / "qmsum")
    return tmp_path / "qmsum"


@pytest.mark.slow
def test_the_published_score_is_reproduced_through_mteb_and_by_evaluate(minilm, heads: Path, tmp_path: Path) -> None:
    known = {name: round(value, 5) for name, value in published("all-MiniLM-L6-v2", "qmsum", None).items()}
    assert known["ndcg_at_10"] == 0.16322
    vectors = tmp_path / "vectors.sqlite"
    write_mteb(minilm, f"longembed(task='qmsum', folder={str(heads)!r})", [], tmp_path / "mteb", cache=vectors)
    theirs = read_mteb(tmp_path / "mteb")
    assert {score.metric: round(score.value, 5) for score in theirs} == known
    ours = list(
        evaluate(minilm, f"folder(path={str(heads)!r})", [], strategies=["truncate"], bm25=False, cache=vectors)
    )
    assert {score.metric: round(score.value, 5) for score in ours} == known
    assert {score.n for score in (*theirs, *ours)} == {1527}
