"""Scores of documents to rankings: the best ten, and the fusion of two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from longspan.benchmarks.tasks import Retrieval


def best_ten(examples: Retrieval, scores: np.ndarray) -> dict[str, list[str]]:
    """The ten best documents of each query, best first.

    Args:
        examples: The set.
        scores: ``[queries, documents]``, in the order of the set.
    """
    # A stable sort: equal scores keep the order of the ids, so that a rerun gives the same ranking.
    order = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    names = list(examples.documents)
    return {
        query: [names[place] for place in row if own[place] > -np.inf]  # a document without a vector is never found
        for query, row, own in zip(examples.queries, order.tolist(), scores, strict=True)
    }


def fuse(scores: Sequence[np.ndarray], constant: int = 60) -> np.ndarray:
    """Reciprocal rank fusion (Cormack, Clarke and Buettcher 2009): sum of 1 / (constant + rank).

    Args:
        scores: Of each search, ``[queries, documents]``.
        constant: How little the first ranks stand out; 60 in the paper.

    Returns:
        ``[queries, documents]``.
    """
    fused = np.zeros_like(scores[0], dtype=np.float64)
    places = np.arange(1, len(fused.T) + 1)
    for one in scores:
        order = np.argsort(-one, axis=1, kind="stable")
        gain = (np.take_along_axis(one, order, axis=1) > -np.inf) / (constant + places)
        np.put_along_axis(fused, order, np.take_along_axis(fused, order, axis=1) + gain, axis=1)
    return fused
