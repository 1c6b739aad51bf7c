"""A worker: the encoder of one process, built there from plain arguments, and its work on shards."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from longspan.encoding.files.parts import Counts, Parts, encode_rows
from longspan.encoding.files.shards import Reader, Shard
from longspan.errors import EncodeError, LongspanError
from longspan.scale.state import meaning

AGAIN = "run the same again: it goes on where it stopped"


class Builds(Protocol):
    """What can be sent to a process and builds an encoder there."""

    def build(self, worker: int = 0) -> Any:
        """An `Encoder` for the worker of this number."""


@dataclass(frozen=True)
class EncoderSpec:
    """Plain arguments from which each process builds its own encoder; fields are those of `load`, `extend`, `Encoder`.

    Attributes:
        model: Local folder or hub id.
        strategy: Specification of how long texts are read.
        to: Length to extend the model to [tokens], None to take it as it is.
        method: Specification of how to extend it.
        prompt: Put in front of every text; the model's default when None.
        frame: For decoders, "echo" or "one_word".
        backend: torch, onnx or openvino.
        dtype: float32, bfloat16, float16 or int8; the checkpoint's when None.
        layers: Transformer layers to keep, all when None.
        dims: Dimensions to keep, all when None.
        batch_tokens: Padded tokens of a batch; chosen by the encoder when None.
        on_overflow: What to do when texts are longer than the strategy reads. "warn" is said once, of all rows.
        device: As torch spells it; None and "cuda" give each worker a GPU of its own where there are several.
    """

    model: str
    strategy: str | None = None
    to: int | None = None
    method: str | None = None
    prompt: str | None = None
    frame: str | None = None
    backend: str = "torch"
    dtype: str | None = None
    layers: int | None = None
    dims: int | None = None
    batch_tokens: int | None = None
    on_overflow: str = "warn"
    device: str | None = None

    def build(self, worker: int = 0) -> Any:
        """Load the model, extend it if asked, and make the encoder.

        Raises:
            LongspanError: Whatever does not fit.
        """
        from longspan.encoding.run import Encoder
        from longspan.extension import extend
        from longspan.storage.load import load

        options = asdict(self)
        name, to, method, device = (options.pop(key) for key in ("model", "to", "method", "device"))
        model = load(name, device=_device(device, worker))
        if to is not None or method is not None:
            extend(model, to, method)
        if self.on_overflow == "warn":  # a warning a shard would bury the one of the whole job
            options["on_overflow"] = "truncate"
        return Encoder(model, **options)


class Worker:
    """An encoder and the work it does on shards.

    Args:
        spec: Builds the encoder.
        number: Which of the workers this is.
        threads: Threads of torch, None to leave them as they are.
    """

    def __init__(self, spec: Builds, number: int = 0, threads: int | None = None) -> None:
        if threads and (torch := sys.modules.get("torch")):
            torch.set_num_threads(threads)
        self._encoder = spec.build(number)
        if threads and (torch := sys.modules.get("torch")):  # an encoder without torch does not bring it in
            torch.set_num_threads(threads)
        self._reader = Reader()

    def describe(self) -> dict[str, Any]:
        """The facts that determine the vectors, and the vectors' dimension."""
        return {"encoder": self._encoder.describe(), "dimension": int(self._encoder.dimension)}

    def work(self, shard: Shard, parts: Parts) -> tuple[int, Counts]:
        """Encode a shard and write its part; its index and counts.

        Raises:
            EncodeError: The encoder here is another one than the job's, or the rows cannot be encoded.
        """
        # Each process loads for itself, maybe days after the job began and maybe from a disk of its own.
        self._check(parts)
        rows = shard.rows(self._reader)
        try:
            made = encode_rows(self._encoder, rows)
            self._check(parts)
            return shard.index, parts.write(shard.index, made)
        except LongspanError as error:
            raise EncodeError(f"Rows {rows[0].place} to {rows[-1].place}: {error.fact}", error.hint) from None

    def _check(self, parts: Parts) -> None:
        if parts.encoder and meaning(self.describe()) != parts.encoder:
            raise EncodeError(
                "The model that this worker loaded is not the one that the job was begun with.",
                "leave the model's files and packages as they are while a job runs, and give each machine the same",
            )

    def close(self) -> None:
        """Close what the worker reads."""
        self._reader.close()


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _device(device: str | None, worker: int) -> str | None:
    if device not in (None, "cuda"):
        return device
    import torch

    count = torch.cuda.device_count()
    return f"cuda:{worker % count}" if count > 1 else device
