"""The user's own documents as pairs: how a text begins, and how it goes on, lost in other documents' text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from longspan.benchmarks.haystack import check_counts, generator
from longspan.benchmarks.metrics import score_ranking
from longspan.benchmarks.retrieval import _own
from longspan.benchmarks.tasks import Count, Retrieval, usual_count
from longspan.errors import BenchmarkError

CARD = {
    "title": "Lengthened pairs",
    "source": "arXiv:2310.19240",
    "year": 2023,
    "authors": "Kwan et al.",
    "task": "find the document that holds the passage which follows a title and first sentences",
    "metrics": ("ndcg_at_10", "acc_at_1"),
    "scope": "low",
    "diffusion": "middle",
    "licence": "that of the documents",
    "claim": "M4LE lengthens short instances by others of the same task up to 8k words, later 32k, for language "
    "models; no retrieval score is published",
    "caution": "the text around the passage is about the same things in a narrow collection, which makes wrong "
    "answers nearly right",
    "aliases": (),
}

_MOST = 10_000


@dataclass(frozen=True)
class LengthenedPairs:
    """Pairs of the user's documents, lengthened (after M4LE, Kwan et al. 2023, section 3).

    A pair is a document's title and first sentences, and the sentences after them. The passage is lengthened by text
    of documents that are in no pair, another piece for each; it stands where a sentence of that text begins.

    Attributes:
        path: A .jsonl file with id and text, a .txt or .md file, or a folder of such files.
        documents: Documents at each length; each takes two of the user's documents or fewer.
        queries: How many of them are asked for; all of them where there are fewer.
        depths: k equally filled depths: document i's passage has a share ((i mod k) + 0.5) / k of that text before it.
        query: Words that a query has at least; it ends with a sentence.
        passage: Words that a passage has at least; it ends with a sentence.
    """

    path: str = "."
    documents: int = 20
    queries: int = 20
    depths: int = 5
    query: int = 20
    passage: int = 100

    def __post_init__(self) -> None:
        """Check the counts."""
        check_counts("lengthened_pairs", self.documents, self.queries, self.depths, _MOST)
        if min(self.depths, self.query, self.passage) < 1:
            raise BenchmarkError(
                f"lengthened_pairs has depths={self.depths}, query={self.query}, passage={self.passage}.",
                "1 or more of each",
            )

    def examples(self, length: int | None, seed: int, count: Count = usual_count) -> Retrieval:
        """Build the set.

        Args:
            length: Tokens that no document exceeds.
            seed: Draws the pairs and, for each length, the text around them.
            count: Tokens of a text.

        Raises:
            BenchmarkError: A file is damaged, there are too few documents with a passage, or not enough text.
        """
        texts = _own.read("lengthened_pairs", self.path, least=4)
        asking, around = _own.split(texts, generator("lengthened_pairs", seed))
        pairs = self._pairs(texts, asking)
        hay = _own.Haystack(texts, around)
        rng = generator("lengthened_pairs", seed, length)
        documents, depth, words = {}, {}, None
        for i, (_, passage) in enumerate(pairs):
            aim = (i % self.depths + 0.5) / self.depths
            build = _builder(hay.words, hay.starts[int(rng.random() * len(hay.starts))], aim, passage)
            words = hay.fit("lengthened_pairs", build, length, count, words)
            documents[f"d{i:04d}"], depth[f"q{i:04d}"] = build(words), aim
        asked = {f"q{i:04d}": query for i, (query, _) in enumerate(pairs[: self.queries])}
        right: dict[str, tuple[str, ...]] = {query: (f"d{query[1:]}",) for query in asked}
        return Retrieval("lengthened_pairs", length, documents, asked, right, {query: depth[query] for query in asked})

    def score(self, example: Sequence[str], output: Sequence[str]) -> dict[str, float]:
        """Score a ranking of document ids (output) against the ids of the right ones (example)."""
        return score_ranking(example, output)

    def _pairs(self, texts: dict[str, str], asking: list[str]) -> list[tuple[str, str]]:
        openings = {key: _opening(key, text, self.query, self.passage) for key, text in texts.items()}
        times = Counter(opening[0].lower() for opening in openings.values() if opening)
        found = [opening for opening in map(openings.__getitem__, asking) if opening and times[opening[0].lower()] == 1]
        if len(found) < self.documents:
            raise BenchmarkError(
                f"{len(found)} documents of half of {self.path} have an own opening of {self.query} words "
                f"and {self.passage} words after it, {self.documents} were asked for.",
                f"documents={len(found)}, depths=1" if found else "smaller query and passage, or more documents",
            )
        return found[: self.documents]


def _opening(key: str, text: str, query: int, passage: int) -> tuple[str, str] | None:
    """First sentences of at least ``query`` words, and those after them of at least ``passage`` words."""
    ends, words, least = [0], 0, query
    for sentence in _own.sentences(key, text):
        words += len(sentence.text.split())
        if words >= least:
            ends.append(sentence.end)
            words, least = 0, passage
        if len(ends) == 3:
            return " ".join(text[: ends[1]].split()), text[ends[1] : ends[2]].strip()
    return None


def _builder(words: list[str], start: int, share: float, passage: str) -> Callable[[int], str]:
    """Number of words to the document: so many words around the passage, the given share of them before it."""

    def build(number: int) -> str:
        before = round(number * share)
        cut = [words[(start - before + i) % len(words)] for i in range(number)]  # a ring: no start is too late
        parts = ("".join(cut[:before]).strip(), passage, "".join(cut[before:]).strip())
        return "\n".join(part for part in parts if part)

    return build


def twin(folder: Path) -> None:
    """Write made-up documents."""
    _own.twin(folder)
