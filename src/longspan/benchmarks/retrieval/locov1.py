"""LoCoV1: twelve tasks of finding a long document, in several of them more than one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from longspan.benchmarks.collection import Collection
from longspan.benchmarks.files import bad_line, text_of, write_lines
from longspan.benchmarks.metrics import score_ranking
from longspan.benchmarks.rows import Row, check_natural, hub_rows, rows_of
from longspan.benchmarks.tasks import Retrieval
from longspan.errors import BenchmarkError

CARD = {
    "title": "LoCoV1",
    "source": "arXiv:2402.07440",
    "year": 2024,
    "authors": "Saad-Falcon et al.",
    "task": "find the long documents of law, science, meetings, television or programming that answer a query",
    "metrics": ("ndcg_at_10", "acc_at_1"),
    "scope": "middle",
    "diffusion": "middle",
    "licence": "code Apache-2.0; data those of twelve sources; downloaded or read from a folder, never shipped",
    "claim": "M2-BERT (80M parameters, 32k) is at least 23.3 points of nDCG@10 above the Transformers it is compared "
    "with (abstract)",
    "caution": "the evidence of many documents stands at their beginning, where a short window sees it: compare with "
    "truncation (arXiv:2404.12096)",
    "aliases": ("loco",),
}

_LAYOUT = "queries.jsonl (qid, query, dataset, answer_pids) and documents.jsonl (pid, passage, dataset)"


@dataclass(frozen=True)
class LoCoV1(Collection):
    """LoCoV1 (Saad-Falcon et al. 2024, section 3): the score of each task, all documents of the task as candidates.

    As published, a document whose passage is missing is left out, and so are queries without a document left.

    Attributes:
        task: One of the twelve ``tasks``; "" for the collection.
        folder: "" for the hub, else a folder with queries.jsonl and documents.jsonl in the hub's fields.
        tasks: The tasks, by the names they have in the field ``dataset``.
    """

    natural: ClassVar[bool] = True  # the texts have a length of their own
    tasks: ClassVar[tuple[str, ...]] = (
        "summ_screen_fd",
        "gov_report",
        "qmsum",
        "qasper_title",
        "qasper_abstract",
        "multifieldqa",
        "2wikimqa",
        "passage_retrieval",
        "legal_case_reports",
        "courtlistener_HTML",
        "courtlistener_Plain_Text",
        "stackoverflow",
    )

    def examples(self, length: int | None, seed: int) -> Retrieval:
        """Load a task.

        Args:
            length: None: the documents have the lengths they have.
            seed: Without effect; nothing is drawn.

        Raises:
            BenchmarkError: No task is chosen, a length is given, the hub cannot be reached or the folder is damaged.
        """
        self._check_chosen()
        check_natural(f"locov1 {self.task}", length)
        queries, documents = (self._rows(name) for name in ("Queries", "Documents"))
        return _of_task(self.task, queries, documents)

    def score(self, example: Sequence[str], output: Sequence[str]) -> dict[str, float]:
        """Score a ranking of document ids (output) against the ids of the right ones (example)."""
        return score_ranking(example, output)

    def _rows(self, name: str) -> list[Row]:
        if self.folder:
            return rows_of(Path(self.folder) / f"{name.lower()}.jsonl", _LAYOUT)
        return hub_rows("locov1", f"hazyresearch/LoCoV1-{name}", None, "test", _LAYOUT)


def twin(folder: Path) -> None:
    """Write a made-up set of three documents and two queries for each task, one with two right documents."""
    folder.mkdir(parents=True, exist_ok=True)
    documents, queries = [], []
    for task in LoCoV1.tasks:
        texts = ("Tin is melted.", "Wool is spun.", "Wool is sold.")
        documents += [{"pid": f"{task}_P{i}", "passage": text, "dataset": task} for i, text in enumerate(texts)]
        for i, (query, right) in enumerate((("tin", (0,)), ("wool", (1, 2)))):
            answers = [f"{task}_P{number}" for number in right]
            queries.append({"qid": f"{task}_Q{i}", "query": query, "dataset": task, "answer_pids": answers})
    write_lines(folder / "documents.jsonl", documents)
    write_lines(folder / "queries.jsonl", queries)


def _of_task(task: str, queries: list[Row], documents: list[Row]) -> Retrieval:
    passages: dict[str, str | None] = {}
    for path, line, row in documents:
        if text_of(row, "dataset", path, line) != task:
            continue
        key = text_of(row, "pid", path, line)
        if key in passages:
            raise bad_line(path, line, f"the pid {key!r} occurs twice")
        passages[key] = text_of(row, "passage", path, line) if row.get("passage") is not None else None
    texts: dict[str, str] = {}
    right: dict[str, tuple[str, ...]] = {}
    for path, line, row in queries:
        if text_of(row, "dataset", path, line) != task:
            continue
        key, answers = text_of(row, "qid", path, line), row.get("answer_pids")
        if key in texts:
            raise bad_line(path, line, f"the qid {key!r} occurs twice")
        if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
            raise bad_line(path, line, "answer_pids is not a list of ids")
        if missing := [answer for answer in answers if answer not in passages]:
            raise bad_line(path, line, f"{task} has no document {missing[0]!r}")
        texts[key] = text_of(row, "query", path, line)
        right[key] = tuple(dict.fromkeys(answer for answer in answers if passages[answer] is not None))
    kept = {key: found for key, found in sorted(right.items()) if found}
    if not kept:
        counts = f"{len(passages)} documents and {len(texts)} queries"
        raise BenchmarkError(f"locov1 {task} has {counts} here, and no right document.", f"a folder with {_LAYOUT}")
    whole = {key: text for key, text in sorted(passages.items()) if text is not None}
    return Retrieval(task, None, whole, {key: texts[key] for key in kept}, kept)
