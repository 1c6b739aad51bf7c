"""Vectors that were computed once: by model, plan, way to read and text."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from longspan import __version__
from longspan.encoding.encoded import Encoded
from longspan.encoding.run import Encoder
from longspan.encoding.tokens import refusal
from longspan.errors import BenchmarkError, BlankTextError, EncodeError
from longspan.extension import plan_of

_SLICE = 2_000_000  # characters encoded before they are put away: what an interrupted run loses
_TABLE = """CREATE TABLE IF NOT EXISTS vectors (
    encoder TEXT, text TEXT, vectors BLOB, rows INTEGER, given INTEGER, used INTEGER, seconds REAL,
    PRIMARY KEY (encoder, text)) WITHOUT ROWID"""


class VectorCache:
    """Vectors of texts in one SQLite file, or in memory.

    Killed at any time it keeps what was put away; several processes may share it.

    Args:
        path: The file, made with its folder where missing; None for memory.

    Raises:
        BenchmarkError: The file is no such cache.
    """

    def __init__(self, path: Path | None = None) -> None:
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._base = sqlite3.connect(path or ":memory:", timeout=60)
            self._base.execute(_TABLE)
        except sqlite3.Error as error:
            raise BenchmarkError(
                f"{path} is no cache of vectors: {error}.", "remove it, or name another file"
            ) from None

    def encode(self, encoder: Encoder, model: str, texts: Sequence[str], progress: str = "") -> tuple[Encoded, float]:
        """Encode texts, those that are not known yet.

        Args:
            encoder: What encodes; one that is extended must be so meanwhile.
            model: ``identity`` of its model without what extends it.
            texts: Any length.
            progress: Title of a progress bar on stderr, "" for none.

        Returns:
            What ``encoder.encode(texts)`` gives, without spans, and the seconds that computing it took, now or before.
            A blank text has no vector.

        Raises:
            EncodeError: A text cannot be encoded for another reason.
        """
        for place, text in enumerate(texts):
            if (error := refusal(text)) and not isinstance(error, BlankTextError):
                raise EncodeError(f"Text {place}: {error.fact}", error.hint)
        key = hashlib.sha256(f"{__version__} {model} {_how(encoder)}".encode()).hexdigest()
        names = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() for text in texts]
        known = {row[0] for row in self._base.execute("SELECT text FROM vectors WHERE encoder = ?", (key,))}
        new = {name: text for name, text in zip(names, texts, strict=True) if name not in known}
        for part in _slices(new):
            self._put(key, encoder, part, progress)
        rows = [self._row(key, name) for name in names]
        vectors = [np.frombuffer(row[0], np.float32).reshape(row[1], encoder.dimension) for row in rows]
        return Encoded(
            vectors=np.concatenate(vectors) if vectors else np.zeros((0, encoder.dimension), np.float32),
            owner=np.repeat(np.arange(len(rows)), [row[1] for row in rows]),
            spans=np.full((sum(row[1] for row in rows), 2), -1),
            given=[row[2] for row in rows],
            used=[row[3] for row in rows],
            windows=[row[1] for row in rows],
        ), sum(row[4] for row in rows)

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def _put(self, key: str, encoder: Encoder, texts: dict[str, str], progress: str) -> None:
        began = time.perf_counter()
        found = encoder.encode(list(texts.values()), on_error="keep", progress=progress)
        if wrong := [error for error in found.errors.values() if not isinstance(error, BlankTextError)]:
            raise wrong[0]
        seconds, total = time.perf_counter() - began, max(sum(found.used), 1)
        bounds = np.searchsorted(found.owner, np.arange(len(texts) + 1))
        rows = []
        for place, name in enumerate(texts):
            mine = np.ascontiguousarray(found.vectors[bounds[place] : bounds[place + 1]], dtype=np.float32)
            share = seconds * found.used[place] / total
            rows.append((key, name, mine.tobytes(), len(mine), found.given[place], found.used[place], share))
        with self._base:
            self._base.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def _row(self, key: str, name: str) -> Any:
        asked = "SELECT vectors, rows, given, used, seconds FROM vectors WHERE encoder = ? AND text = ?"
        return self._base.execute(asked, (key, name)).fetchone()


def _how(encoder: Encoder) -> str:
    """All that vectors depend on, beside the model as it was before it was extended, and the text."""
    told = {name: value for name, value in encoder.describe().items() if name not in ("model", "revision")}
    made = plan_of(encoder.model)
    return f"{sorted(told.items())} {encoder.window} {encoder.head.device.type} {made.geometry.window if made else ''}"


def _slices(texts: dict[str, str]) -> list[dict[str, str]]:
    parts: list[dict[str, str]] = []
    size = _SLICE
    for name, text in texts.items():
        if size >= _SLICE:
            parts.append({})
            size = 0
        parts[-1][name] = text
        size += len(text)
    return parts
