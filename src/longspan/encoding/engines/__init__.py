"""Engines: ways to get token states out of a pipeline's transformer on the machine at hand, behind one signature."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol

from longspan.errors import EncodeError
from longspan.values import whole

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor

DTYPES = {
    "torch": ("float32", "bfloat16", "float16"),
    "onnx": ("float32", "int8"),
    "openvino": ("float32", "bfloat16", "int8"),
}
"""What each backend can compute in."""

_PACKAGES: dict[str, tuple[str, ...]] = {"torch": (), "onnx": ("onnx", "onnxruntime"), "openvino": ("openvino",)}
"""What makes the states of each backend, beside torch."""


class Engine(Protocol):
    """Token states of rows.

    An engine shows the model as it was when the engine was made; after changing, extending or moving the
    model, make another. It never changes the model. Threads may share an engine.

    Attributes:
        name: Backend and data type, such as "torch float32".
        device: Where the states are.
    """

    name: str
    device: torch.device

    def states(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Last hidden states, float32 ``[rows, longest, width]``; zeros past a row's own end.

        Args:
            rows: Token ids with special tokens, without padding; at least one in each row.
        """
        ...


def engine(
    model: Any,
    backend: str = "torch",
    dtype: str | None = None,
    *,
    layers: int | None = None,
    cache: str | Path | None = None,
) -> Engine:
    """The engine of a backend for a model.

    Args:
        model: A SentenceTransformer or a transformers model, extended or not.
        backend: "torch", "onnx" or "openvino".
        dtype: "float32", "bfloat16", "float16" or "int8"; None is the model's own on torch, float32 elsewhere.
        layers: Use the first so many encoder layers only (2D Matryoshka, Li et al. 2024, arXiv:2402.14776).
        cache: Folder that keeps exported files for the next engine; None exports to a temporary folder.

    Raises:
        EncodeError: There is no such combination, a package is missing, or the export is not equal.

    Example:
        >>> engine(model, "onnx", "int8").states([[101, 7592, 102]]).shape
        torch.Size([1, 3, 384])
    """
    _check(backend, dtype)
    if layers is not None:
        layers = whole(layers, "layers", EncodeError, "give one, or leave it out")
    if backend == "torch":
        if cache is not None:
            raise EncodeError("The torch backend exports nothing to keep.", "leave cache out")
        from longspan.encoding.engines.torch_ import TorchEngine

        return TorchEngine(model, dtype, layers)
    if backend == "onnx":
        from longspan.encoding.engines.onnx import OnnxEngine

        return OnnxEngine(model, dtype or "float32", layers, cache)
    from longspan.encoding.engines.openvino import OpenVinoEngine

    return OpenVinoEngine(model, dtype or "float32", layers, cache)


def versions(backend: str, dtype: str | None) -> dict[str, str]:
    """Version of each package that a backend's states depend on.

    Raises:
        EncodeError: There is no such backend, or a package is missing.
    """
    _check(backend, dtype)
    found = {name: version(name) for name in ("torch", "transformers", "sentence-transformers", "tokenizers")}
    if not (names := _PACKAGES[backend]):
        return found
    from longspan.encoding.engines.export import need

    names += ("nncf",) if (backend, dtype) == ("openvino", "int8") else ()
    return found | {name: str(need(name, backend).__version__) for name in names}


def _check(backend: str, dtype: str | None) -> None:
    if not isinstance(backend, str) or backend not in DTYPES:
        raise EncodeError(f"There is no backend {backend!r}.", f"use one of {', '.join(DTYPES)}")
    if dtype is not None and not (isinstance(dtype, str) and dtype in DTYPES[backend]):
        homes = [name for name, dtypes in DTYPES.items() if isinstance(dtype, str) and dtype in dtypes]
        raise EncodeError(
            f"The {backend} backend does not compute in {dtype!r}.",
            f"use one of {', '.join(DTYPES[backend])}" + (f", or backend {' or '.join(homes)}" if homes else ""),
        )
