"""save: write an extended model as a checkpoint that stock tools load."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from longspan.errors import LongspanError, StorageError
from longspan.extension import plan_of
from longspan.promises import beyond_stock
from longspan.seams import anatomy
from longspan.storage.export import ENGINE_KEY, dual_chunk
from longspan.storage.model_card import model_card

CONFIG_KEY = "longspan"


def save(model: Any, folder: str | Path, *, tokenizer: Any = None, original: str = "") -> Path:
    """Write a checkpoint; nothing appears at ``folder`` before all of it is written.

    The new length stands in five places: ``max_position_embeddings`` and ``rope_parameters`` in
    config.json, ``model_max_length`` in tokenizer_config.json, the truncation in tokenizer.json, and
    ``max_seq_length`` in sentence_bert_config.json. The plan stands under ``longspan`` in config.json;
    ``longspan.load`` restores what stock tools do not apply of it. Dual chunk attention stands there a
    second time, as vLLM and SGLang read it.

    Args:
        model: An extended SentenceTransformer or transformers model.
        folder: Where to write; must not exist.
        tokenizer: For a bare transformers model; a pipeline brings its own.
        original: Text of the original model's README.md, kept below the new one.

    Returns:
        The folder.

    Raises:
        StorageError: The model is not extended, the folder exists, or the disk is full.

    Warns:
        UserWarning: Stock tools do not apply all of the plan.
    """
    made, target = plan_of(model), Path(folder)
    if made is None:
        raise StorageError("The model is not extended, so there is nothing to add to it.", "call extend first")
    check_target(target)
    inner = anatomy.transformer(model)
    needed = sum(p.numel() * p.element_size() for p in inner.parameters())
    told = {CONFIG_KEY: made.to_json(), ENGINE_KEY: dual_chunk(made)}
    had_key = getattr(inner.config, ENGINE_KEY, None) is not None
    with _renamed_when_whole(target, needed) as partial, _in_config(inner.config, told):
        if anatomy.is_pipeline(model):
            model.save(str(partial), create_model_card=False)
        else:
            inner.save_pretrained(partial)
            if tokenizer is not None:
                tokenizer.save_pretrained(partial)
        _write_limits(partial, made.length)
        card = model_card(made, pipeline=anatomy.is_pipeline(model), original=original, had_engine_key=had_key)
        (partial / "README.md").write_text(card, encoding="utf-8")
    if parts := beyond_stock(made):
        warnings.warn(
            f"stock tools load {target} without {' and '.join(parts)}; longspan.load restores all", stacklevel=2
        )
    return target


def check_target(folder: Path) -> None:
    """Refuse to write over something, before any work is done.

    Raises:
        StorageError: The folder exists.
    """
    if folder.exists():
        raise StorageError(f"{folder} exists already.", "choose a folder that does not, or remove it first")


@contextmanager
def _renamed_when_whole(target: Path, needed: int) -> Iterator[Path]:
    """A folder beside the target that takes its name at the end, and is gone after an error."""
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


@contextmanager
def _in_config(config: Any, told: dict[str, Any]) -> Iterator[None]:
    """Keys of the configuration while it is written, those with None left out; afterwards it is as before."""
    before = {key: getattr(config, key) for key in told if hasattr(config, key)}
    _exchange(config, {key: value for key, value in told.items() if value is not None}, told)
    try:
        yield
    finally:
        _exchange(config, before, told)


def _exchange(config: Any, wanted: dict[str, Any], keys: Iterable[str]) -> None:
    for key in keys:
        if key in wanted:
            setattr(config, key, wanted[key])
        elif hasattr(config, key):
            delattr(config, key)


def _write_limits(folder: Path, length: int) -> None:
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
