"""inspect: read the Geometry of a live model, a local folder, or a hub id."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from longspan.configs import check_config
from longspan.errors import InspectError, one_line, shown
from longspan.geometry import SLIDING, Encoding, Geometry, Role
from longspan.seams import anatomy, slopes, trial
from longspan.sources import CAUSAL, family, locate, settings
from longspan.values import is_number, whole

_ALIBI = ("bloom", "mpt")
_WINDOW_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx")
_SCALED_WINDOW = ("yarn", "llama3", "longrope", "linear")
_FREQUENCIES = 2**14
_WORDS = 64
"""Vocabulary of a model that is built to see which way it looks."""


def inspect(model: Any, *, window: int | None = None) -> Geometry:
    """Read the facts that methods need.

    Args:
        model: A SentenceTransformer, a transformers model, a local folder, or a hub id. From a
            folder or id only configuration is read, no weights.
        window: Trained length in tokens, where the model does not say it, or says more than it
            was trained for.

    Raises:
        InspectError: The model cannot be read, or a fact is missing.

    Example:
        >>> inspect("sentence-transformers/all-MiniLM-L6-v2").window
        512
    """
    if isinstance(model, (str, Path)):
        skeleton, pipeline = _from_files(locate(model))
        return _read(skeleton, window=window, source=str(model), **pipeline)
    inner = anatomy.transformer(model)
    if not hasattr(inner, "config"):
        raise InspectError(
            f"A {type(model).__name__} has no transformers configuration.",
            "pass a SentenceTransformer, a transformers model, a folder or a hub id",
        )
    pipeline = {}
    if anatomy.is_pipeline(model):
        pooling = next((str(m.pooling_mode) for m in model if hasattr(m, "pooling_mode")), "")
        pipeline = {"reads": model.max_seq_length, "pooling": pooling}
    return _read(inner, window=window, source=str(inner.config._name_or_path), **pipeline)


def trained(window: Any) -> int | None:
    """A trained length that somebody gives [tokens], None where nobody does.

    Raises:
        InspectError: It is no length.
    """
    if window is None:
        return None
    hint = "give the trained length, such as 512"
    found = whole(window, "The trained window in tokens", InspectError, hint)
    if found < 1 or not is_number(found):
        raise InspectError(f"A trained window of {shown(found)} tokens is none.", hint)
    return found


def _from_files(source: str) -> tuple[Any, dict[str, Any]]:
    """A model without weights, and what the sentence-transformers files beside it say."""
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    try:
        if (told := settings(source, "config.json")) is not None:
            check_config(told, source, InspectError)
        causal = family(source, InspectError) == CAUSAL
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        kind: Any = AutoModelForCausalLM if causal else AutoModel  # the head is counted where it is not tied
        with torch.device("meta"):
            skeleton = kind.from_config(config, trust_remote_code=False)
        extra = {name: _settings(source, name) for name in ("sentence_bert_config.json", "1_Pooling/config.json")}
    except InspectError:
        raise
    except Exception as error:  # a broken configuration fails in every way its model class can
        raise InspectError(
            f"{source!r} cannot be read: {one_line(error)}", "give a folder with a valid config.json, or a hub id"
        ) from error
    pooling = extra["1_Pooling/config.json"]
    modes = [key.removeprefix("pooling_mode_") for key, on in pooling.items() if on is True and "pooling_mode" in key]
    return skeleton, {
        "reads": extra["sentence_bert_config.json"].get("max_seq_length"),
        "pooling": str(pooling.get("pooling_mode") or "+".join(m.removesuffix("_tokens") for m in modes)),
    }


def _settings(source: str, name: str) -> dict[str, Any]:
    found = settings(source, name)
    return found if isinstance(found, dict) else {}


def _read(model: Any, *, window: int | None, source: str, reads: int | None = None, pooling: str = "") -> Geometry:
    config = anatomy.text_config(model)
    _check_reads_text(model, config)
    table, rotary = anatomy.position_table(model), anatomy.rotary_modules(model)
    encoding = "alibi" if slopes.bias_owners(model) else _encoding(config, table, rotary)
    rope = _rotation(config, rotary[0].module) if encoding == "rope" else {}
    offset = anatomy.pad_offset(table.module) if table and encoding == "learned" else 0
    window = trained(window)
    length = window or _window(config, table, encoding, offset, rope.get("rope_parameters", {}))
    if encoding == "learned" and table and window and window > table.module.num_embeddings - offset:
        raise InspectError(
            f"window={window} exceeds the {table.module.num_embeddings - offset} rows of the position table.",
            "give at most that many tokens",
        )
    heads, live = config.num_attention_heads, getattr(model.base_model, anatomy.APPLIED, None)
    is_count = reads is None or (isinstance(reads, int) and not isinstance(reads, bool) and reads > 0)
    if length < 1 or heads < 1 or not is_count:
        raise InspectError(
            f"{source!r} says window={length}, heads={heads}, max_seq_length={reads!r}.", "correct its configuration"
        )
    return Geometry(
        architecture=config.model_type,
        role=_role(model, config),
        encoding=encoding,
        window=length,
        reads=min(reads or length, length),
        layers=config.num_hidden_layers,
        heads=heads,
        kv_heads=getattr(config, "num_key_value_heads", None) or heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
        hidden=config.hidden_size,
        parameters=sum(p.numel() for p in model.parameters()),
        dtype=str(getattr(config, "dtype", None) or next(model.parameters()).dtype).removeprefix("torch."),
        pooling=pooling,
        pad_offset=offset,
        scalable_queries=len(anatomy.query_projections(model)) == config.num_hidden_layers,
        layer_types=tuple(getattr(config, "layer_types", None) or ()),
        reach=_reach(config),
        sliding=_sliding(config),
        relative_bias=encoding != "relative" and _relative(config),
        extended=live.plan.to_json() if live else getattr(config, anatomy.PLAN_KEY, None),
        source=source,
        **rope,
    )


def _encoding(config: Any, table: anatomy.Slot | None, rotary: list[anatomy.Slot]) -> Encoding:
    if config.model_type in _ALIBI or getattr(config, "alibi", False):
        return "alibi"
    if rotary:
        return "rope"
    if table:
        return "learned"
    return "relative" if _relative(config) else "none"


def _relative(config: Any) -> bool:
    keys = ("relative_attention_num_buckets", "relative_attention", "position_buckets")
    return any(getattr(config, key, None) for key in keys)


def _check_reads_text(model: Any, config: Any) -> None:
    """Refuse a model that reads no tokens, or whose table is of another class than longspan can lengthen."""
    reads = getattr(model, "main_input_name", "input_ids")
    if reads != "input_ids":
        raise InspectError(
            f"This {config.model_type} reads {reads}, not token ids.",
            "longspan extends what reads text: pass the text part of the model, where it has one",
        )
    facts = ("num_hidden_layers", "num_attention_heads", "hidden_size")
    if missing := [name for name in facts if not isinstance(getattr(config, name, None), int)]:
        raise InspectError(
            f"The configuration of this {config.model_type} does not say its {' and '.join(missing)}.",
            "longspan extends models whose layers are attention",
        )
    tables = anatomy.position_tables(model)
    if odd := [type(slot.module).__name__ for slot in tables if not isinstance(slot.module, nn.Embedding)]:
        raise InspectError(
            f"This {config.model_type} keeps its positions in a {odd[0]}, which longspan cannot lengthen.",
            "take a model whose position table is a plain embedding",
        )


def _role(model: Any, config: Any) -> Role:
    if getattr(config, "is_causal", True) is False or getattr(config, "use_bidirectional_attention", False):
        return "encoder"
    told = getattr(config, "is_decoder", None)
    if told or getattr(config, "causal", False) or config.model_type in _ALIBI:
        return "decoder"
    if any(getattr(module, "is_causal", False) is True for module in model.modules()):
        return "decoder"
    if told is None and type(model).__name__.endswith("ForCausalLM"):
        return "decoder"
    if config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES or getattr(config, "is_encoder_decoder", False):
        return "encoder"
    return "encoder" if _looks_ahead(model) else "decoder"


def _looks_ahead(model: Any) -> bool:
    """Whether a model that does not tell reads what comes behind a token; one without weights is built with a layer."""
    if not next(model.parameters()).is_meta:
        return trial.looks_ahead(model)
    config = copy.deepcopy(model.config)
    text = config.get_text_config()
    text.num_hidden_layers, text.vocab_size = 1, min(text.vocab_size, _WORDS)
    for name, value in list(vars(text).items()):
        if name.endswith("_token_id") and isinstance(value, int) and value >= _WORDS:
            setattr(text, name, 0)
        elif name == "layer_types" and value:
            text.layer_types = value[:1]
    with torch.device("cpu"), torch.random.fork_rng(devices=[]):
        try:
            return trial.looks_ahead(type(model)._from_config(config, dtype=torch.float32))
        except Exception:  # noqa: BLE001 - a model of one layer may be none: it is taken for what most are
            return True


def _window(config: Any, table: anatomy.Slot | None, encoding: str, offset: int, rope: dict[str, Any]) -> int:
    if encoding == "learned" and table:
        rows = int(table.module.num_embeddings) - offset
        said = getattr(config, "max_position_embeddings", None)  # Nystromformer never reads its first two rows
        return min(rows, said) if isinstance(said, int) and said > 0 else rows
    for key in _WINDOW_KEYS:
        if isinstance(value := getattr(config, key, None), int) and value > 0:
            original = rope.get("original_max_position_embeddings", value if rope.get("rope_type") != "linear" else 0)
            if rope.get("rope_type") in _SCALED_WINDOW:
                # Some checkpoints keep the short length here and say the long one only through the factor.
                return max(value, int(rope.get("factor", 1) * original))
            return value
    raise InspectError(
        f"The configuration of this {config.model_type} does not say its trained length "
        f"(none of {', '.join(_WINDOW_KEYS)}).",
        "pass it: inspect(model, window=2048), or --window 2048",
    )


def _rotation(config: Any, module: Any) -> dict[str, Any]:
    parameters = dict(getattr(config, "rope_parameters", None) or {})
    prefixed = sorted(
        name.removesuffix("_inv_freq") for name, _ in module.named_buffers() if name.endswith("_inv_freq")
    )
    types = [name for name in prefixed if not name.endswith("original") and name in parameters]
    layer_type = "full_attention" if "full_attention" in types else (types[0] if types else "")
    prefix = f"{layer_type}_" if layer_type else ""
    if layer_type:
        parameters = dict(parameters[layer_type])
    if next(module.buffers()).dtype != torch.float32 or next(module.buffers()).is_meta:
        # No values yet, or values rounded by a cast of the whole model: the configuration has them exactly.
        if (size := max(buffer.numel() for buffer in module.buffers())) > _FREQUENCIES:
            raise InspectError(
                f"The configuration of this {config.model_type} asks for {size:,} rotary frequencies.",
                f"correct head_dim, or what share of it rotates; at most {_FREQUENCIES:,} are read",
            )
        module = type(module)(config=config)
    inv_freq = getattr(module, f"{prefix}inv_freq").float().flatten().tolist()
    return {
        "rotary_dim": 2 * len(inv_freq),
        "base": float(parameters.get("rope_theta") or getattr(config, "rope_theta", None) or 10_000.0),
        "inv_freq": tuple(inv_freq),
        "attention_factor": float(getattr(module, f"{prefix}attention_scaling", 1.0)),
        "rope_parameters": parameters,
        "longrope_only": not _accepts(config, {**parameters, "rope_type": "linear", "factor": 2.0}, layer_type),
        "layer_type": layer_type,
    }


def _accepts(config: Any, parameters: dict[str, Any], layer_type: str) -> bool:
    """Whether a configuration of this kind may hold such rope parameters."""
    tried = copy.deepcopy(config)
    tried.rope_parameters = {**config.rope_parameters, layer_type: parameters} if layer_type else parameters
    try:
        tried.validate_rope()
    except (ValueError, AttributeError):
        return False
    return True


def _reach(config: Any) -> int | None:
    types = getattr(config, "layer_types", None) or ()
    sliding = getattr(config, "sliding_window", None)
    if getattr(config, "use_sliding_window", True) is False or any("full" in kind for kind in types):
        return None
    return sliding if isinstance(sliding, int) else None


def _sliding(config: Any) -> int | None:
    types = getattr(config, "layer_types", None) or ()
    if any(kind in SLIDING for kind in types):
        widths = (getattr(config, key, None) for key in ("sliding_window", "attention_chunk_size"))
        return next((width for width in widths if isinstance(width, int)), None)
    return _reach(config)
