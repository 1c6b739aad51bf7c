"""Vectors that were computed once: by all that they depend on, and the text."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from longspan import __version__
from longspan.encoding.encoded import Encoded
from longspan.encoding.refusals import refusal
from longspan.encoding.run import Encoder
from longspan.errors import BenchmarkError, BlankTextError, EncodeError

Result = TypeVar("Result")
_Row = tuple[bytes, int, int, int, float]  # vectors, how many, tokens given, tokens used, seconds

_ERRORS = (sqlite3.Error, UnicodeDecodeError)
_SLICE = 2_000_000  # characters encoded before they are put away: what an interrupted run loses
_MAGIC = b"SQLite format 3\0"
_TABLE = """CREATE TABLE IF NOT EXISTS sealed (
    encoder TEXT, text TEXT, vectors BLOB, rows INTEGER, given INTEGER, used INTEGER, seconds REAL, seal BLOB,
    PRIMARY KEY (encoder, text)) WITHOUT ROWID"""
_ASKED = "SELECT vectors, rows, given, used, seconds, seal FROM sealed WHERE encoder = ? AND text = ?"
_PUT = "INSERT OR REPLACE INTO sealed VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


class VectorCache:
    """Vectors of texts in one SQLite file, or in memory.

    Killed at any time it keeps what was put away; several processes and threads may share it. Each text's vectors
    carry a seal over their bytes and what they are of: what does not match it is computed anew. A file that SQLite
    finds damaged is set aside, and another one begun.

    Args:
        path: The file, made with its folder where missing; None for memory.

    Raises:
        BenchmarkError: The file is no such cache, or cannot be opened.

    Warns:
        UserWarning: The file was damaged.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path, self._lock = path, threading.Lock()
        self._base, self._file = self._opened(), self._inode()
        self._do(lambda base: base.execute(_TABLE))
        self._file = self._inode()  # a new one is there only now
        self._row("", "")  # an error where it has other columns

    def encode(self, encoder: Encoder, texts: Sequence[str], progress: str = "") -> tuple[Encoded, float]:
        """Encode texts, those that are not known yet.

        Args:
            encoder: What encodes; its model must stay what it is meanwhile.
            texts: Any length.
            progress: Title of a progress bar on stderr, "" for none.

        Returns:
            What ``encoder.encode(texts)`` gives, without spans, and the seconds that computing it took, now or before.
            A blank text has no vector.

        Raises:
            BenchmarkError: The file cannot be read or written, or the model was changed meanwhile.
            EncodeError: A text cannot be encoded for another reason than that it is blank.
            InspectError: The model holds something that cannot be told apart.

        Warns:
            UserWarning: What it holds was damaged.
        """
        for place, text in enumerate(texts):
            if (error := refusal(text)) and not isinstance(error, BlankTextError):
                raise EncodeError(f"Text {place}: {error.fact}", error.hint)
        key = _key(encoder)
        names = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() for text in texts]
        with self._lock:
            known = self._known(key, names)
            new = {name: text for name, text in zip(names, texts, strict=True) if name not in known}
            for part in _slices(new):
                known |= self._put(key, encoder, part, progress)
        rows = [known[name] for name in names]
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

    def _known(self, key: str, names: Sequence[str]) -> dict[str, _Row]:
        """What the file holds of texts, whole."""
        found = {name: self._row(key, name) for name in dict.fromkeys(names)}
        held = {name: row for name, row in found.items() if row is not None}
        whole = {name: row[:-1] for name, row in held.items() if row[-1] == _seal(key, name, row[:-1])}
        if len(whole) < len(held):
            lost = len(held) - len(whole)
            warnings.warn(f"{self._path}: the vectors of {lost:,} texts were damaged; they are made anew", stacklevel=4)
        return whole

    def _row(self, key: str, name: str) -> Any:
        return self._do(lambda base: base.execute(_ASKED, (key, name)).fetchone())

    def _put(self, key: str, encoder: Encoder, texts: dict[str, str], progress: str) -> dict[str, _Row]:
        began = time.perf_counter()
        found = encoder.encode(list(texts.values()), on_error="keep", progress=progress)
        if wrong := [error for error in found.errors.values() if not isinstance(error, BlankTextError)]:
            raise wrong[0]
        if _key(encoder) != key:
            raise BenchmarkError(
                "The model was changed while it encoded; its vectors are nobody's.", "change it when nothing reads it"
            )
        seconds, total = time.perf_counter() - began, max(sum(found.used), 1)
        bounds = np.searchsorted(found.owner, np.arange(len(texts) + 1))
        made: dict[str, _Row] = {}
        for place, name in enumerate(texts):
            mine = np.ascontiguousarray(found.vectors[bounds[place] : bounds[place + 1]], dtype=np.float32)
            share = seconds * found.used[place] / total
            made[name] = mine.tobytes(), len(mine), found.given[place], found.used[place], share
        rows = [(key, name, *row, _seal(key, name, row)) for name, row in made.items()]

        def write(base: sqlite3.Connection) -> None:
            with base:
                base.executemany(_PUT, rows)

        self._do(write)
        return made

    def _do(self, act: Callable[[sqlite3.Connection], Result]) -> Result:
        """Do something with the file; where that shows damage, with a new one."""
        try:
            return act(self._base)
        except _ERRORS as error:
            # What is of a kind of its own is no damage: a full disk, a lock. The text of a damaged table is no UTF-8.
            if self._path is None or type(error) not in (sqlite3.DatabaseError, UnicodeDecodeError):
                raise self._told(error) from None
            self._set_aside(self._path, error)
        try:
            return act(self._base)
        except _ERRORS as error:
            raise self._told(error) from None

    def _opened(self) -> sqlite3.Connection:
        path = self._path
        try:
            if path:
                path.parent.mkdir(parents=True, exist_ok=True)
                if path.is_file() and not _MAGIC.startswith(head := _head(path)):
                    raise sqlite3.DatabaseError(f"it begins with {head!r}")
            base = sqlite3.connect(path or ":memory:", timeout=60, check_same_thread=False)
        except (OSError, ValueError, sqlite3.Error) as error:
            raise BenchmarkError(
                f"{path} is no cache of vectors: {error}.", "remove it, or name another file"
            ) from None
        base.text_factory = lambda data: data.decode("utf-8", "replace")
        return base

    def _set_aside(self, path: Path, error: Exception) -> None:
        kept = path.with_name(f"{path.name}.damaged")
        self._base.close()
        try:
            if self._inode() == self._file:  # another process may have done it
                path.replace(kept)
                path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
                told = f"{path} was damaged ({error}); it is kept as {kept.name}, and vectors are made anew"
                warnings.warn(told, stacklevel=5)
        except OSError as reason:
            raise BenchmarkError(f"{path} is damaged, and cannot be moved: {reason}.", "name another file") from None
        self._base = self._opened()
        try:
            self._base.execute(_TABLE)
            self._file = self._inode()
        except _ERRORS as reason:
            raise self._told(reason) from None

    def _inode(self) -> int:
        return os.stat(self._path).st_ino if self._path and self._path.exists() else 0

    def _told(self, error: Exception) -> BenchmarkError:
        if "no such" in str(error) or "has no column" in str(error) or "values were supplied" in str(error):
            return BenchmarkError(f"{self._path} has another layout: {error}.", "name another file, or remove this one")
        return BenchmarkError(
            f"{self._path or 'The cache in memory'} cannot be read or written: {error}.",
            "free some space and close what else uses it, or name another file",
        )


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(_MAGIC))


def _seal(key: str, name: str, row: Sequence[Any]) -> bytes:
    """A digest of a row and of what it is of."""
    digest = hashlib.blake2b(f"{key} {name} {row[1:]!r} ".encode(), digest_size=16)
    digest.update(row[0] if isinstance(row[0], bytes) else repr(row[0]).encode())
    return digest.digest()


def _key(encoder: Encoder) -> str:
    """A digest of all that vectors depend on, beside the text."""
    told = {name: value for name, value in encoder.describe().items() if name not in ("model", "revision")}
    told |= {"window": encoder.window}
    how = json.dumps([__version__, encoder.head.device.type, told], sort_keys=True)
    return hashlib.sha256(how.encode()).hexdigest()


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
