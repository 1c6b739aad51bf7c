"""Files: written whole or not at all; their content, and a sign that they were written since."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from longspan.errors import LongspanError

_AT_ONCE = 1 << 20  # bytes


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


def digest_of(path: str | Path, kind: type[LongspanError]) -> str:
    """SHA-256 of a file's content.

    Raises:
        LongspanError: It cannot be read; of the kind given.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while data := file.read(_AT_ONCE):
                digest.update(data)
    except (OSError, ValueError) as error:  # a path with a null byte is the latter
        cause = getattr(error, "strerror", None) or error
        raise kind(f"{str(path)!r} cannot be read: {cause}.", "give the path of a readable file") from None
    return digest.hexdigest()


def state_of(path: str | Path) -> tuple[int, ...]:
    """Numbers that differ once a file was written or replaced, () where there is none.

    The time at which the system noted the last change is one of them: no tool that sets dates back reaches it.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
