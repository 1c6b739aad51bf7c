"""Needle in a haystack: which copy of the same prose also states a given fact?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from longspan.benchmarks.files import read_lines
from longspan.benchmarks.haystack import budget, check_counts, generator, hide, permutation, prose
from longspan.benchmarks.metrics import score_ranking
from longspan.benchmarks.tasks import Retrieval

CARD = {
    "title": "Needle-in-a-haystack Retrieval",
    "source": "arXiv:2404.12096",
    "year": 2024,
    "authors": "Zhu et al.",
    "task": "find the document that states a fact, hidden in prose about something else",
    "metrics": ("acc_at_1", "ndcg_at_10"),
    "scope": "low",
    "diffusion": "middle",
    "licence": "facts: own work; haystack: public domain (Grant, Personal Memoirs, 1885)",
    "claim": "mean Acc@1 over 256 to 32768: E5-Base (512) 28.5, E5-RoPE-Base (512) 31.5, "
    "the same with SelfExtend (4k) 53.5 (Table 2), on facts and essays that are not these",
    "caution": "built as LongEmbed's, but the published facts and essays may not be shipped and ours are easier: "
    "compare models on this set, not with the paper",
    "aliases": ("needle_in_a_haystack", "niah"),
}

_DATA = Path(__file__).parents[1] / "data"
_FACTS = 100


@dataclass(frozen=True)
class Needle:
    """LongEmbed's needle test (Zhu et al. 2024, section 3) with own facts and a public-domain haystack.

    Each document is the same beginning of Grant's Personal Memoirs with one fact on a line of its own; the query
    asks for that fact. A seed draws which facts are asked for and, for each length, the places.

    Attributes:
        documents: Documents at each length, at most 100.
        queries: How many of them are asked for; all of them where there are fewer.
        depths: 0 for uniformly random places (as published), k for k equally filled depths.
    """

    documents: int = 100
    queries: int = 50
    depths: int = 0

    def __post_init__(self) -> None:
        """Check the counts."""
        check_counts("needle", self.documents, self.queries, self.depths, _FACTS)

    def examples(self, length: int | None, seed: int) -> Retrieval:
        """Build the set.

        Args:
            length: Nominal document length [tokens]; a token is taken as 0.75 word.
            seed: Same seed, same bytes.

        Raises:
            BenchmarkError: The length is missing, too short for any haystack, or longer than it.

        Example:
            >>> len(Needle().examples(256, seed=0).documents)
            100
        """
        facts = _facts()
        order = permutation(_FACTS, generator("needle", seed))[: self.documents]
        words = prose()[: budget("needle", length, len(prose()))]
        rng = generator("needle", seed, length)
        return hide("needle", length, [facts[i] for i in order], words, self.queries, self.depths, rng)

    def score(self, example: Sequence[str], output: Sequence[str]) -> dict[str, float]:
        """Score a ranking of document ids (output) against the ids of the right ones (example)."""
        return score_ranking(example, output)


@cache
def _facts() -> tuple[tuple[str, str], ...]:
    return tuple((row["fact"], row["question"]) for _, row in read_lines(_DATA / "facts.jsonl"))
