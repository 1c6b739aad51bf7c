"""Trained tensors from a file."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from longspan.errors import PlanError, require


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of a dict that ``torch.save`` wrote, by name.

    Raises:
        PlanError: There is no such file, or it is neither.
    """
    if not os.path.isfile(file):
        raise PlanError(f"There is no file {str(file)!r}.", "give the path of a .safetensors or .pt file")
    broken: tuple[type[Exception], ...] = (pickle.UnpicklingError, EOFError, RuntimeError, TypeError, ValueError)
    safetensors: Any = None
    if file.suffix == ".safetensors":
        safetensors = require("safetensors.torch", f"Reading {file.name}", "clex", PlanError)
        broken = (require("safetensors", f"Reading {file.name}", "clex", PlanError).SafetensorError,)
    try:
        kept = safetensors.load_file(file) if safetensors else dict(torch.load(file, "cpu", weights_only=True))
    except broken as error:
        raise PlanError(f"{file.name} holds no tensors by name.", "save a dict of tensors") from error
    return {str(name): value for name, value in kept.items() if isinstance(value, Tensor)}


def one_named(file: str, tensors: Mapping[str, Tensor], what: str, names: Sequence[str]) -> Tensor:
    """The only tensor of one of these names, whatever prefix that ends in a dot precedes it.

    Args:
        file: Name of the file they are from.
        tensors: By name.
        what: What is looked for.
        names: Any of its names.

    Raises:
        PlanError: It is not one.
    """
    fitting = [tensor for name, tensor in tensors.items() if name.rsplit(".", 1)[-1] in names]
    if len(fitting) != 1:
        raise PlanError(f"{file} holds {len(fitting)} of {what}.", f"name one tensor {' or '.join(names)}")
    return fitting[0]
