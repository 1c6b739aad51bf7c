"""Teams: who encodes the shards of a job; this process, or several of their own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, Protocol, TypeVar

from longspan.encoding.files.parts import Counts, Parts
from longspan.encoding.files.shards import Shard
from longspan.errors import EncodeError, LongspanError
from longspan.logs import quiet
from longspan.scale.worker import AGAIN, Builds, EncoderSpec, Worker

Result = TypeVar("Result")


class Team(Protocol):
    """Who encodes the shards of a job."""

    def describe(self) -> dict[str, Any]:
        """The facts that determine the vectors, and the vectors' dimension."""

    def run(self, shards: Sequence[Shard], parts: Parts) -> Iterator[tuple[int, Counts]]:
        """Encode shards and write their parts; index and counts of each come as it is done, in any order."""

    def close(self, *, now: bool = False) -> None:
        """End; ``now`` does not wait for shards in hand."""


class Alone:
    """The work done in this process."""

    def __init__(self, spec: Builds, threads: int | None = None) -> None:
        self._before = _threads()
        self._worker = Worker(spec, threads=threads)

    def describe(self) -> dict[str, Any]:
        """As a worker describes itself."""
        return self._worker.describe()

    def run(self, shards: Sequence[Shard], parts: Parts) -> Iterator[tuple[int, Counts]]:
        """Encode shards, one after the other."""
        for shard in shards:
            yield self._worker.work(shard, parts)

    def close(self, *, now: bool = False) -> None:
        """Leave the process as it was found."""
        self._worker.close()
        if self._before and (torch := sys.modules.get("torch")):
            torch.set_num_threads(self._before)


class Processes:
    """The work done by processes of their own, each with its model.

    They are spawned, so a script that uses them needs ``if __name__ == "__main__":``. They hold one end of
    a pipe; when this process dies, however it does, the pipe breaks and they end with it.

    Args:
        spec: Builds each process's encoder.
        processes: How many.
        threads: Threads of torch in each.
    """

    def __init__(self, spec: Builds, processes: int, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._held, self._lifeline = context.Pipe(duplex=False)
        self._processes = processes
        given = (self._held, context.Value("i", 0), spec, threads)
        self._pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=given)

    def describe(self) -> dict[str, Any]:
        """As the first of them describes itself."""
        return dict(_result(self._pool.submit(_describe)))

    def run(self, shards: Sequence[Shard], parts: Parts) -> Iterator[tuple[int, Counts]]:
        """Encode shards; counts come as they are done."""
        left = iter(shards)
        waiting = {self._pool.submit(_work, shard, parts) for shard in islice(left, 2 * self._processes)}
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield _result(future)
                waiting |= {self._pool.submit(_work, shard, parts) for shard in islice(left, 1)}

    def close(self, *, now: bool = False) -> None:
        """End the processes; ``now`` does not let them finish their shards."""
        if now:
            self._lifeline.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._lifeline.close()
        self._held.close()


_spec: list[tuple[Builds, int, int]] = []  # of a spawned process, set by _begin
_worker: list[Worker] = []


def _begin(lifeline: Any, taken: Any, spec: Builds, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent sees to it
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    with taken.get_lock():
        number, taken.value = taken.value, taken.value + 1
    _spec.append((spec, number, threads))


def _end_with_parent(lifeline: Any) -> None:
    try:
        lifeline.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)


def _mine() -> Worker:
    # Not in _begin: what an initializer raises is lost, and the pool only says that it is broken.
    if not _worker:
        spec, number, threads = _spec[0]
        if isinstance(spec, EncoderSpec):
            quiet()
        _worker.append(Worker(spec, number, threads))
    return _worker[0]


def _describe() -> dict[str, Any]:
    return _safely(lambda: _mine().describe())


def _work(shard: Shard, parts: Parts) -> tuple[int, Counts]:
    return _safely(lambda: _mine().work(shard, parts))


def _safely(act: Callable[[], Result]) -> Result:
    try:
        return act()
    except LongspanError:
        raise
    except Exception as error:  # it may be of a kind that cannot be sent to the parent
        raise EncodeError(f"A worker failed: {type(error).__name__}: {error}", AGAIN) from error


def _result(future: Future[Any]) -> Any:
    try:
        return future.result()
    except BrokenProcessPool:
        raise EncodeError(
            "A worker process died: it was killed, or ran out of memory.", f"{AGAIN}; fewer processes need less memory"
        ) from None


def _threads() -> int:
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch else 0
