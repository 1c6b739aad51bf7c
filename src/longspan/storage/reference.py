"""What a checkpoint is compared with: its original extended anew, where it is surely that, or itself."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

from torch import nn

from longspan.errors import LongspanError, StorageError
from longspan.extension import extend
from longspan.identity import identity
from longspan.planning import Plan
from longspan.sources import local
from longspan.storage.load import load

_ANEW = "the original, extended anew"


class Reference(NamedTuple):
    """The model that is right, as far as is known.

    Attributes:
        told: What it is.
        unproven: What a comparison with it cannot show, and why; "" where it shows all.
        model: In float32.
    """

    told: str
    unproven: str
    model: Any


def find(loaded: Any, made: Plan, digest: str | None, original: Any = None) -> Reference:
    """The reference of a checkpoint.

    A checkpoint may name anything as its source: nothing is fetched, and what is on this machine counts only if its
    digest is that of the model that was extended.

    Args:
        loaded: The checkpoint in longspan, in float32.
        made: Its plan.
        digest: Of what was extended; "" where that was changed before it was saved, None where none was stored.
        original: The model that was extended, or where it is, from the caller; None where it is not told.

    Raises:
        StorageError: The given original cannot be read, or is not what was extended.
    """
    if original is not None:
        return _given(made, digest, original)
    source = made.geometry.source
    if digest is None:
        why = "the checkpoint holds no digest by which its original would be known"
    elif not digest:
        why = "the model was changed after it was extended, by training or a cast"
    elif model := _here(source, made, digest):
        return Reference(_ANEW, "", model)
    else:
        why = f"its original, {source or 'of no name'}, is not on this machine, or has changed there"
    return Reference(
        "the checkpoint, read by longspan", f"An error made while saving would not be seen: {why}.", loaded
    )


def _given(made: Plan, digest: str | None, original: Any) -> Reference:
    live = isinstance(original, nn.Module)
    name = f"The given {type(original).__name__}" if live else repr(str(original))
    if digest == "":
        raise StorageError(
            f"The model was changed after it was extended, by training or a cast, so {name} is no reference for it.",
            "leave the original out: the checkpoint is compared with itself then",
        )
    model = copy.deepcopy(original) if live else load(original, dtype=made.geometry.dtype)
    if digest and (found := identity(model)) != digest:
        raise StorageError(
            f"{name} is not what was extended: its digest is {found[:12]}, and that of the original {digest[:12]}.",
            "give the model that was extended, or leave it out",
        )
    unproven = "" if digest else f"The checkpoint holds no digest, so nothing shows that {name} is its original."
    return Reference(_ANEW, unproven, _anew(model, made))


def _here(source: str, made: Plan, digest: str) -> Any:
    """The original extended anew, None where it is not on this machine."""
    place = local(source) if source else None
    try:
        model = load(place, dtype=made.geometry.dtype) if place else None
        return _anew(model, made) if model is not None and identity(model) == digest else None
    except LongspanError:  # whatever lies there is not what was extended
        return None


def _anew(model: Any, made: Plan) -> Any:
    return extend(model, method=made).float()  # the cast last: rows are computed in the original's type
