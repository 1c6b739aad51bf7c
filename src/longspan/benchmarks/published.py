"""Published scores on LongEmbed's tasks, to stand beside measured ones: never mixed with them."""

from __future__ import annotations

import csv
import gzip
from functools import cache
from pathlib import Path

_FILE = Path(__file__).parent / "data" / "longembed_published.csv.gz"
_BM25 = "mteb/baseline-bm25s"
_LENGTHS = tuple(2**power for power in range(8, 16))


def published(model: str, task: str, length: int | None) -> dict[str, float]:
    """What the public MTEB results repository says about a model on one of LongEmbed's tasks.

    The published needles are not those of ``Needle()``: its scores are near these, never equal.

    Args:
        model: Name on the hub with or without its organisation, in any case; "bm25" is MTEB's bm25s baseline.
        task: passkey, needle, narrativeqa, qmsum, summscreenfd or wikimqa.
        length: Nominal length [tokens] of passkey and needle, None for their mean over the eight published
            lengths; None for the real tasks.

    Returns:
        ``ndcg_at_10`` and ``acc_at_1``, in 0..1; empty where nothing is published.

    Example:
        >>> published("all-MiniLM-L6-v2", "qmsum", None)
        {'ndcg_at_10': 0.16322, 'acc_at_1': 0.0799}
    """
    scores = _scores()
    known = _names().get(model.strip().lower(), "")
    if found := scores.get((known, task, length)):
        return dict(found)
    each = [scores.get((known, task, one)) for one in _LENGTHS] if length is None else [None]
    whole = [one for one in each if one]
    if len(whole) < len(each):
        return {}
    return {metric: sum(one[metric] for one in whole) / len(whole) for metric in whole[0]}


def models() -> tuple[str, ...]:
    """Full names of the models that have published scores, sorted."""
    return tuple(sorted({model for model, _, _ in _scores()}))


@cache
def _scores() -> dict[tuple[str, str, int | None], dict[str, float]]:
    rows = csv.DictReader(gzip.decompress(_FILE.read_bytes()).decode().splitlines())
    return {
        (row["model"], row["task"], int(row["length"]) if row["length"] else None): {
            "ndcg_at_10": float(row["ndcg_at_10"]),
            "acc_at_1": float(row["ndcg_at_1"]),  # one right document: both are 1 where it stands first, else 0
        }
        for row in rows
    }


@cache
def _names() -> dict[str, str]:
    # A name without its organisation is one model's alone: a test holds that.
    full = {model.lower(): model for model in models()}
    return {"bm25": _BM25, **{name.split("/")[-1]: model for name, model in full.items()}, **full}
