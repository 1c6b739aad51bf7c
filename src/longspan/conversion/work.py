"""The folder of a run: its checkpoints, and what it was asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from longspan.errors import ConvertError, StorageError
from longspan.jsons import parse
from longspan.training.run import last_whole


def work_folder(out: str | Path) -> Path:
    """Where the checkpoints of a conversion are kept until it is done."""
    return Path(out).parent / f"{Path(out).name}.training"


def keep_options(work: Path, options: dict[str, Any]) -> None:
    """Write down what a run was asked for, and refuse to go on with something else.

    Raises:
        ConvertError: The folder holds checkpoints of another run, or of one that cannot be read.
        StorageError: It cannot be written.
    """
    kept = work / "run.json"
    if last_whole(work):
        try:
            before = parse(kept.read_bytes())
            changed = [name for name in options if before.get(name) != options[name]]
        except (OSError, ValueError, AttributeError):
            raise ConvertError(
                f"{kept} cannot be read, so nobody knows what the checkpoints beside it are.", f"remove {work}"
            ) from None
        if changed:
            name = changed[0]
            raise ConvertError(
                f"{work} holds a run with {name}={before.get(name)}, this one has {name}={options[name]}.",
                "repeat the options of that run to go on with it, or remove the folder",
            )
        return
    partial = work / f"{kept.name}.partial"
    try:
        work.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(options), encoding="utf-8")
        partial.replace(kept)
    except OSError as error:
        raise StorageError(f"{work} cannot be written: {error}.", "write to another folder") from None
