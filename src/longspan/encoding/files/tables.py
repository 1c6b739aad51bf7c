"""Parquet files as input: pieces of row groups, read forward."""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from longspan.encoding.files.pieces import Limits, Piece, changed, told
from longspan.encoding.files.rows import Columns, Row, from_fields
from longspan.errors import EncodeError, one_line, require

_AT_ONCE = 1 << 20  # bytes
_TEXT = ("string", "large_string", "string_view")
_DENSEST = 4096  # rows a byte: a page holds 20,000 rows as writers make them, and has a header of more than 20 bytes


def scan_table(path: str, place: int, columns: Columns, limits: Limits) -> Iterator[Piece]:
    """Pieces of a Parquet file, from its footer; the columns that are read are hashed, not decoded.

    Raises:
        EncodeError: pyarrow is missing, the file cannot be read, or a column that is asked for is not there.
    """
    with _opened(path) as table:
        _check_columns(path, table.schema_arrow, columns)
        _check_rows(path, table.metadata)
        line = 1
        for group in range(table.num_row_groups):
            facts = table.metadata.row_group(group)
            if not facts.num_rows:
                continue
            digest = _digest(path, table, group, columns)
            # How long each text is stands nowhere but in the data: the mean has to do.
            mean = max(_chunks(table, group, columns.text)[0].total_uncompressed_size / facts.num_rows, 1.0)
            step = max(min(limits.rows, int(limits.size / mean)), 1)
            for offset in range(0, facts.num_rows, step):
                rows = min(step, facts.num_rows - offset)
                yield Piece(path, "parquet", place, rows, line, offset, int(rows * mean), digest, group)
                place, line = place + rows, line + rows


class Cursor:
    """The rows of one row group, read forward; pieces that are asked for in order decode it once."""

    def __init__(self, piece: Piece, columns: Columns) -> None:
        self._piece, self._columns, self._next = piece, columns, 0
        self._context = _opened(piece.path)
        table = self._context.__enter__()
        if _digest(piece.path, table, piece.group, columns) != piece.digest:
            self.close()
            raise changed(piece.path)
        self._cells = _cells(table, piece, columns)

    def serves(self, piece: Piece) -> bool:
        """Whether a piece lies ahead in this very row group."""
        ours = (self._piece.path, self._piece.group, self._piece.digest)
        return ours == (piece.path, piece.group, piece.digest) and piece.offset >= self._next

    def rows(self, piece: Piece) -> Iterator[Row]:
        """The rows of a piece that this cursor serves."""
        ahead, self._next = piece.offset - self._next, piece.offset + piece.rows
        with _told(piece.path):
            found = list(islice(self._cells, ahead, ahead + piece.rows))
        if len(found) < piece.rows:
            raise _damaged(piece.path, f"its row group {piece.group} ends early")
        for number, cells in enumerate(found):
            yield from_fields(cells, piece.place + number, piece.path, piece.line + number, self._columns)

    def close(self) -> None:
        """Close the file."""
        self._context.__exit__(None, None, None)


def arrow(needed_for: str) -> Any:
    """The module pyarrow, with pyarrow.parquet in it.

    Raises:
        EncodeError: pyarrow is not installed.
    """
    require("pyarrow.parquet", needed_for, "parquet", EncodeError)
    return importlib.import_module("pyarrow")


def _cells(table: Any, piece: Piece, columns: Columns) -> Iterator[dict[str, Any]]:
    wanted = _wanted(table, columns)
    sayable = {name: _is_sayable(table.schema_arrow.field(name).type) for name in wanted}
    for batch in table.iter_batches(batch_size=256, row_groups=[piece.group], columns=wanted, use_threads=False):
        for row in range(batch.num_rows):
            yield {name: _cell(batch.column(name)[row], sayable[name]) for name in wanted}


def _cell(scalar: Any, sayable: bool) -> Any:
    if not scalar.is_valid:
        return None
    if not sayable:
        return EncodeError(f"a cell is a {scalar.type}.", "give a string or a number, or name another column")
    try:
        return scalar.as_py()
    except UnicodeDecodeError as error:  # Arrow does not check what a string column holds
        return EncodeError(f"byte {error.start} of a cell is not UTF-8.", "write the column as UTF-8")


def _is_sayable(kind: Any) -> bool:
    """Whether a row may hold it; a time is not made into Python's, which may not have that year or zone."""
    types = arrow("Reading Parquet").types
    if types.is_dictionary(kind) or types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _is_sayable(kind.value_type)
    plain = (types.is_integer, types.is_floating, types.is_boolean, types.is_null)
    return str(kind) in _TEXT or any(fits(kind) for fits in plain)


def _wanted(table: Any, columns: Columns) -> list[str]:
    """The columns that are read, those that are there."""
    named = dict.fromkeys((columns.text, columns.id, columns.spans))
    return [name for name in named if name in table.schema_arrow.names]


def _check_columns(path: str, schema: Any, columns: Columns) -> None:
    known = ", ".join(map(repr, schema.names[:12])) or "none"
    for name, default in ((columns.text, ""), (columns.id, Columns.id), (columns.spans, Columns.spans)):
        if name not in schema.names and name != default:
            raise EncodeError(f"{path} has no column {name!r}.", f"name another column; its columns are: {known}")
        if schema.names.count(name) > 1:
            raise EncodeError(f"{path} has {schema.names.count(name)} columns {name!r}.", "rename all but one of them")
    kind = schema.field(columns.text).type
    if str(kind.value_type if str(kind).startswith("dictionary") else kind) not in _TEXT:
        raise EncodeError(
            f"The column {columns.text!r} of {path} holds {kind}, not string.",
            f"name another column; its columns are: {known}",
        )


def _check_rows(path: str, metadata: Any) -> None:
    """Refuse a footer that claims more rows than the file can hold, before anything loops over them."""
    claimed, size = (
        sum(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)),
        os.path.getsize(path),
    )
    if not 0 <= claimed == metadata.num_rows <= size * _DENSEST:
        raise _damaged(path, f"{size:,} bytes that claim {metadata.num_rows:,} rows")


def _damaged(path: str, fact: str) -> EncodeError:
    return EncodeError(f"{path} cannot be read as Parquet: {fact}.", "check that the file is whole")


def _chunks(table: Any, group: int, *names: str) -> list[Any]:
    """What the footer says of a row group's part of columns, those nested in them too.

    pyarrow ends the process where that does not fit itself, unless it has read from it before: then it says so.
    """
    next(table.iter_batches(batch_size=1, row_groups=[group], columns=list(names), use_threads=False), None)
    paths = [f"{table.schema.column(leaf).path}." for leaf in range(len(table.schema))]
    wanted = [leaf for leaf, path in enumerate(paths) if path.startswith(tuple(f"{name}." for name in names))]
    return [table.metadata.row_group(group).column(leaf) for leaf in wanted]


def _digest(path: str, table: Any, group: int, columns: Columns) -> str:
    """Hash of the footer and of the bytes of a row group's columns that are read; no date or size tells as much."""
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        file.seek(-min(table.metadata.serialized_size + 8, os.fstat(file.fileno()).st_size), os.SEEK_END)
        digest.update(file.read())
        for chunk in _chunks(table, group, *_wanted(table, columns)):
            file.seek(max(0, min(chunk.dictionary_page_offset or chunk.data_page_offset, chunk.data_page_offset)))
            left = chunk.total_compressed_size
            while left > 0 and (data := file.read(min(left, _AT_ONCE))):
                digest.update(data)
                left -= len(data)
    return digest.hexdigest()


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    pyarrow = arrow(f"Reading {path}")
    with _told(path), pyarrow.parquet.ParquetFile(path) as table:
        yield table


@contextmanager
def _told(path: str) -> Iterator[None]:
    error = arrow(f"Reading {path}").ArrowException
    try:
        with told(path):
            yield
    except (error, UnicodeDecodeError) as reason:  # the latter of a column's name
        raise _damaged(path, one_line(reason).rstrip(".")) from None
