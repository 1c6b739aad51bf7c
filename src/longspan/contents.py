"""Digests of tensors, each read again only after it was changed."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from longspan.errors import InspectError

_KNOWN: Any = WeakIdKeyDictionary()
"""Tensor to how it looked when it was read, and its digest; an entry goes with its tensor."""

_MARKED: Any = WeakIdKeyDictionary()
"""Tensor to how it looked when it was last seen, and a mark that no other tensor or look of it has."""

_SAMPLE = 64
"""Elements of a tensor that are compared: an edit of its ``.data`` leaves its version as it was."""


def tensors(module: nn.Module) -> dict[str, Tensor]:
    """A module's own parameters and buffers by name, those that are never saved too."""
    held = {**module._parameters, **module._buffers}
    return {name: tensor for name, tensor in held.items() if tensor is not None}


def mark(tensor: Tensor) -> str:
    """What stays while a tensor stays the same object and looks the same; no tensor is read as a whole.

    It is another one at each call where torch counts no writes: in inference mode, and for sparse tensors.
    """
    if tensor.is_meta:
        return "meta"
    look, before = _look(tensor), _MARKED.get(tensor)
    if before is None or before[0] != look:
        before = _MARKED[tensor] = look, uuid.uuid4().hex
    return str(before[1])


def digests(given: Iterable[Tensor]) -> dict[int, str]:
    """SHA-256 of the content of tensors, by their ids.

    Raises:
        InspectError: One is not in memory, or cannot be read.
    """
    found, new = {}, {}
    for tensor in {id(one): one for one in given}.values():
        if tensor.is_meta:
            raise InspectError("Weights are on the meta device, not in memory.", "load the model without offloading")
        look, before = _look(tensor), _KNOWN.get(tensor)
        if before is not None and before[0] == look:
            found[id(tensor)] = before[1]
        else:
            new[id(tensor)] = tensor, look
    with ThreadPoolExecutor(min(len(new), os.cpu_count() or 1, 8) or 1) as pool:  # hashing lets other threads run
        for (place, (tensor, look)), digest in zip(new.items(), pool.map(_digest, new.values()), strict=True):
            _KNOWN[tensor] = look, digest
            found[place] = digest
    return found


def _look(tensor: Tensor) -> Any:
    """How a tensor looks; never equal where torch counts no writes."""
    if tensor.is_inference() or _held(tensor):
        return object()
    return tensor._version, tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), _sample(tensor)


def _held(tensor: Tensor) -> list[Any]:
    """The tensors that a sparse, quantised or wrapping tensor is made of; none where it is one of its own."""
    if tensor.layout == torch.sparse_coo:
        return [tensor._indices(), tensor._values()]
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return [tensor.ccol_indices(), tensor.row_indices(), tensor.values()]
    if tensor.is_quantized:
        if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
            return [tensor.int_repr(), torch.tensor([tensor.q_scale(), tensor.q_zero_point()], dtype=torch.float64)]
        zeros, axis = tensor.q_per_channel_zero_points(), torch.tensor(tensor.q_per_channel_axis())
        return [tensor.int_repr(), tensor.q_per_channel_scales(), zeros, axis]
    if hasattr(tensor, "__tensor_flatten__"):
        return [getattr(tensor, name) for name in tensor.__tensor_flatten__()[0]]
    if tensor.layout != torch.strided:
        raise InspectError(f"A tensor of layout {tensor.layout} cannot be read.", "use a dense tensor")
    return []


def _digest(one: tuple[Tensor, Any]) -> str:
    tensor = one[0].detach()
    if held := _held(tensor):
        told = f"{tensor.layout} {[_digest((part, None)) + str(part.dtype) + str(part.shape) for part in held]}"
        return hashlib.sha256(told.encode()).hexdigest()
    return hashlib.sha256(_bytes(tensor.reshape(-1))).hexdigest()


def _sample(tensor: Tensor) -> bytes:
    flat = tensor.detach().reshape(-1)
    step = max(1, len(flat) // _SAMPLE)
    return bytes(_bytes(flat[step // 2 :: step]))


def _bytes(flat: Tensor) -> Any:
    data = flat.cpu().contiguous()
    return data.view(torch.uint8).numpy().data if data.numel() else b""
