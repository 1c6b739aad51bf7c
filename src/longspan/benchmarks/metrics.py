"""Metrics of rankings."""

from __future__ import annotations

import math
from collections.abc import Sequence


def score_ranking(relevant: Sequence[str], ranking: Sequence[str]) -> dict[str, float]:
    """Score a ranking of documents (Jarvelin & Kekalainen 2002, binary gain).

    DCG@10 = sum of 1 / log2(rank + 1) over the right documents ranked 10 or better; nDCG@10 divides by that of the
    best ranking. Acc@1 = 1 where the first document is right.

    Args:
        relevant: Ids of the right documents.
        ranking: Document ids, best first; may be cut or empty.

    Returns:
        ``ndcg_at_10`` and ``acc_at_1``, both in 0..1.
    """
    gain = [1 / math.log2(place + 2) for place in range(10)]
    right = set(relevant)
    found = [document in right for document in ranking[:10]]
    told = sum(g for g, hit in zip(gain, found, strict=False) if hit)
    return {"ndcg_at_10": told / sum(gain[: len(right)]), "acc_at_1": float(found[:1] == [True])}
