"""Tiny models with random weights, built from configurations: no network, no files."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from transformers import AutoConfig, AutoModel

WINDOW = 32
_SIZE: dict[str, Any] = {
    "vocab_size": 120,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "pad_token_id": 1,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
_ROPE = {**_SIZE, "max_position_embeddings": WINDOW}
_GQA = {**_ROPE, "num_key_value_heads": 2}
_ROBERTA = {**_SIZE, "max_position_embeddings": WINDOW + 2, "type_vocab_size": 1}

LEARNED_ENCODERS: dict[str, dict[str, Any]] = {
    "bert": {**_SIZE, "max_position_embeddings": WINDOW},
    "electra": {**_SIZE, "max_position_embeddings": WINDOW, "embedding_size": 16},
    "distilbert": {
        "vocab_size": 120,
        "dim": 32,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 48,
        "max_position_embeddings": WINDOW,
        "pad_token_id": 1,
    },
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "mpnet": {**_SIZE, "max_position_embeddings": WINDOW + 2},
}
LEARNED_DECODERS: dict[str, dict[str, Any]] = {
    "gpt2": {"vocab_size": 120, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": WINDOW, "eos_token_id": 3},
    "opt": {
        "vocab_size": 120,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "ffn_dim": 48,
        "max_position_embeddings": WINDOW,
        "word_embed_proj_dim": 32,
    },
}
ROPE_ENCODERS: dict[str, dict[str, Any]] = {
    "modernbert": {**_ROPE, "num_hidden_layers": 3, "global_attn_every_n_layers": 3, "local_attention": 16},
    "nomic_bert": _ROPE,
    "eurobert": _GQA,
    "gte": _ROPE,
    "jina_embeddings_v3": _ROPE,
}
ROPE_DECODERS: dict[str, dict[str, Any]] = {
    "llama": _GQA,
    "mistral": {**_GQA, "sliding_window": None, "head_dim": 8},
    "qwen2": _GQA,
    "qwen3": {**_GQA, "head_dim": 8},
    "phi3": _GQA,
    "gemma": {**_GQA, "head_dim": 8},
    "gemma3_text": {
        **_GQA,
        "head_dim": 8,
        "sliding_window": 16,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "gpt_neox": {**_ROPE, "rotary_pct": 0.5},
    "olmo2": _GQA,
}
ALIBI: dict[str, dict[str, Any]] = {
    "bloom": {"vocab_size": 120, "hidden_size": 32, "n_layer": 2, "n_head": 4, "seq_length": WINDOW},
    "mpt": {"vocab_size": 120, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": WINDOW},
    "falcon": {
        "vocab_size": 120,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "alibi": True,
        "max_position_embeddings": WINDOW,
    },
}
NO_POSITIONS: dict[str, dict[str, Any]] = {
    "t5": {"vocab_size": 120, "d_model": 32, "num_layers": 2, "num_heads": 4, "d_ff": 48, "d_kv": 8},
}
LEARNED = {**LEARNED_ENCODERS, **LEARNED_DECODERS}
ROPE = {**ROPE_ENCODERS, **ROPE_DECODERS}
DECODERS = {**LEARNED_DECODERS, **ROPE_DECODERS}
ALL = {**LEARNED, **ROPE, **ALIBI, **NO_POSITIONS}


def build(architecture: str, **changes: Any) -> Any:
    """A model with the same random weights at every call, in evaluation mode."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(architecture, **{**ALL[architecture], **changes})
    model = AutoModel.from_config(config).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


@cache
def tokens(rows: int, length: int, seed: int = 0) -> torch.Tensor:
    """Random word ids that avoid the special ones, int64 ``[rows, length]``."""
    return torch.randint(5, 120, (rows, length), generator=torch.Generator().manual_seed(seed))


def states(model: Any, ids: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Last hidden states ``[rows, length, hidden]``."""
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids) if mask is None else mask).last_hidden_state
