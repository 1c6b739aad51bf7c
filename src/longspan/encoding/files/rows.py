"""Rows of text files: what is to be encoded, or a typed error that names the file and the line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from longspan.errors import EncodeError
from longspan.jsons import parse

BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Columns:
    """Where a row keeps its text, its id and its spans.

    Attributes:
        text: A string; must be there.
        id: A string or a number; the row's number where there is none.
        spans: A list of [start, end] in characters of the text; may be missing.
    """

    text: str = "text"
    id: str = "id"
    spans: str = "spans"


@dataclass(frozen=True)
class Row:
    """One text, or why there is none.

    Attributes:
        place: Number of the row among all rows of the input, from 0.
        id: The row's own, or its place; several rows may share one.
        source: The file, as it was given.
        line: Line of the file, from 1; of a Parquet file, its row.
        text: None where there is an error.
        spans: What to give vectors to [characters], None where the strategy decides.
        error: Why the row cannot be encoded.
    """

    place: int
    id: str
    source: str
    line: int
    text: str | None = None
    spans: list[tuple[int, int]] | None = None
    error: EncodeError | None = None


def from_line(line: bytes, place: int, source: str, number: int, columns: Columns) -> Row:
    """The row of a JSON line, whatever its bytes are."""
    try:
        fields = _object(line)
    except EncodeError as error:
        return _failed(error, place, str(place), source, number)
    return from_fields(fields, place, source, number, columns)


def from_fields(fields: dict[str, Any], place: int, source: str, number: int, columns: Columns) -> Row:
    """The row of a JSON object or of a table's cells; a cell that is an EncodeError is the row's error."""
    name = str(place)
    try:
        name = _id(fields.get(columns.id), name)
        text = _text(fields, columns.text)
        return Row(place, name, source, number, text, _spans(fields.get(columns.spans), len(text), columns.spans))
    except EncodeError as error:
        return _failed(error, place, name, source, number)


def from_document(data: bytes, place: int, source: str) -> Row:
    """The row of a whole file, named by its path; line breaks are kept as they are."""
    name = source if _encodable(source) else str(place)
    try:
        return Row(place, name, source, 1, _decoded(data.removeprefix(BOM)))
    except EncodeError as error:
        line = 1
        if isinstance(cause := error.__cause__, UnicodeDecodeError):
            line += data.count(b"\n", 0, cause.start)
        return _failed(error, place, name, source, line)


def _failed(error: EncodeError, place: int, name: str, source: str, line: int) -> Row:
    told = EncodeError(f"{source}, line {line}: {error.fact}", error.hint)
    return Row(place, name, source, line, error=told)


def _object(line: bytes) -> dict[str, Any]:
    try:
        fields = parse(_decoded(line), finite=False)
    except ValueError as error:
        raise EncodeError(f"this is not JSON ({error}).", 'write one {"text": "..."} a line') from None
    if not isinstance(fields, dict):
        raise EncodeError(f"this is a JSON {_kind(fields)}, not an object.", 'write one {"text": "..."} a line')
    return fields


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise EncodeError(
            f"byte {error.start} ({data[error.start]:#04x}) is not UTF-8.", "convert the file: iconv -t UTF-8"
        ) from error


def _text(fields: dict[str, Any], column: str) -> str:
    if column not in fields:
        known = ", ".join(sorted(map(ascii, fields))[:8]) or "none"
        raise EncodeError(f"there is no field {column!r}.", f"name the text's field; the fields here are: {known}")
    text = fields[column]
    if isinstance(text, EncodeError):
        raise text
    if not isinstance(text, str):
        raise EncodeError(f"{column!r} is a {_kind(text)}, not a string.", "give the text as a string")
    if not _encodable(text):
        raise EncodeError(
            f"{column!r} holds half of a surrogate pair.", "write the whole pair, or the character itself"
        )
    return text


def _id(value: Any, default: str) -> str:
    if value is None:
        return default
    if isinstance(value, EncodeError):
        raise value
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise EncodeError(f"its id is a {_kind(value)}.", "give a string or a number, or none at all")
    if isinstance(value, float) and not math.isfinite(value):
        raise EncodeError(f"its id is {value}.", "give a string or a number, or none at all")
    if isinstance(value, str) and not _encodable(value):
        raise EncodeError("its id holds half of a surrogate pair.", "write the whole pair, or the character itself")
    return str(value)


def _spans(value: Any, length: int, column: str) -> list[tuple[int, int]] | None:
    if value is None:
        return None
    if isinstance(value, EncodeError):
        raise value
    spans = [tuple(span) if isinstance(span, (list, tuple)) else () for span in value] if _listed(value) else [()]
    for span in spans:
        if len(span) != 2 or not all(isinstance(end, int) and not isinstance(end, bool) for end in span):
            raise EncodeError(f"{column!r} is not a list of [start, end].", "write [[0, 120], [120, 260]]")
        if not 0 <= span[0] <= span[1] <= length:
            raise EncodeError(
                f"the span [{span[0]}, {span[1]}] is not within the {length} characters of the text.",
                "count characters, not bytes or tokens, from 0",
            )
    return spans  # type: ignore[return-value]  # pairs of ints, as checked


def _listed(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _encodable(text: str) -> bool:
    # json.loads lets "\ud800" through, and neither a tokenizer nor a file takes it.
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: Any) -> str:
    words = {"NoneType": "null", "dict": "object", "str": "string", "int": "number", "float": "number"}
    return words.get(type(value).__name__, type(value).__name__)
