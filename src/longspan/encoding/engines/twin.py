"""A twin that computes: in evaluation mode, of fewer layers where asked, its linear layers prepacked."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers.activations import GELUActivation

from longspan.errors import EncodeError
from longspan.seams import anatomy
from longspan.twin import twin as sharing

_TOKENS = 1024
"""Tokens of the batch that the order of prepacked weights is chosen for; any number works."""


def twin(model: Any, layers: int | None = None, *, share: bool = True) -> Any:
    """A copy in evaluation mode that can be changed without changing the model.

    Args:
        model: A transformers model.
        layers: First layers to keep; a norm behind them stays.
        share: Whether parameters and buffers are the model's own; costs no memory.

    Raises:
        EncodeError: The model does not have so many layers.
    """
    made = (sharing(model) if share else copy.deepcopy(model)).eval()
    if getattr(made.config, "use_cache", False):
        made.config.use_cache = False
    if layers is not None:
        slot = _stack(made)
        if not 1 <= layers <= len(slot.module):
            raise EncodeError(
                f"This {type(model).__name__} has {len(slot.module)} layers, not {layers}.",
                f"use 1 to {len(slot.module)}",
            )
        slot.put(nn.ModuleList(slot.module[:layers]))
    return made


def _stack(model: Any) -> anatomy.Slot:
    total = anatomy.text_config(model).num_hidden_layers
    for parent in model.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.ModuleList) and len(child) == total:
                return anatomy.Slot(parent, name, child)
    raise EncodeError(f"The {total} layers of a {type(model).__name__} are not one list.", "use all layers")


def pad_token(model: Any) -> int:
    """The id that fills up rows, 0 where a model has none."""
    tokenizer = getattr(model, "tokenizer", None)
    found = getattr(tokenizer, "pad_token_id", None)
    if found is None:
        found = getattr(anatomy.text_config(anatomy.transformer(model)), "pad_token_id", None)
    return int(found or 0)


def special_ids(model: Any) -> list[int]:
    """The ids that the tokenizer or the configuration give a meaning of their own, within the vocabulary."""
    config = anatomy.text_config(anatomy.transformer(model))
    known = [value for name, value in vars(config).items() if name.endswith("_token_id")]
    known += getattr(getattr(model, "tokenizer", None), "all_special_ids", None) or []
    return sorted({i for i in known if isinstance(i, int) and 0 <= i < config.vocab_size})


def sharpen(model: nn.Module, *, prepack: bool) -> None:
    """Make a twin faster and no less exact; for inference only.

    GELUs write into their input, so that the widest tensor of a layer is not made twice. Linear layers on a
    CPU keep a copy of their weights in the order in which oneDNN reads them, and do a GELU behind them.

    Args:
        model: A twin.
        prepack: Whether linear layers may be copied; a model of float32 on a CPU only.
    """
    prepack = prepack and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is GELUActivation and child.act is nn.functional.gelu:
                setattr(parent, name, _InPlaceGELU())
        # BERT and its family: a linear layer that nothing but this activation reads.
        children = dict(parent.named_children())
        fused = prepack and isinstance(children.get("intermediate_act_fn"), _InPlaceGELU) and len(children) == 2
        for name, child in children.items() if prepack else ():
            if type(child) is nn.Linear:
                setattr(parent, name, _PrepackedLinear(child, "gelu" if fused else "none"))
                if fused:
                    parent.intermediate_act_fn = nn.Identity()


class _InPlaceGELU(nn.Module):
    """Exact GELU."""

    def forward(self, states: Tensor) -> Tensor:
        """Same shape, same memory."""
        result: Tensor = torch.ops.aten.gelu_(states)
        return result


class _PrepackedLinear(nn.Module):
    """A linear layer with prepacked weights, and a GELU behind it or "none"."""

    def __init__(self, linear: nn.Linear, after: str) -> None:
        super().__init__()
        self.out_features = linear.out_features
        weight = linear.weight.detach()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, _TOKENS)
        self.bias = None if linear.bias is None else linear.bias.detach()
        self.after = after

    def forward(self, states: Tensor) -> Tensor:
        """``[..., in]`` to ``[..., out]``."""
        rule = "none" if self.after == "gelu" else ""
        result: Tensor = torch.ops.mkldnn._linear_pointwise(states, self.weight, self.bias, self.after, [], rule)
        return result
