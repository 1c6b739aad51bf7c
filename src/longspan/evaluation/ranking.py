"""Scores of documents to the best ten of each query."""

from __future__ import annotations

import numpy as np

from longspan.benchmarks.retrieval import Retrieval


def best_ten(examples: Retrieval, scores: np.ndarray) -> dict[str, list[str]]:
    """The ten best documents of each query, best first.

    Args:
        examples: The set.
        scores: ``[queries, documents]``, in the order of the set.
    """
    # A stable sort: equal scores keep the order of the ids, so that a rerun gives the same ranking.
    order = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    names = list(examples.documents)
    return {query: [names[i] for i in row] for query, row in zip(examples.queries, order.tolist(), strict=True)}
