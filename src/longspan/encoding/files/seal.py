"""The seal of a result: one digest over all its files, written into the last of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

OPEN = "0" * 32
"""What stands where a seal will be, and what is hashed there; a seal cannot hold its own digest."""

_BEFORE = b'"seal": "'  # in no string of JSON, where quotes are escaped
_AT_ONCE = 1 << 20  # bytes; so near the end is the seal


def seal(paths: Sequence[Path]) -> None:
    """Write the seal of files into the last one, which holds an open seal in its JSON.

    Raises:
        OSError: They cannot be read or written.
    """
    told = _digest(paths)
    with paths[-1].open("rb+") as file:
        file.seek(_place(paths[-1]))
        file.write(told.encode())


def sealed(paths: Sequence[Path]) -> bool:
    """Whether files are what they were when they were sealed; one that was missing then has to be missing.

    Raises:
        OSError: They cannot be read.
    """
    if (place := _place(paths[-1])) < 0:
        return False
    with paths[-1].open("rb") as file:
        file.seek(place)
        return file.read(len(OPEN)) == _digest(paths).encode()


def _place(path: Path) -> int:
    """Where the seal begins in a file [bytes], -1 where there is none."""
    with path.open("rb") as file:
        start = max(path.stat().st_size - _AT_ONCE, 0)
        file.seek(start)
        found = file.read().rfind(_BEFORE)
    return start + found + len(_BEFORE) if found >= 0 else -1


def _digest(paths: Sequence[Path]) -> str:
    digest, place = hashlib.blake2b(digest_size=len(OPEN) // 2), _place(paths[-1])
    for path in paths:
        if not path.exists():
            digest.update(b"none")
            continue
        digest.update(f"{path.stat().st_size} ".encode())
        with path.open("rb") as file:
            left = place if path == paths[-1] else -1
            while data := file.read(min(left, _AT_ONCE) if left > 0 else _AT_ONCE):
                digest.update(data)
                left -= len(data)
                if left == 0:
                    digest.update(OPEN.encode())
                    file.seek(len(OPEN), 1)
    return digest.hexdigest()
