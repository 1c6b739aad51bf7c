"""The OpenVINO engine: converted straight from torch, so that attention stays one fused operation."""

from __future__ import annotations

import contextlib
import importlib
import io
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

_GROUP = "128"
"""Activations that share a scale when linear layers compute in 8 bits."""


class OpenVinoEngine:
    """States from OpenVINO on the CPU.

    Rows are padded to the longest, so give it rows of nearly equal length. An int8 engine keeps the weights
    in 8 bits and rounds activations to 8 bits in groups as they come.

    Args:
        model: A SentenceTransformer or a transformers model.
        dtype: "float32", "bfloat16" or "int8".
        layers: First layers to use, None for all.
        cache: Folder for exported files, None for a temporary one.
    """

    def __init__(self, model: Any, dtype: str, layers: int | None, cache: str | Path | None) -> None:
        openvino = export.need("openvino", "openvino")
        if dtype == "int8":
            export.need("nncf", "openvino")
        self.name = f"openvino {dtype}"
        self.device = torch.device("cpu")
        self._pad = pad_token(model)
        module = export.traceable(model, layers, "sdpa")
        path = export.home(cache, self) / f"{export.fingerprint(model, layers)}.xml"
        if not export.kept(path):
            with export.placed(path) as made:
                with export.exporting(module, "OpenVINO"), _quiet():
                    converted = openvino.convert_model(module, example_input=export.example())
                    openvino.save_model(converted, str(made), compress_to_fp16=False)
                self._load(openvino, openvino.Core().read_model(str(made)), "float32")
                export.prove(module, model, self._forward)
        read = openvino.Core().read_model(str(path))
        if dtype == "int8":
            read = _compress(read)
        self._load(openvino, read, dtype)

    def states(self, rows: Rows) -> Tensor:
        """Last hidden states, float32 ``[rows, longest, width]``; zeros past a row's own end."""
        ids, mask = pad(rows, self._pad)
        return self._forward(ids, mask) * mask.unsqueeze(-1)

    def _load(self, openvino: Any, read: Any, dtype: str) -> None:
        settings = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            # Its own choice is bfloat16 where the processor has it.
            "INFERENCE_PRECISION_HINT": "bf16" if dtype == "bfloat16" else "f32",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": _GROUP if dtype == "int8" else "0",
        }
        self._compiled = openvino.compile_model(read, "CPU", settings)
        self._idle: list[Any] = []

    def _forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        # A request holds one call's tensors: each thread takes one, and leaves it to the next.
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        states = torch.from_numpy(request.infer([ids.numpy(), mask.numpy()])[0])
        self._idle.append(request)
        return states


def _compress(read: Any) -> Any:
    nncf, log = importlib.import_module("nncf"), logging.getLogger("nncf")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with _quiet(), contextlib.redirect_stdout(io.StringIO()):  # a progress bar and a table
            return nncf.compress_weights(read, mode=nncf.CompressWeightsMode.INT8_SYM)
    finally:
        log.setLevel(level)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # The tracer warns of every shape that it reads; ``prove`` tells when a trace was wrong.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
