"""Files of benchmarks: JSON lines with errors that name the line, and LongEmbed's three files of a retrieval set."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from longspan.benchmarks.tasks import Retrieval
from longspan.errors import BenchmarkError
from longspan.jsons import parse

_LONE = re.compile("[\ud800-\udfff]")  # JSON can write it, no tokenizer can read it


def from_folder(name: str, folder: str | Path) -> Retrieval:
    """Load a set in LongEmbed's layout.

    ``corpus.jsonl`` and ``queries.jsonl`` have ``id`` and ``text``; ``qrels.jsonl`` has ``query-id``,
    ``corpus-id`` and ``score``; a score above 0 marks a right document, grades are not told apart. Queries without a
    right document are left out.

    Args:
        name: Name of the set.
        folder: The folder that holds the three files.

    Raises:
        BenchmarkError: A file is missing or empty, or a line is not what the layout says.
    """
    folder = Path(folder)
    documents = _texts(folder / "corpus.jsonl")
    queries = _texts(folder / "queries.jsonl")
    relevant: dict[str, list[str]] = {}
    judged: dict[tuple[str, str], bool] = {}
    path = folder / "qrels.jsonl"
    for line, row in read_lines(path):
        query, document = text_of(row, "query-id", path, line), text_of(row, "corpus-id", path, line)
        score = row.get("score")
        if not isinstance(score, int | float) or isinstance(score, bool) or score != score:
            raise bad_line(path, line, "score is not a number")
        for key, known in ((query, queries), (document, documents)):
            if key not in known:
                raise bad_line(path, line, f"there is no {key!r} in the {'queries' if known is queries else 'corpus'}")
        if judged.setdefault((query, document), score > 0) != (score > 0):
            raise bad_line(path, line, f"{document!r} is right for {query!r} in one line and wrong in another")
        if score > 0 and document not in relevant.setdefault(query, []):
            relevant[query].append(document)
    right = {query: tuple(found) for query, found in sorted(relevant.items()) if found}
    if not right:
        raise BenchmarkError(f"{path} names no right document.", "a score of 1 marks a right document")
    return Retrieval(name, None, documents, {query: text for query, text in queries.items() if query in right}, right)


def to_folder(examples: Retrieval, folder: Path) -> None:
    """Write a set in LongEmbed's layout; ``from_folder`` reads it back."""
    folder.mkdir(parents=True, exist_ok=True)
    qrels = [
        {"query-id": query, "corpus-id": document, "score": 1}
        for query, documents in examples.relevant.items()
        for document in documents
    ]
    for name, texts in (("corpus", examples.documents), ("queries", examples.queries)):
        write_lines(folder / f"{name}.jsonl", [{"id": key, "text": text} for key, text in texts.items()])
    write_lines(folder / "qrels.jsonl", qrels)


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def append_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Add rows to the end of a file of JSON lines in one write, made with its folder where missing.

    Whoever adds at the same time waits, and of a write that fails nothing stays. A last line that is no JSON and that
    no newline ends was cut short: it goes to a file beside it, ``.torn``.

    Raises:
        BenchmarkError: It cannot be written.
    """
    data = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+", buffering=0) as file:
            _wait_for(file)
            file.seek(0)
            last = file.read().rpartition(b"\n")[2]
            if last and _is_json(last):
                data = b"\n" + data
            elif last:
                with path.with_name(f"{path.name}.torn").open("ab") as aside:
                    aside.write(last + b"\n")
                file.truncate(file.tell() - len(last))
            end, left = file.seek(0, os.SEEK_END), memoryview(data)
            try:
                while left:  # once, unless the disk is full: then the next write says so
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise
    except OSError as error:
        raise BenchmarkError(
            f"{path} cannot be written: {error.strerror or error}.", "free some space, or write elsewhere"
        ) from None


def _wait_for(file: IO[bytes]) -> None:
    """Take the lock of an open file, which ends when it is closed; where there is none, one write has to do."""
    try:
        import fcntl
    except ImportError:
        return
    with contextlib.suppress(OSError):  # a network's disk may have no locks
        fcntl.flock(file, fcntl.LOCK_EX)


def read_lines(path: Path, torn: Callable[[int], None] | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a JSON-lines file with their line numbers, from 1; empty lines are skipped.

    Args:
        path: The file.
        torn: Called with the number of a last line that was cut short, which is then left out; None for an error.

    Raises:
        BenchmarkError: The file cannot be read, or a line is not a JSON object.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except (OSError, ValueError) as error:  # a path with a null byte is the latter
        cause = getattr(error, "strerror", None) or error
        raise BenchmarkError(f"{path} cannot be read: {cause}.", "give the path of a readable file") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = parse(line)
        except ValueError as error:
            if torn and number == len(lines):  # no newline ends it
                torn(number)
                return
            raise bad_line(path, number, f"not JSON ({error})") from None
        if not isinstance(row, dict):
            raise bad_line(path, number, "not a JSON object")
        yield number, row


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def text_of(row: dict[str, Any], key: str, path: Path, line: int) -> str:
    """A field that must be a text.

    Raises:
        BenchmarkError: It is missing or something else; the line is named.
    """
    value = row.get(key)
    if not isinstance(value, str):
        raise bad_line(path, line, f"{key} is {'missing' if value is None else 'not a text'}")
    if _LONE.search(value):
        raise bad_line(path, line, f"{key} holds half of a surrogate pair, which is no character")
    return value


def bad_line(path: Path, line: int, fact: str) -> BenchmarkError:
    """The error for a line that is not what its file's layout says."""
    return BenchmarkError(f"{path}, line {line}: {fact}.", "correct or remove that line")


def _texts(path: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for line, row in read_lines(path):
        key = text_of(row, "id", path, line)
        if key in texts:
            raise bad_line(path, line, f"the id {key!r} occurs twice")
        texts[key] = text_of(row, "text", path, line)
    if not texts:
        raise BenchmarkError(f"{path} is empty.", "each line is an object with id and text")
    return dict(sorted(texts.items()))
