"""What a job finds on the disk and what it makes of it: nothing, parts to go on with, or a result.

A result is complete when its last file says so (`Target.files`) and its seal fits, and parts count when job.json names
their job. Both names appear by renaming a whole file, so every moment at which a run may be killed leaves one of:

    no job.json                          start
    job.json, some parts                 go on
    job.json, all parts, the mark        go on; the files of the result may be half renamed
    result, some or all of the parts     complete; clear
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from longspan.encoding.files.merge import Target
from longspan.encoding.files.parts import write_whole
from longspan.encoding.files.shards import Shard
from longspan.errors import EncodeError
from longspan.jsons import parse

_PART = re.compile(r"\d{8,}\.[0-9a-f]{12}\.npz")
_OURS = re.compile(r"(\d{8,}\.[0-9a-f]{12}\.npz|job\.json)(\.tmp-\d+)?|merged\d|merged-errors|merging|lock")


def meaning(about: dict[str, Any]) -> str:
    """What an encoder's description says of its vectors: names of the model count only where it has no identity."""
    encoder = about["encoder"]
    told = {name: value for name, value in encoder.items() if name not in ("model", "revision")}
    return json.dumps({**about, "encoder": told if encoder.get("identity") else encoder}, sort_keys=True)


def fingerprint(about: dict[str, Any], work: Sequence[Shard]) -> str:
    """The name of a job: what determines its result, and nothing else."""
    digest = hashlib.blake2b(meaning(about).encode(), digest_size=16)
    for shard in work:
        digest.update(repr(shard).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()


def prepare(
    target: Target, job: str, about: dict[str, Any], work: Sequence[Shard], *, overwrite: bool
) -> dict[str, Any] | None:
    """Make the folder of parts this job's, parts of its own kept.

    Returns:
        What a complete result of this job says of itself; None when there is work to do.

    Raises:
        EncodeError: A file of the result, or the folder of parts, is of another job.
    """
    told, started = target.about(), _started(target)
    kept = [path for path in _inside(target) if _PART.fullmatch(path.name)]
    named = bool(kept) and all(f".{job[:12]}." in path.name for path in kept)
    ours = started["job"] == job if started else named  # without job.json, parts tell by their names
    going_on = ours and target.marked.exists()
    there = [path for path in (*target.files, target.errors) if path.exists()]
    if told and told.get("job") == job and not overwrite:
        if target.whole():
            if ours or not (started or kept):
                clear(target)
            return told
        if not going_on:
            raise EncodeError(
                f"{target.out}, or a file beside it that belongs to it, is not what was written.",
                "make it anew with --overwrite, or choose another --out",
            )
    if there and not overwrite and not going_on:
        raise EncodeError(
            f"{there[0]} exists already, and is not of this input and this encoder.",
            "replace it with --overwrite, or choose another --out",
        )
    if (started or kept) and not ours and not overwrite:
        known = _difference(started["encoder"], about["encoder"]) if started else "its job.json cannot be read"
        raise EncodeError(
            f"{target.parts} holds parts of another job: {known}.",
            "run that one again to go on with it, start over with --overwrite, or choose another --out",
        )
    for path in _last_the_name(target):
        if not ours or ".tmp-" in path.name:
            path.unlink()
    write_whole(target.parts / "job.json", json.dumps(_job(job, about, work), indent=2).encode())
    return None


def clear(target: Target) -> None:
    """Remove the parts of a complete result."""
    for path in _last_the_name(target):
        path.unlink()


def check_place(target: Target) -> None:
    """Refuse a place where something of somebody else's would be replaced or removed.

    Raises:
        EncodeError: A file of the result is a folder or a link, or the folder of parts holds what no job puts there.
    """
    for path in (*target.files, target.errors):
        if path.is_symlink() or path.is_dir():
            what = f"a link to {path.resolve()}" if path.is_symlink() else "a folder"
            raise EncodeError(f"{path} is {what}, and would be replaced.", "give --out the name of a file")
    for path in _inside(target):
        if not _OURS.fullmatch(path.name) or path.is_symlink() or not path.is_file():
            raise EncodeError(f"{path} was not made by longspan.", "move it elsewhere, or choose another --out")


def fixed(target: Target) -> bool:
    """Whether there is a result that cannot be changed here: its disk is read-only."""
    return target.about() is not None and not os.access(target.out.parent, os.W_OK)


def _inside(target: Target) -> list[Path]:
    return sorted(target.parts.iterdir()) if target.parts.is_dir() else []


def _last_the_name(target: Target) -> list[Path]:
    """What is in the folder of parts; job.json comes last, so that parts always have a name."""
    if not os.access(target.parts, os.W_OK):  # parts of a result on a disk that is read-only now
        return []
    found = [path for path in _inside(target) if path.name != "lock"]
    return sorted(found, key=lambda path: path.name == "job.json")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """A folder, made if need be, to oneself; gone at the end if it is empty.

    The system takes the lock back when the process ends, however it does. Where it has no such locks
    (Windows), two runs at a time are the caller's to avoid.

    Raises:
        EncodeError: Another run has it, or it cannot be made.
    """
    path = folder / "lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise EncodeError(f"{folder} cannot be made: {error.strerror}.", "choose another --out") from None
    try:
        _take(handle, path)
        try:
            yield
        finally:
            # Still under the lock, so that nobody else's is removed.
            if os.listdir(folder) == [path.name]:
                path.unlink()
                with suppress(OSError):
                    folder.rmdir()
    finally:
        os.close(handle)


def _take(handle: int, path: Path) -> None:
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        taken = not os.path.exists(path) or os.stat(path).st_ino != os.fstat(handle).st_ino
    except OSError:
        taken = True
    if taken:
        raise EncodeError(f"Another run is writing {path.parent}.", "wait for it, or choose another --out")


def _started(target: Target) -> dict[str, Any]:
    """What job.json says, {} where there is none."""
    try:
        told = parse((target.parts / "job.json").read_bytes())
    except (OSError, ValueError):
        return {}
    known = isinstance(told, dict) and isinstance(told.get("job"), str) and isinstance(told.get("encoder"), dict)
    return told if known else {}


def _job(job: str, about: dict[str, Any], work: Sequence[Shard]) -> dict[str, Any]:
    inputs: dict[str, dict[str, int]] = {}
    for piece in (piece for shard in work for piece in shard.pieces):
        facts = inputs.setdefault(piece.path.encode("utf-8", "replace").decode(), {"rows": 0, "bytes": 0})
        facts["rows"] += piece.rows
        facts["bytes"] += piece.size
    return {"job": job, **about, "shards": len(work), "inputs": inputs}


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    if before.get("identity") != now.get("identity") and before.get("model") == now.get("model"):
        return f"{now.get('model')!r} is not the model that it was; its weights, settings or files were changed"
    same = {"model", "revision"} if before.get("identity", "") == now.get("identity") else set()
    packages = before.get("versions"), now.get("versions")
    if isinstance(packages[0], dict) and isinstance(packages[1], dict):
        before, now = ({**told, **told.pop("versions")} for told in (dict(before), dict(now)))
    for name in sorted({*before, *now} - same, key=lambda name: (name != "model", name)):
        if before.get(name) != now.get(name):
            return f"its {name} is {before.get(name)!r}, not {now.get(name)!r}"
    return "its input differs"
