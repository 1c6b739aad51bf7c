"""What short inputs lose: cosine between each text's vector before and after an extension."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from longspan import spec
from longspan.encoding.encoded import unit
from longspan.encoding.run import Encoder
from longspan.evaluation.measurement import model_facts, score
from longspan.evaluation.score import DRIFT, Score
from longspan.extension import plan_of
from longspan.identity import identity
from longspan.twin import extended_twin


def short_drift(
    model: Any,
    texts: Sequence[str],
    lengths: Sequence[int],
    *,
    to: int,
    methods: Sequence[str],
    window: int | None = None,
) -> Iterator[Score]:
    """Compare vectors of short inputs, cut to each length, with those of the model as it was.

    Args:
        model: A SentenceTransformer, not extended; it stays as it is.
        texts: Real texts at least as long as the longest length.
        lengths: Tokens, within the trained window.
        to: Target in tokens.
        methods: Specifications, each compared by itself.
        window: Trained length in tokens, where it is not what the model says.

    Yields:
        One Score per method and length, metric ``cosine``; 1 means unchanged.
    """
    own = identity(model, window=window)
    before = {n: _vectors(model, texts, n) for n in lengths}
    for method in methods:
        longer = extended_twin(model, to, method, window=window)
        label = spec.short(plan.methods) if (plan := plan_of(longer)) else ""
        for length in lengths:
            start = time.perf_counter()
            cosines = (before[length] * _vectors(longer, texts, length)).sum(1).tolist()
            yield score(
                cosines,
                **model_facts(model),
                strategy="extend",
                plan=label or "none",
                window=to,
                benchmark=DRIFT,
                task=f"{len(texts)} texts",
                length=length,
                depth=None,
                metric="cosine",
                seed=0,
                identity=own,
                seconds=time.perf_counter() - start,
            )


def _vectors(model: Any, texts: Sequence[str], length: int) -> np.ndarray:
    encoder = Encoder(model, f"truncate(window={length})", on_overflow="truncate")
    return unit(encoder.encode(texts).vectors.astype(np.float64))
