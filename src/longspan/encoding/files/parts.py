"""Parts: the vectors of one shard on disk, and the folder that keeps them until all are there."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from longspan.encoding.encoded import Encoded
from longspan.encoding.files.rows import Row
from longspan.encoding.strategy import takes_spans
from longspan.errors import EncodeError
from longspan.values import fitted

_ROW_FACTS = ("place", "tokens", "read", "windows")
_VECTOR_FACTS = ("owner", "chunk", "start", "end")
_SEAL = 16  # bytes


@dataclass(frozen=True)
class Counts:
    """What became of rows; counts of parts add up.

    Attributes:
        rows: All rows, those with an error too.
        vectors: Vectors written.
        tokens: Tokens given.
        read: Tokens that a window has read.
        errors: Rows without a vector because of an error.
        overflowed: Rows of which tokens were dropped.
        overflowed_tokens: Tokens of those rows.
        overflowed_read: Tokens of those rows that a window has read.
        longest: Tokens of the longest of those rows.
    """

    rows: int = 0
    vectors: int = 0
    tokens: int = 0
    read: int = 0
    errors: int = 0
    overflowed: int = 0
    overflowed_tokens: int = 0
    overflowed_read: int = 0
    longest: int = 0

    def __add__(self, other: Counts) -> Counts:
        added = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return Counts(**{**added, "longest": max(self.longest, other.longest)})

    @classmethod
    def from_json(cls, data: Any) -> Counts:
        """Read what `dataclasses.asdict` gave.

        Raises:
            ValueError: It is not that.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(data, dict) or sorted(data) != sorted(names):
            raise ValueError("these are no counts")
        made = cls(**{name: fitted(data[name], int) for name in names})
        if min(data.values()) < 0 or not made.overflowed <= made.overflowed_tokens >= made.overflowed_read:
            raise ValueError("these counts do not agree")
        return made

    def overflow(self) -> str:
        """One line on what was dropped, as `Encoded.overflow` writes it, "" when nothing was."""
        if not self.overflowed:
            return ""
        share = 1 - self.overflowed_read / self.overflowed_tokens
        return f"{self.overflowed:,} of {self.rows:,} inputs lost {share:.0%} of their tokens."


@dataclass(frozen=True)
class Part:
    """The vectors of a shard's rows.

    Attributes:
        vectors: float32 ``[vectors, dimension]``.
        owner: Which of the shard's rows each vector belongs to, int64 ``[vectors]``.
        chunk: Number of the vector within its text, int32 ``[vectors]``.
        start: Where what it stands for begins [characters], -1 for unknown, int64 ``[vectors]``.
        end: Where that ends.
        place: Number of each row among all rows of the input, int64 ``[rows]``.
        tokens: Tokens of each row, int64 ``[rows]``.
        read: Tokens of each row that a window has read.
        windows: Forward passes each row took part in, int32 ``[rows]``.
        ids: Id of each row.
        errors: What to write for each row that could not be encoded: row, id, source, line, error, hint.
    """

    vectors: np.ndarray
    owner: np.ndarray
    chunk: np.ndarray
    start: np.ndarray
    end: np.ndarray
    place: np.ndarray
    tokens: np.ndarray
    read: np.ndarray
    windows: np.ndarray
    ids: list[str]
    errors: list[dict[str, Any]]

    def counts(self) -> Counts:
        """What became of the rows."""
        cut = self.read < self.tokens
        numbers = (self.tokens.sum(), self.read.sum(), len(self.errors))
        dropped = (cut.sum(), self.tokens[cut].sum(), self.read[cut].sum(), self.tokens[cut].max(initial=0))
        return Counts(len(self.ids), len(self.vectors), *map(int, numbers + dropped))

    def lines(self) -> Iterator[dict[str, Any]]:
        """What is told of each vector: id, row, chunk, start, end, tokens, read, windows."""
        for number, owner in enumerate(self.owner.tolist()):
            yield {
                "id": self.ids[owner],
                "row": int(self.place[owner]),
                **{name: int(getattr(self, name)[number]) for name in ("chunk", "start", "end")},
                **{name: int(getattr(self, name)[owner]) for name in ("tokens", "read", "windows")},
            }


def encode_rows(encoder: Any, rows: Sequence[Row]) -> Part:
    """Encode rows; those that cannot be are told in the part's errors, the rest is unharmed.

    Args:
        encoder: A `longspan.encoding.run.Encoder`, or whatever has its ``encode`` and ``dimension``.
        rows: As a shard gives them.
    """
    good = [number for number, row in enumerate(rows) if row.text is not None]
    failed = {number: row.error for number, row in enumerate(rows) if row.error is not None}
    numbers = {name: np.zeros(len(rows), dtype=np.int64) for name in ("tokens", "read", "windows")}
    vectors, owner, spans = np.zeros((0, encoder.dimension)), np.zeros(0, dtype=np.int64), np.zeros((0, 2))
    if good:
        takes = takes_spans(getattr(encoder, "strategy", None))  # a field of the input may be there for others
        asked = [rows[number].spans for number in good]
        encoded: Encoded = encoder.encode(
            [rows[number].text for number in good],
            spans=asked if takes and any(spans is not None for spans in asked) else None,
            on_error="keep",
        )
        vectors, spans, owner = encoded.vectors, encoded.spans, np.asarray(good)[encoded.owner]
        for name, told in (("tokens", encoded.given), ("read", encoded.used), ("windows", encoded.windows)):
            numbers[name][good] = told
        failed |= {good[place]: error for place, error in encoded.errors.items()}
        for name in numbers:
            numbers[name][list(failed)] = 0
    first = np.searchsorted(owner, owner) if len(owner) else owner
    return Part(
        np.ascontiguousarray(vectors, dtype="<f4"),
        owner.astype(np.int64),
        (np.arange(len(owner)) - first).astype(np.int32),
        spans[:, 0].astype(np.int64),
        spans[:, 1].astype(np.int64),
        np.array([row.place for row in rows], dtype=np.int64),
        numbers["tokens"],
        numbers["read"],
        numbers["windows"].astype(np.int32),
        [row.id for row in rows],
        [_told(rows[number], failed[number]) for number in sorted(failed)],
    )


@dataclass(frozen=True)
class Parts:
    """The folder of a job's parts; any process may write one, and each part is whole or not there.

    Attributes:
        folder: Where they are.
        job: The job's fingerprint; it is in the names, so that a stray process of another job does no harm.
        encoder: What each worker's encoder has to be, as ``meaning`` tells it; "" for any.
    """

    folder: Path
    job: str
    encoder: str = ""

    def path(self, index: int) -> Path:
        """The file of a shard's part."""
        return self.folder / f"{index:08d}.{self.job[:12]}.npz"

    def write(self, index: int, part: Part) -> Counts:
        """Put a part in its place: on the disk under another name first, then renamed."""
        counts = part.counts()
        told = {"ids": part.ids, "errors": part.errors, "counts": asdict(counts)}
        memory = io.BytesIO()
        arrays: dict[str, Any] = {name: getattr(part, name) for name in ("vectors", *_VECTOR_FACTS, *_ROW_FACTS)}
        arrays |= {name: np.frombuffer(json.dumps(value).encode(), dtype=np.uint8) for name, value in told.items()}
        np.savez(memory, **arrays)
        data = memory.getvalue()
        write_whole(self.path(index), data + self._seal(index, data))
        return counts

    def read(self, index: int) -> Part:
        """Read a part.

        Raises:
            EncodeError: It is not there, or damaged.
        """
        if (held := self._held(index)) is None:
            raise EncodeError(f"The part {self.path(index)} is gone or damaged.", "remove it and run again")
        with held:
            arrays = {name: held[name] for name in ("vectors", *_VECTOR_FACTS, *_ROW_FACTS)}
            return Part(**arrays, ids=_json(held["ids"]), errors=_json(held["errors"]))

    def done(self, count: int) -> dict[int, Counts]:
        """Counts of the parts that are there, of so many; a damaged one is removed, to be done again."""
        found = {}
        for index in range(count):
            if held := self._held(index):
                with held:
                    found[index] = Counts.from_json(_json(held["counts"]))
            else:
                self.path(index).unlink(missing_ok=True)
        return found

    def _held(self, index: int) -> Any:
        """The arrays of a part, None where it is not there or not what was written under this number."""
        try:
            data = self.path(index).read_bytes()
        except OSError:
            return None
        whole = self._seal(index, data[:-_SEAL]) == data[-_SEAL:]
        return np.load(io.BytesIO(data[:-_SEAL]), allow_pickle=False) if whole else None

    def _seal(self, index: int, data: bytes) -> bytes:
        """A digest that holds for one job and one shard: a part is no other's, whatever it is called."""
        digest = hashlib.blake2b(f"{self.job} {index} ".encode(), digest_size=_SEAL)
        digest.update(data)
        return digest.digest()


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is whole under its name, or not there at all, whenever the machine stops.

    Raises:
        EncodeError: It cannot be written.
    """
    partial = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise EncodeError(
            f"{path} could not be written: {error.strerror or error}.", "free some space, then run again: it goes on"
        ) from None


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _told(row: Row, error: EncodeError) -> dict[str, Any]:
    where = {"row": row.place, "id": row.id, "source": row.source, "line": row.line}
    source = row.source.encode("utf-8", "replace").decode()  # a path may hold bytes that are no UTF-8
    return {**where, "source": source, "error": error.fact, "hint": error.hint}


def _json(data: np.ndarray) -> Any:
    return json.loads(data.tobytes())
