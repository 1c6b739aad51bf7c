"""The rotation map, written as transformers' own rope_parameters so that a reload builds the same."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from longspan.errors import SeamError
from longspan.families import Frequencies
from longspan.geometry import Geometry
from longspan.seams import anatomy
from longspan.seams.arguments import intercept
from longspan.seams.journal import Journal
from longspan.seams.positions import count_real


class KeepFirst:
    """A forward hook on a rotary module: positions below ``first`` keep the trained cos and sin.

    Args:
        trained: The rotary module before the change.
        first: Positions that keep it, tokens.
        layer_type: The layer type that was changed, "" when layers share one map.
    """

    def __init__(self, trained: nn.Module, first: int, layer_type: str) -> None:
        self.trained = trained
        self.first = first
        self.layer_type = layer_type

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, ...]:
        """Splice the trained rows of cos and sin ``[B, N, D]`` into the output."""
        positions = kwargs["position_ids"] if "position_ids" in kwargs else args[1]
        layer_type = kwargs.get("layer_type", args[2] if len(args) > 2 else "")
        if layer_type != self.layer_type:
            return output
        kept = self.trained.to(output[0].device)(*args, **kwargs)
        near = (positions < self.first).unsqueeze(-1)
        return tuple(torch.where(near, old, new) for old, new in zip(kept, output, strict=True))


def apply(
    model: Any, journal: Journal, parameters: dict[str, Any], wanted: Frequencies, geometry: Geometry, length: int
) -> None:
    """Rebuild every rotary module from new ``rope_parameters``.

    Args:
        model: A transformers model with a configuration of its own.
        journal: Takes it back: the old modules, the same objects as before.
        parameters: transformers' rope parameters for the extended layers.
        wanted: The map that must come out, against which the rebuilt modules are checked.
        geometry: The model before.
        length: The new ``max_position_embeddings``, tokens.

    Raises:
        SeamError: The rotary modules are not driven by the configuration.
    """
    config, slots = anatomy.text_config(model), anatomy.rotary_modules(model)
    # Which positions are the first ones must not depend on padding; a map alone only sees differences.
    if wanted.first:
        intercept(model.base_model, journal, count_real)
    if hasattr(config, "original_max_position_embeddings"):  # Phi-3 reads it in front of rope_parameters
        config.original_max_position_embeddings = geometry.window
    trained = copy.deepcopy(config)
    new = getattr(config, "rope_parameters", None) or {}
    config.rope_parameters = {**new, geometry.layer_type: parameters} if geometry.layer_type else parameters
    config.max_position_embeddings = length
    for slot in slots:
        rebuilt = type(slot.module)(config=config).to(next(slot.module.buffers()).device)
        _check(rebuilt, wanted, geometry.layer_type)
        if wanted.first:
            old = _trained(slot.module, trained, geometry)
            rebuilt.register_forward_hook(KeepFirst(old, wanted.first, geometry.layer_type), with_kwargs=True)
        journal.set(slot.parent, slot.name, rebuilt)


def _check(module: nn.Module, wanted: Frequencies, layer_type: str) -> None:
    prefix = f"{layer_type}_" if layer_type else ""
    got = getattr(module, f"{prefix}inv_freq").double().cpu()
    factor = getattr(module, f"{prefix}attention_scaling", 1.0)
    if not torch.allclose(got, wanted.inv_freq, rtol=1e-5, atol=1e-12) or abs(factor - wanted.attention_factor) > 1e-6:
        raise SeamError(
            f"{type(module).__name__} did not take the new rotation map: it is not driven by rope_parameters.",
            "extend a model whose configuration has rope_parameters",
        )


def _trained(module: nn.Module, config: Any, geometry: Geometry) -> nn.Module:
    # A checkpoint that was saved extended holds no trained map any more; the geometry does.
    trained = geometry.rope_parameters
    config.rope_parameters = (
        {**config.rope_parameters, geometry.layer_type: trained} if geometry.layer_type else dict(trained)
    )
    config.max_position_embeddings = geometry.window
    return type(module)(config=config)
