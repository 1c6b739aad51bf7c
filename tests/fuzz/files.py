"""Readers of files of rows, of a stopped job, of kept vectors, and of the small files that longspan keeps."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from longspan.benchmarks.files import from_folder
from longspan.conversion.work import keep_options
from longspan.encoding.files.pieces import Limits
from longspan.encoding.files.shards import shards
from longspan.encoding.run import Encoder
from longspan.evaluation.cache import VectorCache
from longspan.outcomes import recall, remember
from longspan.scale.job import encode_files
from tests.fuzz.mutations import blurred, written
from tests.pipelines import pipeline
from tests.unit.test_jobs import FakeSpec

Made = tuple[Callable[[random.Random], bytes], Callable[[bytes], None]]
_ROW = {"id": "a", "text": "one two three", "spans": [[0, 3], [4, 13]], "url": "x"}


def _read(path: Path) -> None:
    for number, row in enumerate(row for shard in shards([path], limits=Limits(rows=3)) for row in shard.rows()):
        assert row.place == number
        assert (row.text is None) != (row.error is None)
        assert row.text is None or row.text.encode("utf-8") is not None
        assert row.spans is None or all(0 <= start <= end <= len(row.text or "") for start, end in row.spans)


def jsonl(folder: Path) -> Made:
    """JSON lines, plain and compressed."""

    def make(draw: random.Random) -> bytes:
        lines = [written(_ROW, draw) if draw.randrange(2) else json.dumps(_ROW).encode() for _ in range(5)]
        text = draw.choice((b"\n", b"\r\n", b"\n\n")).join(lines)
        return blurred(gzip.compress(text, mtime=0), draw) if draw.randrange(4) == 0 else text

    def check(data: bytes) -> None:
        path = folder / ("in.jsonl.gz" if data[:2] == b"\x1f\x8b" else "in.jsonl")
        path.write_bytes(data)
        _read(path)

    return make, check


def parquet(folder: Path) -> Made:
    """Parquet files: other columns, cells out of range, and bytes."""
    plain = pa.table({"id": ["a", "b", None, "d"], "text": ["one two", "three", "", "four"], "n": [1, 2, 3, None]})
    columns = [
        pa.array(["one", "two", None, "é"]),
        pa.array([b"one", b"\xff", None, b""]).view(pa.string()),
        pa.array(["one", "two", None, "one"]).dictionary_encode(),
        pa.array([1, 2**62, None, -1]),
        pa.array([0.5, float("nan"), None, float("inf")]),
        pa.array([0, 2**62, None, -(2**62)], pa.timestamp("ms")),
        pa.array([0, 2**62, None, -(2**62)], pa.timestamp("us", tz="Mars/Olympus")),
        pa.array([0, 2**30, None, -(2**30)], pa.date32()),
        pa.array([0, 2**62, None, 1], pa.duration("ms")),
        pa.array([[[0, 1]], [[5, 9]], None, [[0, None]]]),
        pa.array([[["a"]], [], None, [[]]]),
        pa.array([{"a": 1}, {"a": 2}, None, {}]),
        pa.nulls(4),
    ]

    def saved(table: Any) -> bytes:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, row_group_size=3)
        return sink.getvalue().to_pybytes()

    whole = [saved(plain), saved(pa.table({"text": columns[2], "id": columns[0], "spans": columns[9]}))]

    def make(draw: random.Random) -> bytes:
        if draw.randrange(3):
            return blurred(draw.choice(whole), draw)
        names = draw.choices(("text", "id", "spans", "text ", "", "other"), k=draw.choice((1, 2, 3, 4)))
        return saved(pa.Table.from_arrays([draw.choice(columns) for _ in names], names=names))

    def check(data: bytes) -> None:
        (folder / "in.parquet").write_bytes(data)
        _read(folder / "in.parquet")

    return make, check


def job(folder: Path) -> Made:
    """What a job that was stopped before its end has left: the next run ends with the same bytes."""
    source = folder / "in.jsonl"
    source.write_text("\n".join(json.dumps({"text": text}) for text in ("one", "two three", "poison", "", "five")))
    limits = Limits(rows=2)

    def run(out: Path) -> None:
        with patch.object(os, "fsync", lambda _: None):  # what is on the disk is not in question here
            encode_files([source], out, FakeSpec(), limits=limits)

    run(folder / "whole.npy")
    wanted = _contents(folder, "whole.npy", "whole.jsonl")
    with patch("longspan.encoding.files.merge.Target.merge", side_effect=KeyboardInterrupt):
        try:
            run(folder / "left.npy")
        except KeyboardInterrupt:
            left = {path.name: path.read_bytes() for path in (folder / "left.npy.parts").iterdir()}
    left.pop("lock", None)
    about = (folder / "whole.npy.json").read_bytes()

    def make(draw: random.Random) -> bytes:
        name = draw.choice((*left, "job.json", "job.json", "v.npy.json"))
        whole = {**left, "v.npy.json": about}[name]
        is_text = name.endswith(".json")
        return name.encode() + b"\n" + (written(json.loads(whole), draw) if is_text else blurred(whole, draw))

    def check(data: bytes) -> None:
        name, _, content = data.partition(b"\n")
        place = folder / "now"
        shutil.rmtree(place, ignore_errors=True)
        (place / "v.npy.parts").mkdir(parents=True)
        for each, kept in left.items():
            (place / "v.npy.parts" / each).write_bytes(kept)
        if name == b"v.npy.json":
            for each, kept in zip(("v.npy", "v.jsonl"), wanted, strict=True):
                (place / each).write_bytes(kept)
        (place / ("" if name == b"v.npy.json" else "v.npy.parts") / name.decode()).write_bytes(content)
        run(place / "v.npy")
        assert _contents(place, "v.npy", "v.jsonl") == wanted

    return make, check


def _contents(folder: Path, *names: str) -> list[bytes]:
    return [(folder / name).read_bytes() for name in names]


def small(folder: Path) -> Made:
    """Remembered outcomes, the options of a conversion, and the three files of a retrieval set."""
    checkpoint = folder / "work" / "checkpoint-1"
    checkpoint.mkdir(parents=True)
    outcome = {"method": "yarn", "why": "best", "date": "2026-01-01"}
    options = {"to": 512, "steps": 3, "seed": 0}
    rows = {"corpus": {"id": "d", "text": "one"}, "queries": {"id": "q", "text": "two"}}
    rows["qrels"] = {"query-id": "q", "corpus-id": "d", "score": 1}  # type: ignore[dict-item]
    plain = {"outcome": outcome, "run": options, "state": {"global_step": 1, "log_history": []}, **rows}

    def make(draw: random.Random) -> bytes:
        name = draw.choice(sorted(plain))
        return name.encode() + b"\n" + written(plain[name], draw)

    def check(data: bytes) -> None:
        name, _, text = data.partition(b"\n")
        texts = {each: json.dumps(value).encode() for each, value in plain.items()} | {name.decode(): text}
        with patch.dict(os.environ, {"LONGSPAN_CACHE": str(folder)}):
            remember("model", 512, outcome).write_bytes(texts["outcome"])
            found = recall("model", 512)
        assert found is None or isinstance(found["method"], str)
        (checkpoint / "trainer_state.json").write_bytes(texts["state"])
        (folder / "work" / "run.json").write_bytes(texts["run"])
        keep_options(folder / "work", options)
        for each in rows:
            (folder / f"{each}.jsonl").write_bytes(texts[each])
        from_folder("set", folder)

    return make, check


def cache(folder: Path) -> Made:
    """The SQLite file of kept vectors: right ones come out of it, or none."""
    encoder, texts = Encoder(pipeline(folder / "model")), ["baba coba", "diba", "fuba geba haba"]
    path = folder / "kept.sqlite"
    kept = VectorCache(path)
    right = kept.encode(encoder, texts)[0].vectors
    kept.close()
    whole = path.read_bytes()

    def check(data: bytes) -> None:
        for each in folder.glob("kept.sqlite*"):
            each.unlink()
        path.write_bytes(data)
        mutated = VectorCache(path)
        try:
            np.testing.assert_allclose(mutated.encode(encoder, texts)[0].vectors, right, atol=1e-6)
        finally:
            mutated.close()

    return lambda draw: blurred(whole, draw), check
