"""Ray Data as the engine of encode_files: each actor loads the model, encodes shards and writes their parts."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from longspan.encoding.files.parts import Counts, Parts
from longspan.encoding.files.shards import Shard
from longspan.errors import EncodeError, LongspanError, require
from longspan.logs import quiet
from longspan.scale.worker import AGAIN, Builds, EncoderSpec, Worker


class Cluster:
    """The work done by actors of Ray Data.

    Input and result must be on storage that all machines share under the same paths: only shard numbers and
    counts travel. A cluster that is connected already is used as it is; otherwise one is started on this machine.

    Args:
        spec: Builds each actor's encoder.
        processes: How many actors; GPUs of the cluster are shared among them unless the encoder is to use the CPU.
        threads: Threads of torch in each.

    Raises:
        EncodeError: Ray is not installed.
    """

    def __init__(self, spec: Builds, processes: int, threads: int) -> None:
        # Ray reports usage to its makers, and hides GPUs from tasks that ask for none, unless told otherwise.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        # Its core logs to the terminal, whatever Python's loggers are told.
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        self._ray: Any = require("ray", "The engine ray", "ray", EncodeError)
        self._data: Any = require("ray.data", "The engine ray", "ray", EncodeError)
        self._spec, self._processes, self._threads = spec, processes, threads
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self._started = not self._ray.is_initialized()
        if self._started:
            with _hushed():
                self._ray.init(
                    num_cpus=processes,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    object_store_memory=128 * 2**20,  # bytes; only numbers travel
                )
        gpus = self._ray.cluster_resources().get("GPU", 0)
        on_cpu = str(getattr(spec, "device", None) or "").startswith("cpu")
        self._needs = {"num_gpus": min(1.0, gpus / processes)} if gpus and not on_cpu else {}

    def describe(self) -> dict[str, Any]:
        """As one process of the cluster describes itself."""
        task = self._ray.remote(max_retries=0, **self._needs)(_describe)
        with _told(self._ray):
            return dict(self._ray.get(task.remote(self._spec, self._threads, os.getcwd())))

    def run(self, shards: Sequence[Shard], parts: Parts) -> Iterator[tuple[int, Counts]]:
        """Encode shards; counts come as they are done."""
        if not shards:
            return
        context = self._data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        context.max_errored_blocks = 0
        items = [{"shard": shard.to_json()} for shard in shards]
        pool = self._data.ActorPoolStrategy(size=min(self._processes, len(shards)))
        dataset = self._data.from_items(items, override_num_blocks=min(len(items), 10_000)).map_batches(
            _Actor,
            fn_constructor_args=(self._spec, self._threads, os.getcwd(), parts),
            batch_size=1,
            compute=pool,
            **self._needs,
        )
        with _told(self._ray):
            for row in dataset.iter_rows():
                yield int(row.pop("index")), Counts(**{name: int(value) for name, value in row.items()})

    def close(self, *, now: bool = False) -> None:
        """Stop the cluster, if it was started here."""
        if self._started:
            self._ray.shutdown()


class _Actor:
    def __init__(self, spec: Builds, threads: int, folder: str, parts: Parts) -> None:
        self._worker, self._parts = _built(spec, threads, folder), parts

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[int]]:
        index, counts = self._worker.work(Shard.from_json(str(batch["shard"][0])), self._parts)
        return {"index": [index], **{name: [value] for name, value in asdict(counts).items()}}


def _describe(spec: Builds, threads: int, folder: str) -> dict[str, Any]:
    return _built(spec, threads, folder).describe()


def _built(spec: Builds, threads: int, folder: str) -> Worker:
    os.chdir(folder)  # paths of the input and the model may be relative
    if isinstance(spec, EncoderSpec):
        quiet()
    return Worker(spec, threads=threads)


@contextmanager
def _hushed() -> Iterator[None]:
    """Without the lines that a library's compiled part writes to stderr; exceptions say what goes wrong."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class _told:  # noqa: N801  # used as a word: with _told(ray)
    """Ray's errors as longspan's own: the cause where it is one of ours, otherwise what failed."""

    def __init__(self, ray: Any) -> None:
        self._kinds = (ray.exceptions.RayError,)

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        cause = error
        while cause is not None and not isinstance(cause, LongspanError):
            cause = getattr(cause, "cause", None) or cause.__cause__
        if isinstance(cause, LongspanError):
            raise EncodeError(cause.fact, cause.hint) from None
        if isinstance(error, self._kinds):
            first = str(error).strip().splitlines()[-1]
            raise EncodeError(f"A worker of Ray failed: {first}", AGAIN) from None
