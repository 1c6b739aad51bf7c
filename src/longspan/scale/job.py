"""encode_files: text files to files of vectors; a run that was stopped goes on, and ends the same."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from longspan.encoding.encoded import remedy
from longspan.encoding.files.merge import Target
from longspan.encoding.files.parts import Counts, Parts
from longspan.encoding.files.pieces import Limits
from longspan.encoding.files.rows import Columns
from longspan.encoding.files.shards import Shard, files, shards
from longspan.errors import EncodeError
from longspan.scale.state import check_place, clear, fingerprint, fixed, locked, meaning, prepare
from longspan.scale.teams import Alone, Processes, Team
from longspan.scale.worker import Builds, cores

ENGINES = ("local", "ray")
_AROUND = 32
"""Room for special tokens and a prompt in the length that is advised [tokens]."""


@dataclass(frozen=True)
class Summary:
    """What a job gave; counts are those of the whole result, also of parts that an earlier run made.

    Attributes:
        out: The result.
        rows: Rows of the input, those with an error too.
        vectors: Vectors written.
        tokens: Tokens given.
        read: Tokens that a window has read.
        overflowed: Rows of which tokens were dropped.
        errors: Rows that could not be encoded.
        seconds: Of this run, loading the model included.
        speed: Tokens read a second by this run, 0 if it read none.
        resumed_rows: Rows that an earlier run had done.
        overflow: One line on what was dropped and the command against it, "" when nothing was.
    """

    out: str
    rows: int
    vectors: int
    tokens: int
    read: int
    overflowed: int
    errors: int
    seconds: float
    speed: float
    resumed_rows: int
    overflow: str

    def headline(self) -> str:
        """Rows, vectors, tokens, time and place, in one line."""
        given = f"{self.rows:,} rows, {self.vectors:,} vectors, {_rounded(self.tokens)} tokens"
        if self.rows and self.resumed_rows == self.rows:
            return f"{given}, all of an earlier run -> {self.out}"
        resumed = f", {self.resumed_rows:,} rows of an earlier run" if self.resumed_rows else ""
        return f"{given} in {_duration(self.seconds)} ({self.speed:,.0f} tokens/s{resumed}) -> {self.out}"

    def warnings(self) -> list[str]:
        """What did not go as wished, a line each."""
        failed = f"{self.errors:,} rows could not be encoded: {self.out}.errors.jsonl" if self.errors else ""
        return [line for line in (self.overflow, failed) if line]

    def text(self) -> str:
        """All of it."""
        return "\n".join((self.headline(), *self.warnings()))


def encode_files(
    paths: Sequence[str | Path],
    out: str | Path,
    encoder: Builds,
    *,
    columns: Columns | None = None,
    limits: Limits | None = None,
    processes: int = 1,
    threads: int | None = None,
    engine: str = "local",
    overwrite: bool = False,
    progress: bool = False,
) -> Summary:
    """Encode files into a Parquet file, or a .npy file with a .jsonl file beside it.

    The input is cut into shards; each is written as a part under ``OUT.parts`` as soon as it is done, and the
    parts become the result at the end (disk for both is needed then). A run that was stopped in whatever way goes
    on when it is called again with the same input and encoder. How many processes there are and which engine runs
    them changes no row, no order and no account; vectors are the same bits where each has as many threads.

    Args:
        paths: Files and folders: .jsonl, .ndjson, either with .gz, .txt, .md (one document a file), .parquet.
        out: vectors.parquet, or vectors.npy.
        encoder: Builds the encoder in each process, such as an `EncoderSpec`.
        columns: Where a row keeps its text, id and spans.
        limits: How large a shard is.
        processes: How many encode; 1 is this one.
        threads: Threads of torch in each; None shares the cores among several processes.
        engine: "local", or "ray" for Ray Data, whose machines must share the disk of ``out`` and the input.
        overwrite: Replace a result, or go on over parts, of another job.
        progress: Whether to show a bar over the bytes of input on stderr.

    Raises:
        EncodeError: The input cannot be read, ``out`` is of another job, or a worker fails. Rows that cannot be
            encoded are no reason: they are told in ``OUT.errors.jsonl``.

    Example:
        >>> encode_files(["corpus.jsonl"], "vectors.parquet", EncoderSpec("minilm-4096", "late")).rows
        10000
    """
    began, target = time.perf_counter(), Target(Path(out))
    if processes < 1 or (threads is not None and threads < 1):
        raise EncodeError(f"{processes} processes of {threads} threads encode nothing.", "use at least 1")
    if engine not in ENGINES:
        raise EncodeError(f"There is no engine {engine!r}.", f"use {' or '.join(ENGINES)}")
    check_place(target)
    work = shards(_inputs(paths, target), columns, limits)
    alone = nullcontext() if fixed(target) and not overwrite else locked(target.parts)
    with alone, _team(encoder, engine, processes, threads) as team:
        about = team.describe()
        job = fingerprint(about, work)
        if told := prepare(target, job, about, work, overwrite=overwrite):
            total = Counts(**told["counts"])
            return _summary(target, about, total, total, began, began)
        parts, started = Parts(target.parts, job, meaning(about)), time.perf_counter()
        done = parts.done(len(work))
        resumed = sum(done.values(), Counts())
        left = [shard for shard in work if shard.index not in done]
        done |= _followed(team.run(left, parts), work, left, progress)
        total = sum(done.values(), Counts())
        told = {"job": job, **about, "counts": asdict(total)}
        target.merge(map(parts.read, range(len(work))), told, about["dimension"], total.vectors)
        clear(target)
        return _summary(target, about, total, resumed, began, started)


def _inputs(paths: Sequence[str | Path], target: Target) -> list[str]:
    """The files to read. A result of ours in a folder that is read is left out; what else has its name is refused.

    Raises:
        EncodeError: A file would be read and written, or `files` refuses one.
    """
    own = (*target.files, target.errors)
    written, named = {path.resolve() for path in own}, files(paths)
    if _both(named, written) and (target.marked.exists() or (target.about() and target.whole())):
        named = files(paths, without=own)
    if both := _both(named, written):
        raise EncodeError(f"{both[0]} would be read and written.", "choose another --out")
    return named


def _both(inputs: list[str], written: set[Path]) -> list[str]:
    return [path for path in inputs if Path(path).resolve() in written]


@contextmanager
def _team(encoder: Builds, engine: str, processes: int, threads: int | None) -> Iterator[Team]:
    """Who does the work; at once gone after an error, since what is not done now is done by the next run."""
    shared = threads or max(1, cores() // processes)
    if engine == "ray":
        from longspan.scale.ray import Cluster

        team: Team = Cluster(encoder, processes, shared)
    else:
        team = Processes(encoder, processes, shared) if processes > 1 else Alone(encoder, threads)
    try:
        yield team
    except BaseException:
        team.close(now=True)
        raise
    team.close()


def _followed(
    done: Iterator[tuple[int, Counts]], work: Sequence[Shard], left: Sequence[Shard], progress: bool
) -> Iterator[tuple[int, Counts]]:
    """What is done, while a bar over the bytes of input tells of it."""
    sizes, began, read = {shard.index: shard.size for shard in work}, time.perf_counter(), 0
    before = sum(sizes.values()) - sum(shard.size for shard in left)
    options: dict[str, Any] = {"unit": "B", "unit_scale": True, "disable": not progress, "file": sys.stderr}
    with tqdm(total=sum(sizes.values()), initial=before, desc="encode", **options) as bar:
        for index, counts in done:
            read += counts.read
            bar.set_postfix_str(f"{read / max(time.perf_counter() - began, 1e-9):,.0f} tokens/s", refresh=False)
            bar.update(sizes[index])
            yield index, counts


def _summary(
    target: Target, about: dict[str, Any], total: Counts, resumed: Counts, began: float, started: float
) -> Summary:
    now, lost = time.perf_counter(), total.overflow()
    if lost:
        encoder = about["encoder"]  # what is extended already is extended anew from its original
        name = "ORIGINAL" if encoder.get("plan") else encoder.get("model", "MODEL")
        lost = f"{lost[:-1]}; {remedy(name, total.longest + _AROUND)}"
    return Summary(
        out=str(target.out),
        rows=total.rows,
        vectors=total.vectors,
        tokens=total.tokens,
        read=total.read,
        overflowed=total.overflowed,
        errors=total.errors,
        seconds=now - began,
        speed=(total.read - resumed.read) / max(now - started, 1e-9),
        resumed_rows=resumed.rows,
        overflow=lost,
    )


def _rounded(count: int) -> str:
    for size, word in ((10**9, " G"), (10**6, " M"), (10**3, " k")):
        if count >= size:
            return f"{count / size:.1f}{word}"
    return str(count)


def _duration(seconds: float) -> str:
    if seconds >= 2 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.1f} s"
