"""bench: which backend is fastest for a model, on the user's documents and machine."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from longspan.encoding.encoded import unit
from longspan.encoding.engines import DTYPES
from longspan.encoding.run import Encoder
from longspan.errors import EncodeError
from longspan.reading import Strategy
from longspan.texts import listed
from longspan.values import whole

EXACT = 0.99999
"""Smallest cosine to float32 at which vectors count as the same."""


@dataclass(frozen=True)
class Trial:
    """How one backend did.

    Attributes:
        name: Backend and data type, such as "openvino float32".
        tokens_per_second: Median over the rounds.
        tokens_per_cpu_second: The same by the CPU time of all threads, which other jobs on the machine disturb less.
        ratio: Median over the rounds of its speed to that of torch float32 in the same round.
        cosine: Smallest cosine of a vector to that of torch float32.
        error: Why it did not run, "" where it did; then all numbers are 0.
    """

    name: str
    tokens_per_second: float = 0.0
    tokens_per_cpu_second: float = 0.0
    ratio: float = 0.0
    cosine: float = 0.0
    error: str = ""

    @property
    def exact(self) -> bool:
        """Whether its vectors are those of torch float32."""
        return self.cosine >= EXACT


def bench(
    model: Any,
    texts: Iterable[str],
    strategy: str | Strategy | None = None,
    *,
    rounds: int = 5,
    seed: int = 0,
    **options: Any,
) -> list[Trial]:
    """Run every backend on the same texts, in rounds of random order, so that drift of the machine hits all alike.

    Args:
        model: A SentenceTransformer.
        texts: Documents of the user, read as ``encode`` reads them.
        strategy: As for ``encode``.
        rounds: How often each backend encodes all texts.
        seed: Of the order in a round.
        **options: Those of ``Encoder``, without backend and dtype.

    Returns:
        Fastest first; those that did not run last.

    Raises:
        EncodeError: There are no texts, or torch itself cannot encode them.
    """
    texts = listed(texts)
    rounds = whole(rounds, "The number of rounds", EncodeError, "pass rounds=5")
    seed = whole(seed, "The seed", EncodeError, "pass seed=0")
    if not texts or rounds < 1:
        raise EncodeError(f"{len(texts)} texts and {rounds} rounds measure nothing.", "give at least one of each")
    usual = ("torch", "float32")
    encoders: dict[tuple[str, str], Encoder] = {}
    failed: list[Trial] = []
    vectors: dict[tuple[str, str], np.ndarray] = {}
    read = 0
    pairs = [(backend, dtype) for backend, dtypes in DTYPES.items() for dtype in dtypes]
    if next(model.parameters()).device.type == "cpu":
        pairs.remove(("torch", "float16"))  # no CPU computes in it
    for pair in [usual, *(pair for pair in pairs if pair != usual)]:
        backend, dtype = pair
        try:
            encoder = Encoder(model, strategy, backend=backend, dtype=dtype, on_overflow="truncate", **options)
            encoded = encoder.encode(texts)  # also warms it up
        except EncodeError as error:
            if pair == usual:
                raise
            failed.append(Trial(" ".join(pair), error=error.fact))
            continue
        encoders[pair], vectors[pair], read = encoder, unit(encoded.vectors), sum(encoded.used)
    wall: dict[tuple[str, str], list[float]] = {pair: [] for pair in encoders}
    cpu: dict[tuple[str, str], list[float]] = {pair: [] for pair in encoders}
    order, draw = list(encoders), random.Random(seed)  # noqa: S311 an order, not a secret
    for _ in range(rounds):
        draw.shuffle(order)
        for pair in order:
            start, spent = time.perf_counter(), time.process_time()
            encoders[pair].encode(texts)
            wall[pair].append(time.perf_counter() - start)
            cpu[pair].append(time.process_time() - spent)
    trials = [
        Trial(
            " ".join(pair),
            read / median(wall[pair]),
            read / median(cpu[pair]),
            median(base / own for base, own in zip(wall[usual], wall[pair], strict=True)),
            float((vectors[pair] * vectors[usual]).sum(axis=1).min()),
        )
        for pair in encoders
    ]
    return sorted(trials, key=lambda trial: -trial.ratio) + failed


def verdict(trials: Sequence[Trial]) -> str:
    """One or two lines on which backend to take."""
    ran = [trial for trial in trials if not trial.error]
    exact = next(trial for trial in ran if trial.exact)
    lines = [f"fastest with the same vectors: {_option(exact)} ({exact.ratio:.2f}x torch float32)"]
    if ran[0] is not exact:
        lines.append(f"faster at a cosine of {ran[0].cosine:.4f}: {_option(ran[0])} ({ran[0].ratio:.2f}x)")
    return "\n".join(lines)


def _option(trial: Trial) -> str:
    backend, dtype = trial.name.split()
    return f"--backend {backend} --dtype {dtype}"
