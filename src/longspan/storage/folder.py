"""Folders of checkpoints: written whole or not at all, with one length in every file that says it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from longspan.errors import LongspanError, StorageError


def check_target(folder: Path) -> None:
    """Refuse to write over something, before any work is done.

    Raises:
        StorageError: The folder exists.
    """
    if os.path.lexists(folder):
        raise StorageError(f"{folder} exists already.", "choose a folder that does not, or remove it first")


@contextmanager
def renamed_when_whole(target: Path, needed: int) -> Iterator[Path]:
    """A folder beside the target that takes its name at the end, and is gone after an error.

    Args:
        target: What it will be called.
        needed: Bytes that are going to be written there.

    Raises:
        StorageError: They do not fit, or could not be written.
    """
    partial = target.parent / f".{target.name}.partial-{os.getpid()}"
    try:
        partial.mkdir(parents=True)
        free = shutil.disk_usage(partial).free
        if free < needed:
            raise StorageError(
                f"The checkpoint needs {needed:,} bytes, and {free:,} are free at {target.parent}.",
                "free some space, or save elsewhere",
            )
        yield partial
        partial.rename(target)
    except LongspanError:
        raise
    except Exception as error:  # safetensors has an I/O error of its own, which is no OSError
        raise StorageError(f"{target} could not be written: {error}.", "nothing was left there") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_limits(folder: Path, length: int) -> None:
    """Write a length in tokens where tokenizers and sentence-transformers look for it."""
    with _json(folder / "tokenizer_config.json") as settings:
        settings["model_max_length"] = length
        if "max_length" in settings:
            settings["max_length"] = length
    with _json(folder / "tokenizer.json") as settings:
        # Without this, tools that read tokenizer.json alone keep cutting at the old length (128 in MiniLM's file).
        settings["truncation"] = {"direction": "Right", "max_length": length, "strategy": "LongestFirst", "stride": 0}
        settings["padding"] = None
    with _json(folder / "sentence_bert_config.json") as settings:
        settings["max_seq_length"] = length


@contextmanager
def _json(path: Path) -> Iterator[dict[str, Any]]:
    """The content of a JSON file, written back at the end; nothing happens where there is no file."""
    settings = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    yield settings
    if path.exists():
        path.write_text(json.dumps(settings, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
