"""The user's own documents as a needle test: which copy of the same text holds one foreign sentence?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from longspan.benchmarks.haystack import check_counts, generator, hide, permutation
from longspan.benchmarks.metrics import score_ranking
from longspan.benchmarks.retrieval import _own
from longspan.benchmarks.tasks import Count, Retrieval, usual_count
from longspan.errors import BenchmarkError

CARD = {
    "title": "Passage needle",
    "source": "arXiv:2404.12096",
    "year": 2024,
    "authors": "Zhu et al.",
    "task": "find the document in which a sentence is hidden, by half of its words",
    "metrics": ("acc_at_1", "ndcg_at_10"),
    "scope": "low",
    "diffusion": "low",
    "licence": "that of the documents",
    "claim": "built like LongEmbed's needle test out of other texts; no score of a named model is published",
    "caution": "the words of the question stand in the document: shows which positions are read, not what is "
    "understood, and BM25 finds nearly all",
    "aliases": ("own_needle",),
}

_MOST = 10_000


@dataclass(frozen=True)
class PassageNeedle:
    """A needle test of the user's documents (construction of Zhu et al. 2024, section 3).

    One half of the documents, drawn by seed, lends the sentences; the other half, one document after another, is the
    haystack. All documents of a length are the same haystack but for one sentence, so that a model finds it only by
    reading its place. The query is that sentence with half of its words, drawn by seed, left out.

    Attributes:
        path: A .jsonl file with id and text, a .txt or .md file, or a folder of such files.
        documents: Documents at each length.
        queries: How many of them are asked for; all of them where there are fewer.
        depths: 0 for uniformly random places, k for k equally filled depths.
    """

    path: str = "."
    documents: int = 50
    queries: int = 50
    depths: int = 0

    def __post_init__(self) -> None:
        """Check the counts."""
        check_counts("passage_needle", self.documents, self.queries, self.depths, _MOST)

    def examples(self, length: int | None, seed: int, count: Count = usual_count) -> Retrieval:
        """Build the set.

        Args:
            length: Tokens that no document exceeds.
            seed: Draws the sentences, the words left out and, for each length, the places.
            count: Tokens of a text.

        Raises:
            BenchmarkError: A file is damaged, there are too few documents or sentences, or not enough text.
        """
        texts = _own.read("passage_needle", self.path, least=4)
        rng = generator("passage_needle", seed)
        lending, hiding = _own.split(texts, rng)
        needles = self._needles({key: texts[key] for key in lending}, texts, rng)
        hay = _own.Haystack(texts, hiding)
        longest = max((needle for needle, _ in needles), key=count)
        # Every document gets the haystack that the longest needle leaves room for.
        words = hay.fit(
            "passage_needle", lambda n: f"{''.join(hay.words[:n]).rstrip()}\n{longest}\n", length, count, None
        )
        rng = generator("passage_needle", seed, length)
        return hide("passage_needle", length, needles, hay.words[:words], self.queries, self.depths, rng)

    def score(self, example: Sequence[str], output: Sequence[str]) -> dict[str, float]:
        """Score a ranking of document ids (output) against the ids of the right ones (example)."""
        return score_ranking(example, output)

    def _needles(self, lending: dict[str, str], texts: dict[str, str], rng: Random) -> list[tuple[str, str]]:
        """Sentences with their clozes: one of each document, then the second of each, and so on."""
        found = _own.unmistakable(texts, least=80, most=200)
        drawn = [[found[key][i] for i in permutation(len(found[key]), rng)] for key in lending]
        turns = [each[i].text for i in range(max(map(len, drawn))) for each in drawn if i < len(each)]
        if len(turns) < self.documents:
            raise BenchmarkError(
                f"passage_needle finds {len(turns)} sentences of 80 to 200 characters in half of {self.path}, "
                f"{self.documents} were asked for.",
                f"documents={len(turns)}" if turns else "documents with longer sentences",
            )
        return [(" ".join(text.split()), _cloze(text.split(), rng)) for text in turns[: self.documents]]


def twin(folder: Path) -> None:
    """Write made-up documents."""
    _own.twin(folder)


def _cloze(words: list[str], rng: Random) -> str:
    kept = sorted(permutation(len(words), rng)[len(words) // 2 :])
    return " ".join(words[i] for i in kept)
