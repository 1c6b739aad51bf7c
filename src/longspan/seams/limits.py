"""How many tokens a pipeline lets in: the configuration, the tokenizer and sentence-transformers."""

from __future__ import annotations

from typing import Any

from longspan.seams import anatomy
from longspan.seams.journal import Journal


def apply(model: Any, journal: Journal, length: int) -> None:
    """Let a model read ``length`` tokens, also as it is saved by stock tools.

    Args:
        model: A SentenceTransformer or a transformers model, with a configuration of its own.
        journal: Takes it back.
        length: Tokens.
    """
    config = anatomy.text_config(anatomy.transformer(model))
    limit = getattr(config, "max_position_embeddings", None)
    if limit is not None and limit < length:
        config.max_position_embeddings = length
    if not anatomy.is_pipeline(model) or (reads := model.max_seq_length) is None:
        return
    journal.note(lambda: setattr(model, "max_seq_length", reads))
    model.max_seq_length = length
    # Tools that read tokenizer.json alone cut where it says so; transformers sets it anew in each call.
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    if backend is not None and (cut := backend.truncation):
        journal.note(lambda: backend.enable_truncation(**cut))
        backend.enable_truncation(**{**cut, "max_length": length})
