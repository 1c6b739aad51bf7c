"""What one measurement gives, and the Score made of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from longspan import __version__
from longspan.errors import BenchmarkError, PlanError, shown
from longspan.evaluation.score import Score
from longspan.planning import Plan
from longspan.seams import anatomy
from longspan.twin import extended_twin
from longspan.values import whole

PACKAGES = ("torch", "transformers", "sentence-transformers")


def seed_of(given: Any) -> int:
    """The seed of a measurement.

    Raises:
        BenchmarkError: It is no whole number.
    """
    return whole(given, "The seed", BenchmarkError, "pass seed=0")


def target_of(given: Any) -> int | None:
    """The target of an extension [tokens], None where none is given.

    Raises:
        PlanError: It is no whole number.
    """
    return None if given is None else whole(given, "The target in tokens", PlanError, "write to=4096")


def lengths_of(given: Any) -> list[int]:
    """Lengths that somebody asks for [tokens].

    Raises:
        BenchmarkError: They are no whole numbers, or no several.
    """
    hint = "pass lengths=(512, 1024, 2048, 4096)"
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise BenchmarkError(f"The lengths must be whole numbers, not {shown(given)}.", hint)
    return [whole(length, "A length in tokens", BenchmarkError, hint) for length in given]


class Read(NamedTuple):
    """How much of the inputs was read.

    Attributes:
        inputs: How many there are.
        truncated: How many were not read to their end.
        characters: Their mean length [characters].
        tokens: Their mean length in this model's tokens, None where it has none.
    """

    inputs: int
    truncated: int
    characters: float
    tokens: float | None


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        scores: How well each document answers each query ``[queries, documents]``, in the order of the set.
        seconds: Wall-clock time, that of cached vectors included [s].
        read: How much of the documents was read.
    """

    scores: np.ndarray
    seconds: float
    read: Read


@dataclass(frozen=True)
class Outcome:
    """What a model answered to a set.

    Attributes:
        outputs: Id of an example to the answer; for sets of vectors one matrix under "".
        seconds: Wall-clock time, that of cached vectors included [s].
        read: How much of the inputs was read.
    """

    outputs: dict[str, Any]
    seconds: float
    read: Read


def read_of(texts: Sequence[str], given: Sequence[int], used: Sequence[int]) -> Read:
    """The account of texts, from the tokens of each that were given and read."""
    return Read(
        len(texts),
        sum(read < whole for whole, read in zip(given, used, strict=True)),
        sum(map(len, texts)) / max(len(texts), 1),
        sum(given) / max(len(texts), 1),
    )


def model_facts(model: Any, engine: str = "torch float32") -> dict[str, Any]:
    """What a Score says about the model."""
    inner = anatomy.transformer(model)
    return {
        "model": str(inner.config._name_or_path),
        "revision": str(getattr(inner.config, "_commit_hash", None) or ""),
        "device": str(next(inner.parameters()).device),
        "engine": engine,
    }


def planned(model: Any, made: Plan | None) -> Any:
    """What is measured: the model, or a twin of it that is extended by a plan; the model itself is left alone."""
    return model if made is None else extended_twin(model, method=made)


def score(values: Sequence[float], read: Read | None = None, **facts: Any) -> Score:
    """A Score from the values of its examples, with what describes the machine and the moment."""
    n = len(values)
    mean = sum(values) / n
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1) / n) if n > 1 else 0.0
    return Score(
        value=mean,
        stderr=spread,
        n=n,
        peak_bytes=_peak_bytes(facts["device"]),
        versions={"longspan": __version__, **{name: version(name) for name in PACKAGES}},
        commit=_commit(),
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        values=tuple(round(float(value), 6) for value in values),
        **(read._asdict() if read else {}),
        **facts,
    )


def _peak_bytes(device: str) -> int:
    """Peak device memory since the last call; 0 on a CPU, where a process only knows its peak since it began."""
    if not device.startswith("cuda"):
        return 0
    import torch

    peak = torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    return int(peak)


@cache
def _commit() -> str:
    """Commit of a source checkout, "" for an installed package."""
    head = Path(__file__).parents[3] / ".git" / "HEAD"
    if not head.is_file():
        return ""
    name = head.read_text().strip()
    if not name.startswith("ref: "):
        return name[:12]
    branch = head.parent / name.removeprefix("ref: ")
    return branch.read_text().strip()[:12] if branch.is_file() else ""
