"""Which encoders a conversion takes, and for every other one why not and what works instead."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from longspan.errors import ConvertError
from longspan.seams import anatomy, slopes

FRESH = "load the checkpoint with transformers' own class (AutoModel), without adapters or changed modules"
_KEPT_HEADS = ("ForMaskedLM", "ForPreTraining")
"""Wrappers whose heads only served to train the encoder; what they wrap is what an embedding model is made of."""
_FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
_RELATIVE = ("relative_attention_num_buckets", "relative_attention", "position_buckets")


def convertible(model: Any, families: tuple[str, ...]) -> Any:
    """The encoder inside, of a kind whose weights fit the rotary network.

    Args:
        model: A transformers model, with or without a head.
        families: The ``model_type`` of each family that can be converted.

    Raises:
        ConvertError: It is another kind of model; the hint says what works for it.
    """
    instead = f"convert an encoder with learned positions, without a head: {', '.join(families)}"
    if not isinstance(model, nn.Module) or not hasattr(model, "base_model") or not hasattr(model, "config"):
        raise ConvertError(f"A {type(model).__name__} is no transformers model.", instead)
    encoder: Any = model.base_model
    config = anatomy.text_config(model)
    if getattr(encoder, anatomy.APPLIED, None) or getattr(config, anatomy.PLAN_KEY, None):
        raise ConvertError(
            "longspan has extended this model already; a conversion needs the positions it was trained with.",
            "convert the original: longspan.restore(model), or load the checkpoint that was extended",
        )
    _refuse_positions(encoder, config)
    if config.model_type == "albert":
        raise ConvertError(
            "ALBERT computes every layer with one set of weights, which the rotary network cannot share.", instead
        )
    if config.model_type not in families or not type(encoder).__module__.startswith("transformers.models."):
        raise ConvertError(f"A {type(encoder).__name__} ({config.model_type}) cannot be converted.", instead)
    _refuse_shape(encoder, config)
    if encoder is not model and not type(model).__name__.endswith(_KEPT_HEADS):
        raise ConvertError(
            f"A {type(model).__name__} has a trained head, which would be lost.",
            f"convert the encoder under it alone: model.base_model, a {type(encoder).__name__}",
        )
    return encoder


def _refuse_positions(encoder: nn.Module, config: Any) -> None:
    """Positions that are no plain table of an encoder, whatever the family."""
    kind, name = getattr(config, "position_embedding_type", None) or "absolute", type(encoder).__name__
    # ALiBi first: a Falcon with ALiBi keeps a rotary module that it does not call.
    alibi = kind == "alibi" or config.model_type in ("bloom", "mpt") or getattr(config, "alibi", False)
    if alibi or slopes.bias_owners(encoder):
        raise ConvertError(
            f"A {name} has no table of positions: ALiBi takes a slope times the distance off each score.",
            "extend it as it is: longspan extend MODEL --to LENGTH",
        )
    if anatomy.rotary_modules(encoder) or kind in ("rope", "rotary"):
        raise ConvertError(
            f"A {name} has rotary positions already.", "extend it as it is: longspan extend MODEL --to LENGTH"
        )
    if any(getattr(config, key, None) for key in _RELATIVE) or config.model_type.startswith(("t5", "deberta")):
        raise ConvertError(
            f"A {name} knows positions from learned biases between pairs of tokens, by their distance, and not from a "
            "table alone: a rotation of queries and keys has nothing to replace.",
            "extend its table as it is: longspan extend MODEL --to LENGTH"
            if anatomy.position_table(encoder)
            else "read long texts in windows with longspan encode, or convert another encoder",
        )
    if kind != "absolute":
        raise ConvertError(
            f"position_embedding_type={kind!r} of this {name} adds learned terms for each distance to the scores.",
            "convert a model with position_embedding_type 'absolute'",
        )
    causal = any(getattr(module, "is_causal", False) is True for module in encoder.modules())
    if causal or getattr(config, "is_decoder", False) or getattr(config, "add_cross_attention", False):
        raise ConvertError(
            f"This {name} is a decoder: its tokens see only those before them, or another model's states.",
            "extend it as it is: longspan extend MODEL --to LENGTH; for a conversion, load an encoder with "
            "is_decoder=False, add_cross_attention=False",
        )


def _refuse_shape(encoder: nn.Module, config: Any) -> None:
    """Sizes that the rotary network cannot have."""
    width, hidden, heads = (
        getattr(config, "embedding_size", config.hidden_size),
        config.hidden_size,
        config.num_attention_heads,
    )
    if width != hidden:
        raise ConvertError(
            f"The embeddings of this {type(encoder).__name__} are {width} wide and its layers {hidden}: a projection "
            "stands between them, behind the LayerNorm, and the rotary network has none.",
            "convert a model whose embedding_size is its hidden_size, such as the base and large sizes of ELECTRA",
        )
    if hidden % heads or hidden // heads % 2:
        raise ConvertError(
            f"{hidden} dimensions over {heads} heads make {hidden / heads:g} a head; a rotation turns pairs.",
            "convert a model with an even head_dim",
        )


def readable(encoder: nn.Module) -> dict[str, Tensor]:
    """Every parameter by name, detached: in floating point, loaded, and finite.

    Raises:
        ConvertError: One of them is quantised, on no device, NaN or infinite.
    """
    if getattr(encoder.config, "quantization_config", None):
        raise ConvertError("The weights of this model are quantised.", "load it in float32, bfloat16 or float16")
    weights = {name: parameter.detach() for name, parameter in encoder.named_parameters(remove_duplicate=False)}
    for name, weight in weights.items():
        # A quantised weight may say that it is bfloat16, and be a tensor of another class.
        if weight.dtype not in _FLOATS or type(weight) not in (Tensor, nn.Parameter):
            kind = str(weight.dtype).removeprefix("torch.")
            raise ConvertError(
                f"{name!r} is quantised ({kind}, {type(weight).__name__}).", "load it in float32, bfloat16 or float16"
            )
        if weight.is_meta:
            raise ConvertError(f"{name!r} has no values: it is on the meta device.", "load the weights first")
        if not torch.isfinite(weight).all():
            count = int((~torch.isfinite(weight)).sum())
            raise ConvertError(
                f"{count} of the {weight.numel()} values of {name!r} are NaN or infinite.",
                "load a sound checkpoint, in bfloat16 or float32 where float16 overflowed",
            )
    return weights
