"""Teams: who encodes the shards of a job; this process, or several of their own."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from multiprocessing.connection import wait
from typing import Any, Protocol

from longspan.encoding.files.parts import Counts, Parts
from longspan.encoding.files.shards import Shard
from longspan.errors import EncodeError, LongspanError
from longspan.logs import quiet
from longspan.scale.worker import AGAIN, Builds, EncoderSpec, Worker

_FEWER = f"{AGAIN}; fewer processes need less memory"
_PATIENCE = 10.0
"""How long a process may take to end [s]."""


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

    They are spawned, so a script that uses them needs ``if __name__ == "__main__":``. Each has a pipe of its own and
    shares nothing with the others, no lock and no queue: when one dies, at whatever moment, its pipe ends and
    nothing else is harmed. When this process dies, however it does, the pipes end and they with it.

    Args:
        spec: Builds each process's encoder.
        processes: How many.
        threads: Threads of torch in each.
    """

    def __init__(self, spec: Builds, processes: int, threads: int) -> None:
        self._given, self._processes = (spec, threads), processes
        self._members: list[Member] = []

    def describe(self) -> dict[str, Any]:
        """As the first of them describes itself."""
        first = self._member(0)
        first.give(None)
        return dict(first.take())

    def run(self, shards: Sequence[Shard], parts: Parts) -> Iterator[tuple[int, Counts]]:
        """Encode shards; counts come as they are done."""
        left = iter(shards)
        busy: dict[Any, Member] = {}
        for number, shard in enumerate(islice(left, self._processes)):
            member = self._member(number)
            member.give((shard, parts))
            busy[member.pipe] = member
        while busy:
            for pipe in wait(list(busy)):
                yield busy[pipe].take()
                for shard in islice(left, 1):
                    busy[pipe].give((shard, parts))
                    break
                else:
                    del busy[pipe]

    def close(self, *, now: bool = False) -> None:
        """End the processes; ``now`` does not let them finish their shards."""
        with _uninterrupted():  # a process that is missed here would be waited for at the end of this one
            for member in self._members:
                member.end(now=now)
        for member in self._members:
            member.join()
        self._members.clear()

    def _member(self, number: int) -> Member:
        if number == len(self._members):
            self._members.append(Member(*self._given, number))
            self._members[number].start()
        return self._members[number]


class Member:
    """One of the processes, and this end of its pipe."""

    def __init__(self, spec: Builds, threads: int, number: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, self._theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(self._theirs, spec, threads, number))

    def start(self) -> None:
        """Start the process.

        Raises:
            EncodeError: The system does not let it, or the encoder's arguments cannot be sent.
        """
        try:
            with _uninterrupted(), self._theirs:
                self._process.start()
        except (OSError, AttributeError, TypeError, pickle.PicklingError) as error:
            raise EncodeError(f"A worker process cannot be started: {error}.", _FEWER) from None

    def give(self, asked: tuple[Shard, Parts] | None) -> None:
        """Ask for a shard, or with None for a description.

        Raises:
            EncodeError: The process died.
        """
        with _died():
            self.pipe.send(asked)

    def take(self) -> Any:
        """What was asked for.

        Raises:
            EncodeError: The process died.
            LongspanError: It could not do what was asked.
        """
        with _died():
            answer = pickle.loads(self.pipe.recv_bytes())  # noqa: S301  # written by a process of ours
        if isinstance(answer, LongspanError):
            raise answer
        return answer

    def end(self, *, now: bool) -> None:
        """Let the process end when it has nothing to do, or kill it."""
        if now and self._process.pid:
            self._process.kill()
        self.pipe.close()

    def join(self) -> None:
        """Wait for the end, not forever: what a process does last is of no use any more."""
        if not self._process.pid:
            return
        self._process.join(_PATIENCE)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        self._process.close()


@contextmanager
def _died() -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError):
        raise EncodeError("A worker process died: it was killed, or ran out of memory.", _FEWER) from None


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C reaches the whole group: it waits here, and a process that is started now never sees it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve(pipe: Any, spec: Builds, threads: int, number: int) -> None:
    """What a process of a team does: answer until its pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asked: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(pipe, asked), daemon=True).start()
    worker: Worker | None = None

    def answer(task: Any) -> Any:
        nonlocal worker
        if worker is None:
            if isinstance(spec, EncoderSpec):
                quiet()
            worker = Worker(spec, number, threads)
        return worker.describe() if task is None else worker.work(*task)

    while True:
        reply = _sendable(_safely(answer, asked.get()))
        with suppress(OSError):  # nobody waits for it any more: the other thread is about to see that
            pipe.send_bytes(reply)


def _receive(pipe: Any, asked: queue.SimpleQueue[Any]) -> None:
    """Take what is asked; end the process with the pipe, whatever it is doing."""
    try:
        while True:
            asked.put(pipe.recv())
    except (EOFError, OSError):
        os._exit(0)


def _safely(answer: Callable[[Any], Any], task: Any) -> Any:
    try:
        return answer(task)
    except LongspanError as error:
        return error
    except Exception as error:  # noqa: BLE001  # it may be of a kind that cannot be sent
        return EncodeError(f"A worker failed: {type(error).__name__}: {error}", AGAIN)


def _sendable(reply: Any) -> bytes:
    """An answer as it is sent; an error of a class that is not what it was on the other side becomes one of ours."""
    data = pickle.dumps(reply)
    if isinstance(reply, LongspanError):
        try:
            pickle.loads(data)  # noqa: S301  # just written
        except Exception:  # noqa: BLE001  # whatever its class asks for
            data = pickle.dumps(EncodeError(reply.fact, reply.hint))
    return data


def _threads() -> int:
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch else 0
