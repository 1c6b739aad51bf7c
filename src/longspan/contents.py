"""Digests of tensors, each read again only after it was changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from longspan.errors import InspectError

_KNOWN: Any = WeakIdKeyDictionary()
"""Tensor to how it looked when it was read, and its digest; an entry goes with its tensor."""

_SAMPLE = 64
"""Elements of a tensor that are compared: an edit of its ``.data`` leaves its version as it was."""


def tensors(module: nn.Module) -> dict[str, Tensor]:
    """A module's own parameters and buffers by name, those that are never saved too."""
    held = {**module._parameters, **module._buffers}
    return {name: tensor for name, tensor in held.items() if tensor is not None}


def version(tensor: Tensor) -> Any:
    """A number that grows when a tensor is written to; never equal where torch counts none, in inference mode."""
    return object() if tensor.is_inference() else tensor._version


def digests(given: Iterable[Tensor]) -> dict[int, str]:
    """SHA-256 of the content of tensors, by their ids.

    Raises:
        InspectError: One is not in memory.
    """
    found, new = {}, {}
    for tensor in {id(one): one for one in given}.values():
        if tensor.is_meta:
            raise InspectError("Weights are on the meta device, not in memory.", "load the model without offloading")
        look = version(tensor), tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), _sample(tensor)
        before = _KNOWN.get(tensor)
        if before is not None and before[0] == look:
            found[id(tensor)] = before[1]
        else:
            new[id(tensor)] = tensor, look
    with ThreadPoolExecutor(min(len(new), os.cpu_count() or 1, 8) or 1) as pool:  # hashing lets other threads run
        for (place, (tensor, look)), digest in zip(new.items(), pool.map(_digest, new.values()), strict=True):
            _KNOWN[tensor] = look, digest
            found[place] = digest
    return found


def _digest(one: tuple[Tensor, Any]) -> str:
    return hashlib.sha256(_bytes(one[0].detach().reshape(-1))).hexdigest()


def _sample(tensor: Tensor) -> bytes:
    flat = tensor.detach().reshape(-1)
    step = max(1, len(flat) // _SAMPLE)
    return bytes(_bytes(flat[step // 2 :: step]))


def _bytes(flat: Tensor) -> Any:
    data = flat.cpu().contiguous()
    return data.view(torch.uint8).numpy().data if data.numel() else b""
