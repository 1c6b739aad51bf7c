"""Whether a model is plain: what stock tools make of its configuration, so that its files hold all of it.

Adapters, parametrisations, quantised layers, wrappers and hooks change what a model computes, and a checkpoint of it
would be that of another model, or of none.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from longspan.errors import StorageError
from longspan.seams import anatomy
from longspan.sources import settings

_OURS = ("longspan", "torch", "transformers", "sentence_transformers", "accelerate")
"""Packages whose hooks and forwards come back with a checkpoint, or only place and cast."""

_MERGE = (
    "merge the adapter first, before or after extend: merge_and_unload() of the PeftModel; one of add_adapter is kept "
    "by save_pretrained and deleted, then PeftModel.from_pretrained(model, folder).merge_and_unload()"
)


def check(model: Any) -> None:
    """Refuse what a checkpoint would not bring back, before anything is written.

    Args:
        model: A pipeline or a transformers model.

    Raises:
        StorageError: The transformer is not what its class makes of its configuration, or has no values.
    """
    outer = anatomy.transformer(model)
    inner = getattr(outer, "_orig_mod", outer)  # torch.compile computes the same
    kind = type(inner)
    if not kind.__module__.startswith(("transformers.", "transformers_modules.")):
        raise StorageError(
            f"The model is a {kind.__name__} of {kind.__module__}, which stock tools do not load.",
            _MERGE if _root(kind) == "peft" else "save the transformers model that it was made of",
        )
    if getattr(inner, "_hf_peft_config_loaded", False):
        raise StorageError("The model holds an adapter, and would be saved as that alone.", _MERGE)
    if empty := [name for name, tensor in inner.state_dict().items() if getattr(tensor, "is_meta", False)]:
        raise StorageError(
            f"{len(empty)} weights are on the meta device and have no values, the first {empty[0]}.",
            "load the model without offloading",
        )
    if getattr(inner, "hf_quantizer", None) is None:  # those that transformers quantises, it saves and loads itself
        _check_tree(inner)
    for name, module in model.named_modules():
        _check_calls(name or type(module).__name__, module)


def check_written(model: Any, folder: Path) -> None:
    """Check that the modules behind a pipeline's transformer come back from what was written.

    Args:
        model: A pipeline.
        folder: Where it was written.

    Raises:
        StorageError: One does not, or with other weights.
    """
    for entry, module in zip(settings(str(folder), "modules.json"), model, strict=True):
        kind, held = type(module), module.state_dict()
        if module is model[0] or not held or _root(kind) != "sentence_transformers":
            continue
        fact = f"The {kind.__name__} behind the transformer would not come back from its files"
        hint = "take off what wraps its layers: an adapter, a parametrisation, a quantisation"
        try:
            again = kind.load(str(folder), subfolder=entry["path"], local_files_only=True).state_dict()
        except Exception as error:  # each module reads its files in its own way
            raise StorageError(f"{fact}: {' '.join(str(error).split())}.", hint) from error
        if held.keys() != again.keys() or not all(torch.equal(held[name].cpu(), again[name]) for name in held):
            raise StorageError(f"{fact}: its weights would be others.", hint)


def _check_tree(inner: Any) -> None:
    """Every part is of the class, and has the weights, that the configuration makes."""
    with torch.device("meta"):
        twin = type(inner)(copy.deepcopy(inner.config))
    plain = dict(twin.named_modules())
    for name, module in inner.named_modules():
        wanted = type(plain[name]).__name__ if name in plain else "nothing"
        if name not in plain or type(module) is not type(plain[name]):
            raise StorageError(
                f"{name!r} is a {type(module).__name__} of {type(module).__module__}, where stock tools make {wanted}: "
                "saved, the model would not come back.",
                _MERGE if "peft" in {_root(type(part)) for part in inner.modules()} else "undo that, or save before it",
            )
    held, kept = ({name: tuple(t.shape) for name, t in one.state_dict().items()} for one in (inner, twin))
    if strange := sorted(name for name in held.keys() | kept.keys() if held.get(name) != kept.get(name)):
        raise StorageError(
            f"{len(strange)} weights are not those that stock tools make, the first {strange[0]}: "
            f"{held.get(strange[0], 'none')} instead of {kept.get(strange[0], 'none')}.",
            "undo what changed them, such as a pruning or a weight norm, or save before it",
        )


def _check_calls(name: str, module: nn.Module) -> None:
    """Nothing foreign is called in a module's forward, or instead of it."""
    calls = [*module._forward_pre_hooks.values(), *module._forward_hooks.values(), module.__dict__.get("forward")]
    for call in filter(None, calls):
        if _root(call) not in _OURS:
            raise StorageError(
                f"A hook or forward of {_origin(call)} is set on {name!r}, and a checkpoint does not hold it.",
                "remove it first",
            )


def _root(thing: Any) -> str:
    return _origin(thing).split(".")[0]


def _origin(thing: type | Callable[..., Any]) -> str:
    """The module that a class, function, method or callable object comes from."""
    while isinstance(thing, functools.partial):
        thing = thing.func
    return str(getattr(thing, "__module__", None) or type(thing).__module__)
