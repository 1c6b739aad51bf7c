"""The rotary twin: an encoder's weights in the same network with rotary positions in place of the table.

Every family here computes one network, the BERT of 2018: LayerNorm behind each residual, biases everywhere, scores
over sqrt(head_dim), a feed-forward net of two layers. Transformers' JinaEmbeddingsV3Model is that network with
rotated queries and keys and no table, so a conversion renames the weights and computes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from longspan.conversion import refusals
from longspan.errors import ConvertError
from longspan.inspection import inspect
from longspan.seams import anatomy

TABLE = "embeddings.position_embeddings.weight"
"""Name of the table of learned positions, the same in every family."""


@dataclass(frozen=True)
class Twin:
    """An encoder renamed into the rotary network, and the table that it no longer reads.

    Attributes:
        model: JinaEmbeddingsV3Model in evaluation mode, float32, on the original's device. Its embeddings are the
            words' and token types' alone: nothing in them says a position.
        position: The original's learned table from position 0 on, float32 ``[rows, hidden]``.
    """

    model: Any
    position: Tensor


@dataclass(frozen=True)
class Names:
    """How one family names the modules and fields of the network.

    Attributes:
        layers: The list of layers.
        layer: Module of the twin's layer to module of this family's layer.
        types: The embeddings of token types; empty where the family has none.
        pooler: The dense layer of the pooler; empty where the family has none.
        fields: Field of the twin's configuration to field of this family's, where the two differ.
        epsilon: Of every LayerNorm, where the family writes it into its code instead of its configuration.
    """

    layers: str
    layer: Mapping[str, str]
    types: str = "embeddings.token_type_embeddings"
    pooler: str = "pooler.dense"
    fields: Mapping[str, str] = field(default_factory=dict)
    epsilon: float | None = None


_BERT_LAYER = {
    "self_attn.q_proj": "attention.self.query",
    "self_attn.k_proj": "attention.self.key",
    "self_attn.v_proj": "attention.self.value",
    "self_attn.o_proj": "attention.output.dense",
    "post_attention_layernorm": "attention.output.LayerNorm",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
    "post_mlp_layernorm": "output.LayerNorm",
}
_BERT = Names("encoder.layer", _BERT_LAYER)
_DISTILBERT = Names(
    "transformer.layer",
    {
        "self_attn.q_proj": "attention.q_lin",
        "self_attn.k_proj": "attention.k_lin",
        "self_attn.v_proj": "attention.v_lin",
        "self_attn.o_proj": "attention.out_lin",
        "post_attention_layernorm": "sa_layer_norm",
        "mlp.fc1": "ffn.lin1",
        "mlp.fc2": "ffn.lin2",
        "post_mlp_layernorm": "output_layer_norm",
    },
    types="",
    pooler="",
    fields={
        "intermediate_size": "hidden_dim",
        "hidden_act": "activation",
        "hidden_dropout_prob": "dropout",
        "attention_probs_dropout_prob": "attention_dropout",
    },
    epsilon=1e-12,
)
NAMES: dict[str, Names] = {
    "bert": _BERT,
    "camembert": _BERT,
    "distilbert": _DISTILBERT,
    "electra": Names("encoder.layer", _BERT_LAYER, pooler=""),
    "roberta": _BERT,
    "xlm-roberta": _BERT,
}
"""The families that can be converted, by the ``model_type`` of their configuration."""

_FIELDS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "initializer_range",
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
    "tie_word_embeddings",
)
_OPTIONAL = ("cls_token_id", "sep_token_id", "mask_token_id", "classifier_dropout")


def rotary_twin(model: Any, *, base: float, window: int | None = None) -> Twin:
    """The encoder's weights in the same network with rotary positions and no table.

    With the rotation off and the table's rows added to the word vectors by hand, the twin's states are the
    original's. With the rotation on it has lost what it knew of positions.

    Args:
        model: A transformers encoder, a masked language model around one, or a sentence-transformers pipeline.
            It is left as it is.
        base: Of the rotation: pair i turns by ``base ** (-2 i / head_dim)`` radians per token.
        window: Trained length in tokens; as many as the table has positions where None.

    Raises:
        ConvertError: The model is none of the families of NAMES, or its weights cannot be carried over.
        InspectError: It cannot be read, or the window exceeds its table.
    """
    if isinstance(base, bool) or not isinstance(base, (int, float)) or not math.isfinite(base) or base <= 1:
        raise ConvertError(f"base={base!r} is no base of a rotation.", "give a number above 1, such as 10000")
    encoder = refusals.convertible(anatomy.transformer(model), tuple(NAMES))
    names = NAMES[encoder.config.model_type]
    weights = refusals.readable(encoder)
    geometry = inspect(encoder, window=window)
    twin = _empty(encoder.config, names, base=float(base), window=geometry.window)
    _fill(twin, weights, names)
    position = weights[TABLE][geometry.pad_offset :].to(torch.float32, copy=True)
    return Twin(twin.to(position.device), position)


def _empty(config: Any, names: Names, *, base: float, window: int) -> Any:
    """The twin with weights that mean nothing yet, float32, on the CPU."""
    from transformers import JinaEmbeddingsV3Config, JinaEmbeddingsV3Model

    fields = {name: getattr(config, names.fields.get(name, name)) for name in _FIELDS}
    fields |= {name: getattr(config, name) for name in _OPTIONAL if hasattr(config, name)}
    # fork_rng: the weights drawn here are overwritten, so a caller's own draws shall not depend on them.
    with torch.random.fork_rng(devices=[]):
        twin: Any = JinaEmbeddingsV3Model(
            JinaEmbeddingsV3Config(
                **fields,
                layer_norm_eps=config.layer_norm_eps if names.epsilon is None else names.epsilon,
                type_vocab_size=config.type_vocab_size if names.types else 1,
                max_position_embeddings=window,
                rope_parameters={"rope_type": "default", "rope_theta": base},
            )
        )
    return twin.to(torch.float32).eval()


def _fill(twin: nn.Module, weights: Mapping[str, Tensor], names: Names) -> None:
    """Give every parameter of the twin its value, and leave no weight of the original behind."""
    filled, used = {}, {TABLE}
    for name, parameter in twin.named_parameters():
        module, kind = name.rsplit(".", 1)
        origin = _origin(module, names)
        source = f"{origin}.{kind}"
        if module == "pooler.dense" and source not in weights:
            # Nothing trained a pooler. A checkpoint without one would be given random weights when it is loaded.
            filled[name] = torch.eye(*parameter.shape) if kind == "weight" else torch.zeros(parameter.shape)
        elif not origin:
            filled[name] = torch.zeros(parameter.shape)
        elif source not in weights:
            raise ConvertError(f"The model has no weight {source!r}.", refusals.FRESH)
        elif weights[source].shape != parameter.shape:
            raise ConvertError(
                f"{source!r} has the shape {list(weights[source].shape)}, its configuration says "
                f"{list(parameter.shape)}.",
                refusals.FRESH,
            )
        else:
            filled[name] = weights[source]
            used.add(source)
    if extra := sorted(weights.keys() - used):
        raise ConvertError(
            f"{len(extra)} weights have no place in the rotary network: {', '.join(extra[:3])}.", refusals.FRESH
        )
    twin.load_state_dict(filled)


def _origin(module: str, names: Names) -> str:
    """The original's name of a module of the twin; empty where it has none."""
    if module.startswith("layers."):
        _, number, rest = module.split(".", 2)
        return f"{names.layers}.{number}.{names.layer[rest]}"
    special = {"embeddings.token_type_embeddings": names.types, "pooler.dense": names.pooler}
    return special.get(module, module)
