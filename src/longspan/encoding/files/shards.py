"""Shards: the unit of work on files, cut by the input alone, never by how many processes share it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from longspan.encoding.files.pieces import (
    GZ,
    Limits,
    Piece,
    open_lines,
    read_document,
    read_lines,
    scan_document,
    scan_lines,
)
from longspan.encoding.files.rows import Columns, Row
from longspan.encoding.files.tables import Cursor, scan_table
from longspan.errors import EncodeError
from longspan.texts import listed

FORMS = {
    ".jsonl.gz": GZ,
    ".ndjson.gz": GZ,
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".txt": "document",
    ".md": "document",
    ".parquet": "parquet",
}


@dataclass(frozen=True)
class Shard:
    """Rows that are encoded together and written as one part; small, and the same in every process.

    Attributes:
        index: Its number, from 0.
        pieces: What it reads, in order.
        columns: Where a row keeps what.
    """

    index: int
    pieces: tuple[Piece, ...]
    columns: Columns

    @property
    def count(self) -> int:
        """How many rows."""
        return sum(piece.rows for piece in self.pieces)

    @property
    def size(self) -> int:
        """Bytes of input, uncompressed; an estimate for Parquet."""
        return sum(piece.size for piece in self.pieces)

    def to_json(self) -> str:
        """One line of JSON, for engines that send plain values."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Shard:
        """What `to_json` wrote."""
        told = json.loads(text)
        return cls(told["index"], tuple(Piece(**piece) for piece in told["pieces"]), Columns(**told["columns"]))

    def rows(self, reader: Reader | None = None) -> list[Row]:
        """Read the rows.

        Args:
            reader: Keeps a file open between shards; None opens and closes.

        Raises:
            EncodeError: A file is gone, or changed since it was scanned.
        """
        if reader is None:
            with Reader() as reader:
                return self.rows(reader)
        return [row for piece in self.pieces for row in reader.rows(piece, self.columns)]


class Reader:
    """Reads pieces and keeps the last file open.

    Neither gzip nor a Parquet row group can be entered in the middle. A worker meets shards in ascending
    order, so going on where the last piece ended reads each file once a worker, not once a shard.
    """

    def __init__(self) -> None:
        self._stream: IO[bytes] | None = None
        self._path = ""
        self._cursor: Cursor | None = None

    def rows(self, piece: Piece, columns: Columns) -> Iterator[Row]:
        """The rows of a piece."""
        if piece.form == "document":
            return read_document(piece)
        if piece.form == "parquet":
            if self._cursor is None or not self._cursor.serves(piece):
                self.close()
                self._cursor = Cursor(piece, columns)
            return self._cursor.rows(piece)
        if self._stream is None or self._path != piece.path:
            self.close()
            self._stream, self._path = open_lines(piece), piece.path
        return read_lines(piece, columns, self._stream)

    def close(self) -> None:
        """Close what is open."""
        if self._stream is not None:
            self._stream.close()
        if self._cursor is not None:
            self._cursor.close()
        self._stream = self._cursor = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def shards(
    paths: Sequence[str | Path],
    columns: Columns | None = None,
    limits: Limits | None = None,
    *,
    without: Sequence[str | Path] = (),
) -> list[Shard]:
    """Cut files into shards in one streaming pass.

    Args:
        paths: Files, and folders to walk: .jsonl, .ndjson, either with .gz, .txt, .md, .parquet. A text or
            Markdown file is one document.
        columns: Where a row keeps its text, id and spans.
        limits: How large a shard may be.
        without: Outputs, which are no input of a folder.

    Raises:
        EncodeError: There are no files, or one is missing, damaged, or of an unknown kind.

    Example:
        >>> [row.id for shard in shards(["corpus.jsonl"]) for row in shard.rows()]
        ['a', 'b']
    """
    columns, limits = columns or Columns(), limits or Limits()
    if limits.rows < 1 or limits.size < 1:
        raise EncodeError(f"A shard of {limits.rows} rows and {limits.size} bytes holds nothing.", "use at least 1")
    found: list[Shard] = []
    held: list[Piece] = []
    place = 0
    for path in files(paths, without=without):
        for piece in scan(path, place, columns, limits):
            rows, size = sum(p.rows for p in held) + piece.rows, sum(p.size for p in held) + piece.size
            if held and (rows > limits.rows or size > limits.size):
                found.append(Shard(len(found), tuple(held), columns))
                held = []
            held.append(piece)
            place += piece.rows
    if held:
        found.append(Shard(len(found), tuple(held), columns))
    return found


def files(paths: Sequence[str | Path], *, without: Sequence[str | Path] = ()) -> list[str]:
    """The input files, folders walked in sorted order, hidden files and folders left out.

    Raises:
        EncodeError: There are none, or one is missing or of an unknown kind.
    """
    known = ", ".join(FORMS)
    if isinstance(paths, (str, Path)) or not (given := listed(paths, "files")):
        raise EncodeError("No list of files was given.", f"give at least one file or folder: {known}")
    found: list[str] = []
    for path in map(str, given):
        if os.path.isdir(path):
            inside = sorted(_walk(path, without))
            if not inside:
                raise EncodeError(f"The folder {path} holds no file to encode.", f"longspan reads {known}")
            found += inside
        elif not os.path.exists(path):
            raise EncodeError(f"There is no file {path}.", "check the path")
        elif not form_of(path):
            raise EncodeError(f"{path} is of no kind that longspan reads.", f"give one of {known}")
        else:
            found.append(path)
    return found


def form_of(path: str) -> str:
    """The form of a file by its name, "" for an unknown one."""
    return next((form for suffix, form in FORMS.items() if path.lower().endswith(suffix)), "")


def _walk(folder: str, without: Sequence[str | Path]) -> Iterator[str]:
    outputs = [os.path.abspath(path) for path in without]
    for place, folders, names in os.walk(folder, onerror=_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = os.path.join(place, name)
            if form_of(name) and not name.startswith(".") and os.path.abspath(path) not in outputs:
                yield path


def _unreadable(error: OSError) -> None:
    raise EncodeError(f"{error.filename} cannot be read: {error.strerror}.", "give a readable folder") from None


def scan(path: str, place: int, columns: Columns, limits: Limits) -> Iterator[Piece]:
    """The pieces of one file, found while it is read.

    Args:
        path: A file of a known form.
        place: Number of its first row among all rows of the input.
        columns: Where a row keeps what.
        limits: How large a piece may be.

    Raises:
        EncodeError: The file cannot be read to its end, lacks a column, or is no file.
    """
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe would be waited for
        raise EncodeError(f"{path} is no file but a pipe, a socket or a device.", "give files, which can be read twice")
    form = form_of(path)
    if form == "document":
        return scan_document(path, place)
    if form == "parquet":
        return scan_table(path, place, columns, limits)
    return scan_lines(path, form, place, limits)
