"""The ONNX Runtime engine: an exported graph, its attention fused where that is known, or in 8 bits."""

from __future__ import annotations

import contextlib
import importlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from longspan.encoding.engines import export
from longspan.encoding.engines.rows import Rows, pad
from longspan.encoding.engines.twin import pad_token
from longspan.seams import anatomy

_FUSED = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert")
"""Architectures whose attention ONNX Runtime recognises."""


class OnnxEngine:
    """States from ONNX Runtime on the CPU.

    Rows are padded to the longest, so give it rows of nearly equal length. An int8 engine computes linear
    layers in 8 bits, with the scale of the activations read anew from each batch.

    Args:
        model: A SentenceTransformer or a transformers model.
        dtype: "float32" or "int8".
        layers: First layers to use, None for all.
        cache: Folder for exported files, None for a temporary one.
    """

    def __init__(self, model: Any, dtype: str, layers: int | None, cache: str | Path | None) -> None:
        runtime = export.need("onnxruntime", "onnx")
        export.need("onnx", "onnx")
        self.name = f"onnx {dtype}"
        self.device = torch.device("cpu")
        self._pad = pad_token(model)
        module = export.traceable(model, layers, "eager")
        folder = export.home(cache, self)
        exact = folder / f"{export.fingerprint(model, layers)}-float32.onnx"
        wanted = exact.with_name(exact.name.replace("float32", dtype))
        if export.kept(wanted):
            self._session = _session(runtime, wanted)
            return
        if wanted == exact or not export.kept(exact):
            with export.placed(exact) as path:
                export.to_onnx(module, path)
                _fuse(path, anatomy.text_config(module.model))
                self._session = _session(runtime, path)
                export.prove(module, model, self._forward)
        if wanted != exact:
            with export.placed(wanted) as path:
                _quantise(exact, path)
        self._session = _session(runtime, wanted)

    def states(self, rows: Rows) -> Tensor:
        """Last hidden states, float32 ``[rows, longest, width]``; zeros past a row's own end."""
        ids, mask = pad(rows, self._pad)
        return self._forward(ids, mask) * mask.unsqueeze(-1)

    def _forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        given = dict(zip(export.INPUTS, (ids.numpy(), mask.numpy()), strict=True))
        return torch.from_numpy(self._session.run([export.OUTPUT], given)[0])


def _session(runtime: Any, path: Path) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _fuse(path: Path, config: Any) -> None:
    if config.model_type not in _FUSED:
        return
    optimizer = importlib.import_module("onnxruntime.transformers.optimizer")
    fusion = importlib.import_module("onnxruntime.transformers.fusion_options").FusionOptions("bert")
    fusion.use_multi_head_attention = True
    with _quiet():
        fused = optimizer.optimize_model(
            str(path),
            model_type="bert",
            num_heads=config.num_attention_heads,
            hidden_size=config.hidden_size,
            opt_level=0,
            optimization_options=fusion,
        )
        fused.save_model_to_file(str(path))


def _quantise(source: Path, path: Path) -> None:
    quantization, onnx = importlib.import_module("onnxruntime.quantization"), importlib.import_module("onnx")
    with _quiet():
        quantization.quantize_dynamic(
            str(source),
            str(path),
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # ONNX Runtime's tools log on the root logger what they could not fuse, and give advice.
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
