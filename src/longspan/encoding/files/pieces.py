"""Pieces of input files: ranges that any process can read by itself, and knows to be unchanged."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from longspan.encoding.files.rows import BOM, Columns, Row, from_document, from_line
from longspan.errors import EncodeError

GZ = "jsonl.gz"


@dataclass(frozen=True)
class Limits:
    """How large a piece, and a shard of pieces, may be; one row may exceed the bytes.

    Attributes:
        rows: At most so many rows.
        size: At most so many bytes of input.
    """

    rows: int = 256
    size: int = 4 * 2**20


@dataclass(frozen=True)
class Piece:
    """Rows of one file that lie side by side.

    Attributes:
        path: The file, as it was given.
        form: "jsonl", "jsonl.gz", "document" or "parquet".
        place: Number of its first row among all rows of the input.
        rows: How many.
        line: Line of its first byte in the file, from 1; of a Parquet file, its first row.
        offset: Where it begins [bytes of the file, uncompressed]; of a Parquet file, the first row in its group.
        size: Its bytes, uncompressed; an estimate for Parquet.
        digest: Hash of its bytes; of a Parquet file, those of its footer and of the row group's columns that are read.
        group: Row group of a Parquet file.
    """

    path: str
    form: str
    place: int
    rows: int
    line: int
    offset: int
    size: int
    digest: str
    group: int = -1


def scan_lines(path: str, form: str, place: int, limits: Limits) -> Iterator[Piece]:
    """Pieces of a JSON-lines file in one streaming pass; blank lines are no rows.

    Raises:
        EncodeError: The file cannot be read to its end.
    """
    with told(path), _opened(path, form) as stream:
        offset = start = rows = 0
        line = first = 1
        digest = _hash()
        for raw in stream:
            if rows and (rows == limits.rows or offset + len(raw) - start > limits.size):
                yield Piece(path, form, place, rows, first, start, offset - start, digest.hexdigest())
                place, rows, first, start, digest = place + rows, 0, line, offset, _hash()
            if rows or not _blank(raw, offset):
                rows += not _blank(raw, offset)
                digest.update(raw)
            else:
                start, first = offset + len(raw), line + 1
            offset, line = offset + len(raw), line + 1
        if rows:
            yield Piece(path, form, place, rows, first, start, offset - start, digest.hexdigest())


def scan_document(path: str, place: int) -> Iterator[Piece]:
    """The one piece of a file that is one document.

    Raises:
        EncodeError: The file cannot be read.
    """
    with told(path):
        data = Path(path).read_bytes()
    yield Piece(path, "document", place, 1, 1, 0, len(data), _hash(data).hexdigest())


def read_lines(piece: Piece, columns: Columns, stream: IO[bytes]) -> Iterator[Row]:
    """The rows of a JSON-lines piece.

    Args:
        piece: What to read.
        columns: Where a row keeps what.
        stream: Its file, open, uncompressed.

    Raises:
        EncodeError: The file changed since it was scanned.
    """
    with told(piece.path):
        stream.seek(piece.offset)
        data = stream.read(piece.size)
    _check(piece, data)
    place, offset = piece.place, piece.offset
    for number, raw in enumerate(data.split(b"\n"), start=piece.line):
        if not _blank(raw, offset):
            line = raw.removeprefix(BOM) if offset == 0 else raw
            yield from_line(line, place, piece.path, number, columns)
            place += 1
        offset += len(raw) + 1


def read_document(piece: Piece) -> Iterator[Row]:
    """The row of a document.

    Raises:
        EncodeError: The file changed since it was scanned.
    """
    with told(piece.path):
        data = Path(piece.path).read_bytes()
    _check(piece, data)
    yield from_document(data, piece.place, piece.path)


def open_lines(piece: Piece) -> IO[bytes]:
    """The file of a JSON-lines piece, uncompressed."""
    with told(piece.path):
        return _opened(piece.path, piece.form)


def changed(path: str) -> EncodeError:
    """The error for a file that is not what it was."""
    return EncodeError(
        f"{path} changed while it was being encoded.",
        "leave it alone, then run again with --overwrite or another --out",
    )


@contextmanager
def told(path: str) -> Iterator[None]:
    """Errors of reading a file, told as longspan's own."""
    try:
        yield
    except FileNotFoundError:
        raise EncodeError(f"There is no file {path}.", "check the path") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise EncodeError(f"{path} is damaged or cut short: {error}.", "check it with gzip --test") from None
    except OSError as error:
        raise EncodeError(f"{path} cannot be read: {error.strerror or error}.", "give a readable file") from None


def _opened(path: str, form: str) -> IO[bytes]:
    stream: Any = gzip.open(path, "rb") if form == GZ else Path(path).open("rb")  # noqa: SIM115  # the caller's to close
    return stream  # type: ignore[no-any-return]  # gzip is typed as a reader of its own


def _blank(raw: bytes, offset: int) -> bool:
    return not (raw.removeprefix(BOM) if offset == 0 else raw).strip()


def _check(piece: Piece, data: bytes) -> None:
    if _hash(data).hexdigest() != piece.digest:
        raise changed(piece.path)


def _hash(data: bytes = b"") -> Any:
    return hashlib.blake2b(data, digest_size=16)
