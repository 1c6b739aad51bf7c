"""What the benchmarks of vectors share: their file of texts, and vectors as rows that can be compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from longspan.benchmarks.files import bad_line, read_lines, text_of
from longspan.benchmarks.tasks import Labelled
from longspan.errors import BenchmarkError


def read_texts(path: Path, *columns: str) -> dict[str, tuple[str, ...]]:
    """Read a JSON-lines file of texts.

    Args:
        path: Each line is an object with ``id`` and the columns, all of them texts.
        *columns: What is read beside the id.

    Returns:
        Id to the columns, sorted by id.

    Raises:
        BenchmarkError: The file is missing or empty, a line is not what is asked for, or an id occurs twice.
    """
    rows: dict[str, tuple[str, ...]] = {}
    for line, row in read_lines(path):
        key = text_of(row, "id", path, line)
        if key in rows:
            raise bad_line(path, line, f"the id {key!r} occurs twice")
        rows[key] = tuple(text_of(row, column, path, line) for column in columns)
    if not rows:
        raise BenchmarkError(f"{path} is empty.", f"each line is an object with id, {', '.join(columns)}")
    return dict(sorted(rows.items()))


def whole(name: str, length: int | None) -> None:
    """Refuse a length where the texts are short and read whole.

    Raises:
        BenchmarkError: A length is given.
    """
    if length is not None:
        raise BenchmarkError(f"{name} has short texts that are read whole, not ones of {length} tokens.", "length=None")


def rows_of(example: Labelled, output: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Vectors of a set as float64 rows, in the order of its texts.

    Args:
        example: The set.
        output: Vectors [texts, dimension].

    Returns:
        The same [texts, dimension], so that what is summed does not depend on the model's dtype.

    Raises:
        BenchmarkError: There is not one vector a text, or a number is not finite.
    """
    rows = np.asarray(output, dtype=np.float64)
    if rows.ndim != 2 or len(rows) != len(example.texts) or not rows.shape[1]:
        raise BenchmarkError(
            f"{example.name} has {len(example.texts)} texts, the vectors have the shape {rows.shape}.",
            f"an array [{len(example.texts)}, dimension], one row for each text in the order of the set",
        )
    if bad := int((~np.isfinite(rows)).any(axis=1).sum()):
        raise BenchmarkError(f"{bad} of {len(rows)} vectors are not finite.", "encode in float32 or bfloat16")
    return rows


def unit(rows: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Rows of length 1, whose products are cosines; a row of zeros has no direction and stays."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1.0)
