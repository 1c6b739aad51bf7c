"""Runs mutations under a guard of time and memory, and says how to run one again.

python -m tests.fuzz.run [--mutations 10000] [--seed 0] [--only TARGET] [--first NUMBER]
"""

from __future__ import annotations

import argparse
import faulthandler
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longspan.errors import LongspanError
from tests.fuzz.targets import TARGETS, Target

SECONDS, MEMORY = 2.0, 2**30
"""What a mutation may take: time of the processor [s], address space beside what there was [bytes]."""
_SHOWN = 600  # bytes of an input


class TooSlow(BaseException):  # nothing that handles errors may catch it
    """A mutation took more time than it may."""


@dataclass(frozen=True)
class Failure:
    """A mutation that ended with anything but a right result or a typed error."""

    target: str
    seed: int
    number: int
    error: str
    data: bytes

    def __str__(self) -> str:
        shown = self.data if len(self.data) <= _SHOWN else self.data[:_SHOWN] + b"... (%d bytes)" % len(self.data)
        again = f"python -m tests.fuzz.run --only {self.target} --seed {self.seed} --first {self.number} --mutations 1"
        return f"{again}\n{shown!r}\n{self.error}"


@contextmanager
def guarded() -> Iterator[None]:
    """A block with no more time and memory than a mutation may take."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    handler = signal.signal(signal.SIGPROF, _too_slow)
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, before[1]))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGPROF, handler)


def failures(target: Target, count: int, seed: int = 0, first: int = 0, at: Any = None) -> list[Failure]:
    """Try mutations of one target.

    Args:
        target: What reads them.
        count: How many.
        seed: With the target's name and a mutation's number, it determines the mutation.
        first: Number of the first.
        at: A shared number that tells which is being tried, should the process die of it.
    """
    found = []
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a disk would be waited for
    with tempfile.TemporaryDirectory(dir=memory) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make, check = target.prepare(Path(folder))
        for number in range(first, first + count):
            if at is not None:
                at.value = number
            data = make(random.Random(f"{seed} {target.name} {number}"))
            try:
                with guarded():
                    check(data)
            except LongspanError as error:
                if len(str(error)) > 1500 or not error.hint:
                    found.append(Failure(target.name, seed, number, f"no error for people: {error}", data))
            except (Exception, TooSlow):  # noqa: BLE001  # whatever it is, it should have been typed
                found.append(Failure(target.name, seed, number, traceback.format_exc(limit=-6), data))
    return found


def main() -> None:
    """Run all targets, or one, each in a process of its own."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--mutations", type=int, default=10_000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--first", type=int, default=0)
    options.add_argument("--only", choices=[target.name for target in TARGETS])
    asked = options.parse_args()
    wrong = sum(_told(target, asked) for target in TARGETS if asked.only in (None, target.name))
    sys.exit(1 if wrong else 0)


def _told(target: Target, asked: Any) -> int:
    began, context = time.perf_counter(), multiprocessing.get_context("fork")
    at, theirs, ours = context.Value("q", -1), *context.Pipe()
    child = context.Process(target=_child, args=(target, asked, at, theirs))
    child.start()
    theirs.close()
    try:
        found = ours.recv()
    except EOFError:
        found = None
    child.join()
    if found is None:
        ended = f"the process ended with {child.exitcode} (a signal if negative)"
        found = [Failure(target.name, asked.seed, at.value, ended, b"")]
    for one in found[:20]:
        print(one, end="\n\n", flush=True)  # noqa: T201
    seconds = time.perf_counter() - began
    print(f"{target.name}: {asked.mutations} mutations, {len(found)} failures, {seconds:.0f} s", flush=True)  # noqa: T201
    return len(found)


def _child(target: Target, asked: Any, at: Any, answer: Any) -> None:
    faulthandler.enable()
    os.environ.setdefault("LONGSPAN_CACHE", tempfile.gettempdir())
    answer.send(failures(target, asked.mutations, asked.seed, asked.first, at))


def _too_slow(*_: object) -> None:
    raise TooSlow


if __name__ == "__main__":
    main()
