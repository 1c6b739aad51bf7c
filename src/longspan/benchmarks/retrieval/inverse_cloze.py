"""The user's own documents without any labels: which one was this sentence taken out of?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import ClassVar

from longspan.benchmarks.haystack import generator, permutation
from longspan.benchmarks.metrics import score_ranking
from longspan.benchmarks.retrieval import _own
from longspan.benchmarks.rows import check_natural
from longspan.benchmarks.tasks import Retrieval
from longspan.errors import BenchmarkError

CARD = {
    "title": "Inverse Cloze Task",
    "source": "arXiv:1906.00300",
    "year": 2019,
    "authors": "Lee et al.",
    "task": "find the document that a sentence was taken out of, from the text around the gap",
    "metrics": ("ndcg_at_10", "acc_at_1"),
    "scope": "low",
    "diffusion": "middle",
    "licence": "that of the documents",
    "claim": "made for pre-training, with the sentence kept in place in 10 % of cases; no retrieval score of a named "
    "model is published",
    "caution": "names that the document repeats give it away: look at bm25 as well; near copies among the documents "
    "make wrong answers right",
    "aliases": ("ict",),
}


@dataclass(frozen=True)
class InverseCloze:
    """Sentences taken out of the user's documents, from all depths alike (after Lee et al. 2019, section 3).

    Their blocks are passages, ours are whole documents; a sentence stands only once among them, and at most a quarter
    of a document's sentences is asked for.

    Attributes:
        path: A .jsonl file with id and text, a .txt or .md file, or a folder of such files.
        documents: How many documents, drawn by seed; 0 for all.
        queries: How many sentences.
        depths: k equally filled depths: as many sentences from each k-th part of the documents.
        keep: Share of the sentences that stay in place as well [0..1].
    """

    path: str = "."
    documents: int = 0
    queries: int = 200
    depths: int = 10
    keep: float = 0.1
    natural: ClassVar[bool] = True  # the documents have a length of their own

    def __post_init__(self) -> None:
        """Check the counts."""
        if self.documents < 0 or self.documents == 1:
            raise BenchmarkError(f"inverse_cloze has no choice among {self.documents} documents.", "0 for all, or 2")
        if self.depths < 1 or self.queries < 1 or self.queries % self.depths:
            raise BenchmarkError(
                f"{self.queries} queries do not fill {self.depths} depths equally.",
                f"queries={max(self.queries // max(self.depths, 1), 1) * max(self.depths, 1)}",
            )
        if not 0 <= self.keep <= 1:
            raise BenchmarkError(f"A share of {self.keep} of the sentences cannot stay in place.", "keep from 0 to 1")

    def examples(self, length: int | None, seed: int) -> Retrieval:
        """Build the set.

        Args:
            length: None: the documents have the lengths they have.
            seed: Draws the documents, the sentences and which of them stay in place.

        Raises:
            BenchmarkError: A length is given, a file is damaged, or there are too few documents or sentences.
        """
        check_natural("inverse_cloze", length)
        texts = _own.read("inverse_cloze", self.path, max(self.documents, 2))
        rng = generator("inverse_cloze", seed)
        keys = list(texts)
        order = [keys[i] for i in permutation(len(keys), rng)][: self.documents or None]
        texts = {key: texts[key] for key in sorted(order)}
        taken = self._draw(texts, order, rng)
        kept = set(permutation(len(taken), rng)[: round(self.keep * len(taken))])
        gaps: dict[str, list[_own.Sentence]] = {}
        for i, sentence in enumerate(taken):
            if i not in kept:
                gaps.setdefault(sentence.document, []).append(sentence)
        ids = [f"q{i:05d}" for i in range(len(taken))]
        return Retrieval(
            "inverse_cloze",
            None,
            {key: _without(text, gaps.get(key, [])) for key, text in texts.items()},
            {query: " ".join(sentence.text.split()) for query, sentence in zip(ids, taken, strict=True)},
            {query: (sentence.document,) for query, sentence in zip(ids, taken, strict=True)},
            {query: (i % self.depths + 0.5) / self.depths for i, query in enumerate(ids)},
        )

    def score(self, example: Sequence[str], output: Sequence[str]) -> dict[str, float]:
        """Score a ranking of document ids (output) against the ids of the right ones (example)."""
        return score_ranking(example, output)

    def _draw(self, texts: dict[str, str], order: list[str], rng: Random) -> list[_own.Sentence]:
        """Sentences of depth 0, 1, ..., k - 1, 0, 1, ... in turn, from one document after another."""
        cells: dict[tuple[str, int], list[_own.Sentence]] = {}
        left = {}
        for key, found in _own.unmistakable(texts, least=40, most=400).items():
            left[key] = len(_own.sentences(key, texts[key])) // 4
            for i in permutation(len(found), rng):
                cells.setdefault((key, int(found[i].depth * self.depths)), []).append(found[i])
        taken: list[_own.Sentence] = []
        for turn in range(self.queries):
            cell, start = turn % self.depths, turn + turn // self.depths  # no document is always asked at one depth
            ahead = (order[(start + i) % len(order)] for i in range(len(order)))
            chosen = next((key for key in ahead if left[key] and cells.get((key, cell))), None)
            if chosen is None:
                whole = turn - turn % self.depths
                raise BenchmarkError(
                    f"{len(texts)} documents in {self.path} give {turn} sentences at {self.depths} depths, "
                    f"{self.queries} were asked for.",
                    f"queries={whole}" if whole else "fewer depths, or more and longer documents",
                )
            left[chosen] -= 1
            taken.append(cells[chosen, cell].pop())
        return taken


def twin(folder: Path) -> None:
    """Write made-up documents."""
    _own.twin(folder)


def _without(text: str, gaps: list[_own.Sentence]) -> str:
    for gap in sorted(gaps, key=lambda sentence: -sentence.start):
        text = text[: gap.start] + text[gap.end :].lstrip(" ")
    return text
