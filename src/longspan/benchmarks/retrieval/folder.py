"""The user's own documents and questions as a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from longspan.benchmarks.files import from_folder, to_folder
from longspan.benchmarks.metrics import score_ranking
from longspan.benchmarks.tasks import Retrieval
from longspan.errors import BenchmarkError

CARD = {
    "title": "A folder of documents and questions",
    "source": "arXiv:2404.12096",
    "year": 2024,
    "authors": "Zhu et al.",
    "task": "find the document that answers a question",
    "metrics": ("ndcg_at_10", "acc_at_1"),
    "scope": "low",
    "diffusion": "low",
    "licence": "that of the folder's data",
    "claim": "the layout of LongEmbed's files; no score of its own",
    "caution": "a question whose words name its document is found by keyword search: look at bm25 as well",
    "aliases": ("own",),
}


@dataclass(frozen=True)
class Folder:
    """Documents, questions and right answers in three files, in LongEmbed's layout.

    Attributes:
        path: A folder with corpus.jsonl (id, text), queries.jsonl (id, text) and qrels.jsonl
            (query-id, corpus-id, score); its name is the benchmark's.
    """

    path: str = "."
    natural: ClassVar[bool] = True  # the texts have a length of their own

    def examples(self, length: int | None, seed: int) -> Retrieval:
        """Read the folder.

        Args:
            length: None: the documents have the lengths they have.
            seed: Without effect; nothing is drawn.

        Raises:
            BenchmarkError: A length is given, or a file is missing or damaged.
        """
        if length is not None:
            raise BenchmarkError(f"A folder has whole documents, not ones of {length} tokens.", "length=None")
        return from_folder(Path(self.path).resolve().name, self.path)

    def score(self, example: Sequence[str], output: Sequence[str]) -> dict[str, float]:
        """Score a ranking of document ids (output) against the ids of the right ones (example)."""
        return score_ranking(example, output)


def twin(folder: Path) -> None:
    """Write a made-up set of two documents."""
    documents = {"d0": "The mill by the river grinds barley.", "d1": "The forge by the gate makes horseshoes."}
    queries = {"q0": "Where is barley ground?", "q1": "Who makes horseshoes?"}
    to_folder(Retrieval("folder", None, documents, queries, {"q0": ("d0",), "q1": ("d1",)}), folder)
