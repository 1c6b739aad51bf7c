"""Where a model keeps what seams write: the transformer inside, its table, its rotary modules."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from longspan.errors import InspectError

QUERY_NAMES = ("query", "q_lin", "q_proj")
APPLIED = "_longspan"
"""Attribute of the base model, shared by every wrapper around it, that holds what was done to it."""
PLAN_KEY = "longspan"
"""Key of the text part's configuration that holds the plan, as JSON data, as long as a model is extended."""

_TABLE = re.compile("wpe|embed_positions?|pos(ition)?s?_emb(ed)?(ding)?s?")
"""What models call the table of token positions; tables of boxes, patches and relative distances have longer names."""


@dataclass(frozen=True)
class Slot:
    """A submodule and the place it is held at.

    Attributes:
        parent: The module that holds it.
        name: The attribute it is held under.
        module: The submodule itself.
    """

    parent: nn.Module
    name: str
    module: Any

    def put(self, module: nn.Module) -> None:
        """Hold another module in its place."""
        setattr(self.parent, self.name, module)


def transformer(model: Any) -> Any:
    """The transformers model inside a sentence-transformers pipeline, or the model itself.

    Raises:
        InspectError: It is a pipeline that cannot be read as one transformer and what stands behind it.
    """
    if told := refusal(model):
        raise InspectError(*told)
    if not hasattr(model, "modules"):
        raise InspectError(
            f"A {type(model).__name__} was given where a model belongs.", "load it first: longspan.load(name or folder)"
        )
    return model[0].auto_model if is_pipeline(model) else model


def pipeline_class(model: Any) -> str:
    """What sentence-transformers calls a pipeline, such as SparseEncoder; "" for a bare transformers model."""
    return str(getattr(model, "model_type", "SentenceTransformer")) if is_pipeline(model) else ""


def refusal(model: Any) -> tuple[str, str] | None:
    """Why a pipeline cannot be extended, as an error's fact and hint; None where it can, or is no pipeline."""
    if not isinstance(model, nn.Sequential):
        return None
    if not len(model):
        return f"This {type(model).__name__} is empty.", "pass a pipeline that begins with a Transformer"
    name, first = type(model).__name__, type(model[0]).__name__
    if not is_pipeline(model):
        return (
            f"This {name} begins with {first}, not with one transformer.",
            "extend a pipeline that begins with a Transformer; or each route of a Router, before joining them",
        )
    if not hasattr(model[0].auto_model, "config"):
        return (
            f"The transformer of this {name} is inside a {type(model[0].auto_model).__name__}.",
            "take it out of that, and put it around the whole pipeline where it is needed",
        )
    if pipeline_class(model) == "MultiVectorEncoder":
        return (
            f"A {name} makes a vector of every token, and cuts documents at a length of its own, whatever the window.",
            "extend the SentenceTransformer or the transformers model that it was made of",
        )
    return None


def is_pipeline(model: Any) -> bool:
    """Whether it is a sentence-transformers model; told by shape, since importing that package takes seconds."""
    return isinstance(model, nn.Sequential) and len(model) > 0 and hasattr(model[0], "auto_model")


def word_rows(model: Any) -> int | None:
    """Rows of the embedding of words of a transformers model, None where it keeps none."""
    try:
        rows = getattr(model.get_input_embeddings(), "num_embeddings", None)
    except NotImplementedError:
        return None
    return rows if isinstance(rows, int) else None


def text_config(model: Any) -> Any:
    """The configuration of the text part of a transformers model."""
    config = model.config
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def text_modules(model: nn.Module) -> Iterator[nn.Module]:
    """The modules of a model without those that have another part's configuration, such as a vision tower."""
    config = getattr(model, "config", None)
    parts = [getattr(config, name, None) for name in getattr(config, "sub_configs", None) or ()]
    text = text_config(model) if parts else config
    others = {id(part) for part in parts if part is not None and part is not text}
    waiting = [model]
    while waiting:
        module = waiting.pop()
        yield module
        inner = [child for child in module.children() if id(getattr(child, "config", None)) not in others]
        waiting += reversed(inner)


def position_tables(model: nn.Module) -> list[Slot]:
    """Every table of token positions that was learned, of whatever class; fixed tables of sines (RoFormer) are none."""
    return [
        Slot(parent, name, child)
        for parent in text_modules(model)
        for name, child in parent.named_children()
        if _TABLE.fullmatch(name)
        and isinstance(weight := getattr(child, "weight", None), nn.Parameter)
        and weight.dim() == 2
        and "Sinusoidal" not in type(child).__name__
    ]


def position_table(model: nn.Module) -> Slot | None:
    """The learned absolute position table, None when there is none."""
    return next((slot for slot in position_tables(model) if isinstance(slot.module, nn.Embedding)), None)


def pad_offset(table: nn.Embedding) -> int:
    """Rows of a position table in front of position 0.

    The RoBERTa family starts behind its padding row; OPT keeps an offset of its own.
    """
    return table.padding_idx + 1 if table.padding_idx is not None else int(getattr(table, "offset", 0))


def query_projections(model: nn.Module) -> list[nn.Linear]:
    """The linear layers that make queries, where a factor on them is a factor on the logits.

    Empty where queries are normalised or cut off afterwards, are made together with keys and values, or where
    a relative bias is added to the logits that the factor would miss.
    """
    config = text_config(model)
    if getattr(config, "relative_attention_num_buckets", None) or getattr(config, "clip_qkv", None):
        return []
    return [
        child
        for parent in model.modules()
        for name, child in parent.named_children()
        if name in QUERY_NAMES and isinstance(child, nn.Linear) and _only_projects(parent)
    ]


def _only_projects(attention: nn.Module) -> bool:
    # Anything else may be a norm on the queries; it has many names.
    return all(isinstance(child, (nn.Linear, nn.Dropout)) for child in attention.children())


def rotary_modules(model: nn.Module) -> list[Slot]:
    """Every module that turns positions into cos and sin."""
    return [
        Slot(parent, name, child)
        for parent in text_modules(model)
        for name, child in parent.named_children()
        if any(key.endswith("inv_freq") for key, _ in child.named_buffers(recurse=False))
    ]
