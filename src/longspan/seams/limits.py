"""How many tokens a pipeline lets in: the configuration, the tokenizer and sentence-transformers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from longspan.seams import anatomy


def apply(model: Any, length: int) -> Callable[[], None]:
    """Let a model read ``length`` tokens; returns the undo."""
    config = anatomy.text_config(anatomy.transformer(model))
    limit = getattr(config, "max_position_embeddings", None)
    reads = model.max_seq_length if anatomy.is_pipeline(model) else None
    if limit is not None and limit < length:
        config.max_position_embeddings = length
    if reads is not None:
        model.max_seq_length = length

    def undo() -> None:
        if limit is not None:
            config.max_position_embeddings = limit
        if reads is not None:
            model.max_seq_length = reads

    return undo
