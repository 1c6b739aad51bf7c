"""What a model is: one digest of all that its results depend on."""

from __future__ import annotations

import hashlib
import json
from typing import Any

_CALLED = ("truncation", "padding")


def identity(model: Any) -> str:
    """SHA-256 of a model: its modules, weights and tokenizer."""
    import torch

    digest = hashlib.sha256(repr(model).encode())
    for name, tensor in model.state_dict().items():
        if not isinstance(tensor, torch.Tensor) or tensor.is_meta:  # packed by a quantised module; without values
            digest.update(f"{name} {tensor}".encode())
            continue
        data = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {data.dtype} {tuple(data.shape)}".encode())
        digest.update(data.flatten().view(torch.uint8).numpy().data)
    backend = getattr(getattr(model, "tokenizer", None), "backend_tokenizer", None)
    if backend:  # without what the last call set: where it cut and how it padded
        rules = {name: part for name, part in json.loads(backend.to_str()).items() if name not in _CALLED}
        digest.update(json.dumps(rules, sort_keys=True).encode())
    return digest.hexdigest()
