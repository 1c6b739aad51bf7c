"""Smaller sets: a sample of a benchmark for a first look, and as little of it as tells methods apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from longspan.benchmarks.haystack import generator, permutation
from longspan.benchmarks.tasks import Questions, Retrieval

DOCUMENTS = 8
QUERIES = 64


def quick_lengths(lengths: Sequence[int]) -> list[int]:
    """The longest length and a quarter of it: where methods differ, and where most still work."""
    if len(lengths) < 3:
        return list(lengths)
    longest = max(lengths)
    return sorted({min(lengths, key=lambda length: abs(length - longest / 4)), longest})


def sample(examples: Any, seed: int) -> Any:
    """At most ``DOCUMENTS`` documents with at most ``QUERIES`` questions on them; as many questions of other sets.

    Fewer documents are easier to tell apart, so scores are higher than those of the whole set and compare only
    with one another.
    """
    rng = generator("sample", seed)
    if isinstance(examples, Retrieval):
        return _documents(examples, rng)
    if isinstance(examples, Questions):
        kept = _drawn(sorted(examples.questions), DOCUMENTS, rng)
        return replace(examples, questions={name: examples.questions[name] for name in kept})
    return examples


def _documents(examples: Retrieval, rng: Any) -> Retrieval:
    # Documents that are right for a question first: a set in which nothing can be found would tell nothing.
    right = sorted({document for documents in examples.relevant.values() for document in documents})
    kept = set(_drawn(right, DOCUMENTS, rng))
    kept |= set(_drawn(sorted(set(examples.documents) - set(right)), DOCUMENTS - len(kept), rng))
    able = [query for query, documents in examples.relevant.items() if kept.issuperset(documents)]
    asked = _drawn(able, QUERIES, rng)
    return replace(
        examples,
        documents={key: text for key, text in examples.documents.items() if key in kept},
        queries={query: examples.queries[query] for query in asked},
        relevant={query: examples.relevant[query] for query in asked},
        depth={query: examples.depth[query] for query in asked if query in examples.depth},
    )


def _drawn(names: Sequence[str], count: int, rng: Any) -> list[str]:
    return sorted(names[i] for i in permutation(len(names), rng)[: max(count, 0)])
