"""Whether a checkpoint holds every weight of the model that was made of it, and no other."""

from __future__ import annotations

import json
import logging
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from longspan.errors import StorageError
from longspan.logs import without_bars

POOLER = re.compile(r"^pooler\.")
"""May be absent from a bare encoder whose token states are read: the pooler stands behind them."""

LEFT_OVER = re.compile(
    r"(^|\.)pooler\."  # an encoder's, where the model made of it has none
    r"|(^|\.)seq_relationship\."  # BERT's next-sentence head, beside the masked-language one that is read
    # buffers that were saved once, and are computed today
    r"|(^|\.)(position_ids|inv_freq|masked_bias|causal_mask|cos_cached|sin_cached|embeddings\.token_type_ids)$"
    r"|(^|\.)(attn|attention)\.bias$|(^|\.)decoder\.version$|(^|\.)embed_positions\.weights$"
)
"""May stand in a checkpoint beside what the model takes. So may all that lies outside the model's own parts: the head
of another task, such as ``lm_head`` in front of a bare encoder."""

_FILES = ("model.safetensors", "pytorch_model.bin")


def check(model: Any, source: str, subfolder: str = "", *, reads_pooler: bool = False) -> None:
    """Check a model against the files that it was loaded from, by names and shapes; no weight is read.

    Transformers itself says what it would miss, given tensors without memory of their own, so that its renaming of
    old checkpoints and its lists of what a class may lack hold here too.

    Args:
        model: A transformers model.
        source: The folder or hub id it came from.
        subfolder: Where in it.
        reads_pooler: Whether the output of the pooler is used.

    Raises:
        StorageError: A weight is missing, has another shape, or belongs to no part of the model.
    """
    config = model.config
    empty = {name: torch.zeros(()).expand(shape) for name, shape in _shapes(source, subfolder, config).items()}
    with _silent():
        _, info = type(model).from_pretrained(
            None,
            config=config,
            state_dict=empty,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    complete(model, info, source, reads_pooler=reads_pooler)


def complete(model: Any, info: dict[str, Any], source: str, *, reads_pooler: bool = False) -> None:
    """Check what transformers tells of a load.

    Args:
        model: What was loaded.
        info: The second answer of ``from_pretrained(..., output_loading_info=True)``.
        source: The folder or hub id it came from.
        reads_pooler: Whether the output of the pooler is used.

    Raises:
        StorageError: As for ``check``.
    """
    bare = model.base_model is model and not reads_pooler
    lacking = {name for name in info["missing_keys"] if not (bare and POOLER.search(name))}
    shaped = {name: (tuple(found), tuple(wanted)) for name, found, wanted in info["mismatched_keys"]}
    strange = {name for name in info["unexpected_keys"] if _inside(name, model) and not LEFT_OVER.search(name)}
    what, total = type(model).__name__, len(model.state_dict())
    if shaped:
        first = min(shaped)
        found, wanted = shaped[first]
        told = f"{len(shaped)} of the {total} weights of {what} in another shape, the first {first}: {found} "
        told += f"where {wanted} fits"
    elif lacking:
        told = f"{len(lacking)} of the {total} weights of {what} not at all, the first {min(lacking)}"
    elif strange:
        told = f"{len(strange)} weights that {what} has no place for, the first {min(strange)}"
    else:
        return
    raise StorageError(
        f"{source!r} holds {told}.",
        "copy its files anew; where they are whole, its config.json is that of another model",
    )


def _inside(name: str, model: Any) -> bool:
    """Whether a name is that of a weight in one of the model's parts.

    Names may be those of the model behind a head (``bert.encoder...``) or of the model without it (``h.2...`` of
    GPT-2 on the hub), whichever of the two was loaded.
    """
    base = model.base_model
    inner = name.removeprefix(f"{model.base_model_prefix}.") if base is model else name
    return inner.split(".")[0] in {part for owner in (model, base) for part, _ in owner.named_children()}


def _shapes(source: str, subfolder: str, config: Any) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a checkpoint's files."""
    from safetensors import safe_open

    shapes: dict[str, tuple[int, ...]] = {}
    for path in _files(source, subfolder, config):
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        else:
            held = torch.load(path, "cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
            shapes |= {name: tuple(value.shape) for name, value in held.items() if isinstance(value, Tensor)}
    return shapes


def _files(source: str, subfolder: str, config: Any) -> list[Path]:
    """A checkpoint's files of weights, those that transformers takes."""
    from transformers.utils.hub import cached_file

    def found(name: str) -> Path | None:
        path = cached_file(
            source, name, subfolder=subfolder, local_files_only=True, _raise_exceptions_for_missing_entries=False
        )
        return Path(path) if path else None

    named = getattr(config, "transformers_weights", None)
    for name in (named,) if named else _FILES:
        if path := found(name):
            return [path]
        if index := found(f"{name}.index.json"):
            shards = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
            return [index.parent / shard for shard in sorted(set(shards))]
    raise StorageError(f"{source!r} holds no weights.", f"it needs {' or '.join(_FILES)}")


@contextmanager
def _silent() -> Iterator[None]:
    """Without transformers' own report of a load, which the first one has made already."""
    log = logging.getLogger("transformers.modeling_utils")
    log.addFilter(_nothing)  # its level stays: transformers reads it, and tells more at a higher one
    try:
        with without_bars():
            yield
    finally:
        log.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    return False
