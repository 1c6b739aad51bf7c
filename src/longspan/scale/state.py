"""What a job finds on the disk and what it makes of it: nothing, parts to go on with, or a result.

A result is complete when its last file says so (`Target.files`), and parts count when job.json names their job.
Both names appear by renaming a whole file, so every moment at which a run may be killed leaves one of:

    no job.json                          start
    job.json, some parts                 go on
    job.json, all parts, the mark        go on; the files of the result may be half renamed
    result, some or all of the parts     complete; clear
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from longspan.encoding.files.merge import Target
from longspan.encoding.files.parts import write_whole
from longspan.encoding.files.shards import Shard
from longspan.errors import EncodeError
from longspan.jsons import parse


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
    ours = bool(started) and started["job"] == job
    if told and told.get("job") == job and not overwrite:
        if ours or not started:
            clear(target)
        return told
    there = [path for path in target.files if path.exists()]
    if there and not overwrite and not (ours and target.marked.exists()):
        raise EncodeError(
            f"{there[0]} exists already, and is not of this input and this encoder.",
            "replace it with --overwrite, or choose another --out",
        )
    if started and not ours and not overwrite:
        raise EncodeError(
            f"{target.parts} holds parts of another job: {_difference(started['encoder'], about['encoder'])}.",
            "run that one again to go on with it, start over with --overwrite, or choose another --out",
        )
    for path in target.parts.iterdir():
        if path.name != "lock" and (not ours or ".tmp-" in path.name):
            path.unlink()
    write_whole(target.parts / "job.json", json.dumps(_job(job, about, work), indent=2).encode())
    return None


def clear(target: Target) -> None:
    """Remove the parts of a complete result; job.json goes last, so that parts always have a name."""
    for path in sorted(target.parts.iterdir(), key=lambda path: path.name == "job.json"):
        if path.name != "lock":
            path.unlink()


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
    for name in sorted({*before, *now} - same, key=lambda name: (name != "model", name)):
        if before.get(name) != now.get(name):
            return f"its {name} is {before.get(name)!r}, not {now.get(name)!r}"
    return "its input differs"
