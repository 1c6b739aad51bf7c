"""FairytaleQA as retrieval: which tale answers the question?"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from longspan.benchmarks.files import from_folder
from longspan.benchmarks.haystack import generator
from longspan.benchmarks.metrics import score_ranking
from longspan.benchmarks.tasks import Retrieval
from longspan.errors import BenchmarkError

CARD = {
    "title": "FairytaleQA",
    "source": "arXiv:2203.13947",
    "year": 2022,
    "authors": "Xu et al.",
    "task": "find the whole tale that answers a question about one of its events",
    "metrics": ("ndcg_at_10", "acc_at_1"),
    "scope": "low",
    "diffusion": "middle",
    "licence": "Apache-2.0; the tales are public domain (Project Gutenberg)",
    "claim": "10,580 questions by education experts on 278 tales (abstract); the paper answers and generates "
    "questions, so no retrieval score of a named model is published",
    "caution": "names and topics of a tale give it away: BM25 is far ahead of dense models, and a longer window "
    "is not better by itself",
    "aliases": ("fairytale_qa",),
}

_SHIPPED = Path(__file__).parents[1] / "data" / "fairytaleqa.jsonl.gz"


@dataclass(frozen=True)
class FairytaleQA:
    """Questions to whole tales (data: Xu et al. 2022), a real set between 1,000 and 4,000 tokens.

    The tales are never cut: what is under test reads as much of them as it can.

    Attributes:
        documents: How many tales, spread evenly over the lengths; 0 for all there are (60 shipped).
        folder: "" for the shipped cut, else a folder with corpus.jsonl, queries.jsonl and
            qrels.jsonl, such as the full set.
    """

    documents: int = 0
    folder: str = ""
    natural: ClassVar[bool] = True  # the texts have a length of their own

    def __post_init__(self) -> None:
        """Check the count."""
        if self.documents < 0:
            raise BenchmarkError(f"fairytaleqa has no {self.documents} documents.", "documents=0 takes all tales")

    def examples(self, length: int | None, seed: int) -> Retrieval:
        """Build the set.

        Args:
            length: None: the tales have the lengths they have.
            seed: Draws the tales where there are fewer than all of them.

        Raises:
            BenchmarkError: A length is given, there are too few tales, or the folder is damaged.

        Example:
            >>> len(FairytaleQA(documents=12).examples(None, seed=0).documents)
            12
        """
        if length is not None:
            raise BenchmarkError(f"fairytaleqa has whole tales, not tales of {length} tokens.", "length=None")
        whole = from_folder("fairytaleqa", self.folder) if self.folder else _shipped()
        if self.documents > len(whole.documents):
            raise BenchmarkError(
                f"fairytaleqa has {len(whole.documents)} tales here, {self.documents} were asked for.",
                f"fairytaleqa(documents={len(whole.documents)})",
            )
        return _subset(whole, self.documents, seed) if self.documents else whole

    def score(self, example: Sequence[str], output: Sequence[str]) -> dict[str, float]:
        """Score a ranking of document ids (output) against the ids of the right ones (example)."""
        return score_ranking(example, output)


def _subset(whole: Retrieval, count: int, seed: int) -> Retrieval:
    """One tale of each of ``count`` equal bins of length, with the queries on them."""
    rng = generator("fairytaleqa", seed)
    ordered = sorted(whole.documents, key=lambda key: (len(whole.documents[key]), key))
    bins = (ordered[i * len(ordered) // count : (i + 1) * len(ordered) // count] for i in range(count))
    kept = {members[int(rng.random() * len(members))] for members in bins}
    asked = [query for query, document in whole.relevant.items() if document[0] in kept]
    return Retrieval(
        whole.name,
        None,
        {key: text for key, text in whole.documents.items() if key in kept},
        {query: whole.queries[query] for query in asked},
        {query: whole.relevant[query] for query in asked},
        {query: whole.depth[query] for query in asked if query in whole.depth},
    )


def _shipped() -> Retrieval:
    lines = gzip.decompress(_SHIPPED.read_bytes()).decode().split("\n")
    tales = [json.loads(line) for line in lines if line]
    asked = sorted(((q, tale["id"]) for tale in tales for q in tale["questions"]), key=lambda pair: pair[0]["id"])
    return Retrieval(
        "fairytaleqa",
        None,
        {tale["id"]: tale["text"] for tale in tales},
        {question["id"]: question["text"] for question, _ in asked},
        {question["id"]: (tale,) for question, tale in asked},
        {question["id"]: question["depth"] for question, _ in asked},
    )
