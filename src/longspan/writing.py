"""Files written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from longspan.errors import LongspanError


@contextmanager
def replaced(path: Path, kind: type[LongspanError]) -> Iterator[Path]:
    """A file beside a path that takes its name at the end, and is gone after an error; folders are made.

    Args:
        path: What it will be called.
        kind: The error to raise.

    Raises:
        LongspanError: It cannot be written.
    """
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield half
            half.replace(path)
        finally:
            half.unlink(missing_ok=True)
    except OSError as error:
        raise kind(f"{path} cannot be written: {error.strerror or error}.", "name another file") from None
