"""save: write an extended model as a checkpoint that stock tools load."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from longspan.errors import StorageError
from longspan.extension import original_of, plan_of, replaced_engine_key
from longspan.promises import beyond_stock
from longspan.seams import anatomy
from longspan.storage import plain
from longspan.storage.folder import check_target, renamed_when_whole, write_limits
from longspan.storage.load import ORIGINAL
from longspan.storage.model_card import model_card


def save(model: Any, folder: str | Path, *, tokenizer: Any = None, original: str = "") -> Path:
    """Write a checkpoint; nothing appears at ``folder`` before all of it is written.

    The new length stands in five places: ``max_position_embeddings`` and ``rope_parameters`` in
    config.json, ``model_max_length`` in tokenizer_config.json, the truncation in tokenizer.json, and
    ``max_seq_length`` in sentence_bert_config.json. The plan stands under ``longspan`` in config.json,
    with a digest by which ``verify`` knows the original; ``longspan.load`` restores what stock tools do
    not apply of it. Dual chunk attention stands there a second time, as vLLM and SGLang read it.

    Args:
        model: An extended SentenceTransformer or transformers model.
        folder: Where to write; must not exist.
        tokenizer: For a bare transformers model; a pipeline brings its own.
        original: Text of the original model's README.md, kept below the new one.

    Returns:
        The folder.

    Raises:
        StorageError: The model is not extended as a whole, the folder exists, the disk is full, or a checkpoint would
            not bring all of the model back: an adapter, a parametrisation, a quantised or offloaded layer, a foreign
            hook.

    Warns:
        UserWarning: Stock tools do not apply all of the plan.
    """
    made, target = plan_of(model), Path(folder)
    if made is None and hasattr(anatomy.text_config(anatomy.transformer(model)), anatomy.PLAN_KEY):
        raise StorageError(
            "The model was extended, and loaded by stock tools, which apply a part of that.",
            "load its folder with longspan.load",
        )
    if made is None:
        raise StorageError("The model is not extended, so there is nothing to add to it.", "call extend first")
    check_target(target)
    plain.check(model)
    inner = anatomy.transformer(model)
    needed = sum(p.numel() * p.element_size() for p in inner.parameters())
    if not hasattr(anatomy.text_config(inner), anatomy.PLAN_KEY):
        raise StorageError(
            f"The configuration of this {type(inner).__name__} holds no plan: a part of it was extended, by itself.",
            "restore that part and extend the whole model",
        )
    with renamed_when_whole(target, needed) as partial, _with_digest(model):
        if anatomy.is_pipeline(model):
            model.save(str(partial), create_model_card=False)
            plain.check_written(model, partial)
        else:
            inner.save_pretrained(partial)
            if tokenizer is not None:
                tokenizer.save_pretrained(partial)
        write_limits(partial, made.length)
        replaced = replaced_engine_key(model)
        card = model_card(made, pipeline=anatomy.pipeline_class(model), original=original, had_engine_key=replaced)
        (partial / "README.md").write_text(card, encoding="utf-8")
    if parts := beyond_stock(made):
        warnings.warn(
            f"stock tools load {target} without {' and '.join(parts)}; longspan.load restores all", stacklevel=2
        )
    return target


@contextmanager
def _with_digest(model: Any) -> Iterator[None]:
    """The digest of the original beside the plan, for this save alone: a later one may be of other weights."""
    config = anatomy.text_config(anatomy.transformer(model))
    told = getattr(config, anatomy.PLAN_KEY)
    setattr(config, anatomy.PLAN_KEY, {**told, ORIGINAL: original_of(model)})
    try:
        yield
    finally:
        setattr(config, anatomy.PLAN_KEY, told)
