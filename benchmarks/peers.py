"""One library that makes sentence vectors, alone in a process: `python peers.py NAME FOLDER --threads 2`.

Reads lines ``{"texts": [...]}`` and answers each with vectors, seconds and memory. The folder holds a
sentence-transformers checkpoint (mean pooling, unit length) and ``export/`` with its graphs, as `speed.py` writes it.
Needs no longspan, so that a peer can live in an environment of its own.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Encode = Callable[[list[str]], np.ndarray]
States = Callable[[np.ndarray, np.ndarray], np.ndarray]

BATCH = 16
"""Rows of a batch of the peers that are driven from here, in order of length."""


def ours(folder: Path, threads: int, backend: str, dtype: str) -> Encode:
    """longspan.Encoder."""
    import torch
    from sentence_transformers import SentenceTransformer

    from longspan import Encoder

    torch.set_num_threads(threads)
    model = SentenceTransformer(str(folder), device="cpu")
    encoder = Encoder(model, backend=backend, dtype=dtype, on_overflow="truncate")
    return lambda texts: encoder.encode(texts).vectors


def sentence_transformers(folder: Path, threads: int, backend: str) -> Encode:
    """SentenceTransformer.encode as it comes, at its default batch size of 32."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    settings: dict[str, Any] = {} if backend == "torch" else {"export": True}
    if backend == "openvino":
        settings["ov_config"] = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    elif backend == "onnx":
        settings |= {"provider": "CPUExecutionProvider", "session_options": _options(threads)}
    model = SentenceTransformer(str(folder), device="cpu", backend=backend, model_kwargs=settings)
    return lambda texts: model.encode(texts, show_progress_bar=False)


def openvino(folder: Path, threads: int) -> Encode:
    """OpenVINO itself."""
    import openvino as ov

    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    request = ov.compile_model(str(folder / "export/openvino.xml"), "CPU", settings).create_infer_request()
    return _driven(folder, lambda ids, mask: request.infer([ids, mask])[0])


def onnxruntime(folder: Path, threads: int) -> Encode:
    """ONNX Runtime itself, on a graph with fused attention."""
    import onnxruntime as runtime

    path = str(folder / "export/fused.onnx")
    session = runtime.InferenceSession(path, _options(threads), providers=["CPUExecutionProvider"])
    return _driven(folder, lambda ids, mask: session.run(None, {"input_ids": ids, "attention_mask": mask})[0])


def ctranslate2(folder: Path, threads: int) -> Encode:
    """CTranslate2's encoder."""
    import tempfile

    import ctranslate2 as ct2

    with tempfile.TemporaryDirectory() as parent:
        made = ct2.converters.TransformersConverter(str(folder)).convert(f"{parent}/made")
        encoder = ct2.Encoder(made, device="cpu", intra_threads=threads, inter_threads=1, compute_type="float32")

    def states(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        lengths = ct2.StorageView.from_array(mask.sum(1).astype(np.int32))
        found = encoder.forward_batch(ct2.StorageView.from_array(ids.astype(np.int32)), lengths=lengths)
        return np.array(found.last_hidden_state)

    return _driven(folder, states)


def fastembed(folder: Path, threads: int) -> Encode:
    """Fastembed with a model of the user's, in batches of 32."""
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    TextEmbedding.add_custom_model(
        model="local/model",
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(hf="local/model"),
        dim=384,
        model_file="model.onnx",
    )
    model = TextEmbedding("local/model", specific_model_path=str(folder / "export"), threads=threads)
    return lambda texts: np.array(list(model.embed(texts, batch_size=32)), dtype=np.float32)


def infinity(folder: Path, threads: int) -> Encode:
    """Infinity's engine for torch, without its server."""
    import torch
    from infinity_emb import EngineArgs, SyncEngineArray

    torch.set_num_threads(threads)
    arguments = EngineArgs(
        model_name_or_path=str(folder),
        engine="torch",
        device="cpu",
        dtype="float32",
        compile=False,
        bettertransformer=False,
        model_warmup=False,
    )
    engine = SyncEngineArray.from_args([arguments])
    return lambda texts: np.array(engine.embed(model=str(folder), sentences=texts).result()[0], dtype=np.float32)


PEERS: dict[str, tuple[Callable[..., Encode], tuple[str, ...], tuple[str, ...]]] = {
    "longspan torch float32": (ours, ("torch", "float32"), ("torch", "transformers")),
    "longspan torch bfloat16": (ours, ("torch", "bfloat16"), ("torch",)),
    "longspan onnx float32": (ours, ("onnx", "float32"), ("onnxruntime",)),
    "longspan onnx int8": (ours, ("onnx", "int8"), ("onnxruntime",)),
    "longspan openvino float32": (ours, ("openvino", "float32"), ("openvino",)),
    "longspan openvino bfloat16": (ours, ("openvino", "bfloat16"), ("openvino",)),
    "longspan openvino int8": (ours, ("openvino", "int8"), ("openvino", "nncf")),
    "sentence-transformers": (sentence_transformers, ("torch",), ("sentence-transformers", "transformers", "torch")),
    "sentence-transformers openvino": (
        sentence_transformers,
        ("openvino",),
        ("sentence-transformers", "optimum-intel", "transformers", "openvino"),
    ),
    "sentence-transformers onnx": (
        sentence_transformers,
        ("onnx",),
        ("sentence-transformers", "optimum-onnx", "transformers", "onnxruntime"),
    ),
    "openvino": (openvino, (), ("openvino",)),
    "onnxruntime": (onnxruntime, (), ("onnxruntime",)),
    "ctranslate2": (ctranslate2, (), ("ctranslate2",)),
    "fastembed": (fastembed, (), ("fastembed", "onnxruntime")),
    "infinity": (infinity, (), ("infinity-emb", "torch")),
}
"""Name to what makes it, with its arguments, and the packages whose versions matter."""


def _length(folder: Path) -> int:
    return int(json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"])


def _options(threads: int) -> Any:
    import onnxruntime as runtime

    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as passive as OpenMP's threads
    return options


def _driven(folder: Path, states: States) -> Encode:
    # What sentence-transformers does around a model, for a library that has no more than the model.
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(_length(folder))

    def encode(texts: list[str]) -> np.ndarray:
        rows = [one.ids for one in tokenizer.encode_batch(texts)]
        found = np.zeros((len(rows), 0), np.float32)
        for batch in _batches(rows):
            ids = np.zeros((len(batch), max(len(rows[row]) for row in batch)), np.int64)
            for place, row in enumerate(batch):
                ids[place, : len(rows[row])] = rows[row]
            mask = (np.arange(ids.shape[1]) < np.array([[len(rows[row])] for row in batch])).astype(np.int64)
            pooled = np.einsum("bnd,bn->bd", states(ids, mask), mask.astype(np.float32))
            if not found.size:
                found = np.zeros((len(rows), pooled.shape[1]), np.float32)
            found[batch] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return found

    return encode


def _batches(rows: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    for start in range(0, len(order), BATCH):
        yield order[start : start + BATCH]


def _memory(field: str) -> int:
    # "VmRSS" or "VmHWM" [KiB]; 0 where the system does not tell.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1])
    return 0


def _answer(encode: Encode, texts: list[str]) -> dict[str, Any]:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again here
    start, spent = time.perf_counter(), time.process_time()
    vectors = encode(texts)
    wall, cpu = time.perf_counter() - start, time.process_time() - spent
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    data = base64.b64encode(vectors.tobytes()).decode()
    return {"wall": wall, "cpu": cpu, "rss": _memory("VmRSS"), "peak": _memory("VmHWM"), "vectors": data}


def _versions(packages: Sequence[str]) -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=PEERS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    load, arguments, packages = PEERS[given.name]
    try:
        encode = load(given.folder, given.threads, *arguments)
        first: dict[str, Any] = {"versions": _versions(packages)}
    except Exception as error:  # noqa: BLE001 whatever keeps a peer from running is its answer
        first = {"absent": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    print(json.dumps(first), file=answers, flush=True)
    for line in sys.stdin if "absent" not in first else ():
        try:
            answer = _answer(encode, json.loads(line)["texts"])
        except Exception as error:  # noqa: BLE001 as above
            answer = {"absent": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
