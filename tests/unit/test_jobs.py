"""Jobs over files: whatever stops a run, the next one ends with the same bytes."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longspan.encoding.encoded import Encoded, overflow
from longspan.encoding.files.merge import Target
from longspan.encoding.files.parts import Counts, Parts, encode_rows
from longspan.encoding.files.pieces import Limits
from longspan.encoding.files.shards import shards
from longspan.errors import EncodeError
from longspan.scale.job import Summary, encode_files
from longspan.scale.state import fingerprint, meaning, prepare
from longspan.scale.teams import Alone
from longspan.scale.worker import Worker

READ = 12  # words that the fake reads of a text, six a vector


class Fake:
    """An encoder whose vectors are hashes of words; with the marks of a spec it misbehaves."""

    dimension = 4

    def __init__(self, spec: FakeSpec) -> None:
        self.spec = spec
        self.calls = 0

    def describe(self) -> dict[str, Any]:
        identity = {"identity": self.spec.identity} if self.spec.identity else {}
        return {"model": self.spec.model, "strategy": "late", "versions": {"torch": self.spec.torch}, **identity}

    def encode(self, texts: Any, spans: Any = None, on_error: str = "keep") -> Encoded:
        assert on_error == "keep"
        self.calls += 1
        if self.spec.dies and any(self.spec.dies in text for text in texts) and self.spec.first():
            os.kill(os.getpid(), signal.SIGKILL)
        if self.spec.raises and any("raise" in text for text in texts):
            raise self.spec.raises("on purpose", "hint") if self.spec.raises is EncodeError else self.spec.raises()
        vectors, owner, found, errors = [], [], [], {}
        given = [len(text.split()) for text in texts]
        for place, text in enumerate(texts):
            if "poison" in text:
                errors[place] = EncodeError("It is poisoned.", "drink water")
                continue
            asked = spans[place] if spans and spans[place] is not None else [(0, len(text))]
            for start, end in asked * max(1, min(given[place], READ) // 6):
                facts = f"{self.spec.model} {text} {start} {end} {len(vectors)}"
                digest = hashlib.blake2b(facts.encode(), digest_size=16).digest()
                vectors.append(np.frombuffer(digest, dtype=np.uint32).astype(np.float32))
                owner.append(place)
                found.append((start, end))
        return Encoded(
            np.array(vectors, dtype=np.float32).reshape(-1, 4),
            np.array(owner, dtype=np.int64),
            np.array(found, dtype=np.int64).reshape(-1, 2),
            given,
            [0 if place in errors else min(count, READ) for place, count in enumerate(given)],
            [1] * len(texts),
            errors,
        )


class UnsendableError(Exception):
    def __init__(self) -> None:
        super().__init__("nothing")
        self.lock = open(os.devnull)  # noqa: SIM115  # cannot be pickled


@dataclass(frozen=True)
class FakeSpec:
    model: str = "fake"
    dies: str = ""
    mark: str = ""
    raises: Any = None
    identity: str = ""
    torch: str = "2.13"

    def build(self, worker: int = 0) -> Fake:
        return Fake(self)

    def first(self) -> bool:
        """Whether this is the first of all processes to ask."""
        try:
            os.close(os.open(self.mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True


TEXTS = ["one two three", "", "word " * 20, "poison", "a b c d e f g h i j k l m n", "nul \x00", "last one"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rows = [json.dumps({"text": text, "id": f"id{number % 5}"}) for number, text in enumerate(TEXTS)]
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join([*rows[:3], "not json", *rows[3:]]) + "\n")
    return path


def run(source: Path, out: Path, spec: FakeSpec | None = None, **options: Any) -> Summary:
    return encode_files([source], out, spec or FakeSpec(), limits=Limits(rows=3), **options)


def result(out: Path) -> dict[str, bytes]:
    """All files of a result by name; whatever else lies beside it shows as well."""
    return {path.name: path.read_bytes() for path in out.parent.iterdir() if path.name.startswith(out.stem + ".")}


@pytest.fixture(params=["v.parquet", "v.npy"])
def name(request) -> str:
    return request.param


def test_a_result_holds_a_line_for_every_vector_and_an_account(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "v.parquet"
    summary = run(source, out)
    assert (summary.rows, summary.vectors, summary.errors, summary.resumed_rows) == (8, 8, 2, 0)
    table = pq.read_table(out)
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 4)
    kinds = {"id": "string", "row": "int64", "chunk": "int32", "start": "int64", "end": "int64"}
    kinds |= {"tokens": "int64", "read": "int64", "windows": "int32"}
    assert {name: str(table.schema.field(name).type) for name in kinds} == kinds
    rows = table.to_pylist()
    assert [row["row"] for row in rows] == [0, 1, 2, 2, 5, 5, 6, 7]
    assert [row["chunk"] for row in rows] == [0, 0, 0, 1, 0, 1, 0, 0]
    assert [row["id"] for row in rows] == ["id0", "id1", "id2", "id2", "id4", "id4", "id0", "id1"]
    assert (rows[2]["tokens"], rows[2]["read"], rows[2]["windows"], rows[2]["end"]) == (20, 12, 1, 100)
    about = json.loads(table.schema.metadata[b"longspan"])
    assert about["encoder"] == FakeSpec().build().describe()
    errors = [json.loads(line) for line in (tmp_path / "v.parquet.errors.jsonl").read_text().splitlines()]
    assert [(e["row"], e["id"], e["line"], e["hint"]) for e in errors] == [
        (3, "3", 4, 'write one {"text": "..."} a line'),
        (4, "id3", 5, "drink water"),
    ]
    lost, _, advice = summary.overflow.partition("; ")
    assert lost == "2 of 8 inputs lost 29% of their tokens"
    assert re.fullmatch(r"extend to 64 with: longspan extend \S+ --to 64 --out \S+-64", advice)
    given = [3, 0, 20, 0, 0, 14, 2, 2]
    assert f"{lost}." == overflow(given, [min(count, READ) for count in given])
    assert summary.text().splitlines()[1:] == [
        summary.overflow,
        f"2 rows could not be encoded: {out}.errors.jsonl",
    ]
    assert re.match(r"8 rows, 8 vectors, 41 tokens in \d+\.\d s", summary.headline())


def test_npy_and_parquet_hold_the_same(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "v.parquet")
    run(source, tmp_path / "w.npy")
    table = pq.read_table(tmp_path / "v.parquet")
    lines = [json.loads(line) for line in (tmp_path / "w.jsonl").read_text().splitlines()]
    assert lines == table.drop_columns("vector").to_pylist()
    vectors = np.load(tmp_path / "w.npy", mmap_mode="r")
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, np.array(table["vector"].to_pylist(), dtype=np.float32))


def test_no_rows_and_no_good_rows_are_a_result(tmp_path: Path, name: str) -> None:
    (tmp_path / "in.jsonl").write_text("")
    assert run(tmp_path / "in.jsonl", tmp_path / name).rows == 0
    (tmp_path / "in2.jsonl").write_text("{}\n" * 4)
    summary = run(tmp_path / "in2.jsonl", tmp_path / f"w{name}")
    assert (summary.rows, summary.vectors, summary.errors) == (4, 0, 4)
    if name == "v.npy":
        assert np.load(tmp_path / "wv.npy").shape == (0, 4)
    else:
        assert pq.read_table(tmp_path / "wv.parquet").num_rows == 0


class Killed(BaseException):
    """What no cleaning up catches."""


class Killer:
    """Stops the process, as it were, before the n-th thing it does to the disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = -1
        for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink"), (Path, "touch"), (Path, "rmdir")):
            monkeypatch.setattr(owner, name, self._armed(getattr(owner, name)))

    def _armed(self, act: Any) -> Any:
        def step(*args: Any, **kwargs: Any) -> Any:
            if self.left == 0:
                raise Killed
            self.left -= 1
            return act(*args, **kwargs)

        return step


@pytest.fixture
def killer(monkeypatch) -> Killer:
    return Killer(monkeypatch)


def test_killed_before_any_step_the_next_run_ends_with_the_same_bytes(source, tmp_path, name, killer) -> None:
    run(source, tmp_path / name)
    whole = result(tmp_path / name)
    assert len(whole) == {"v.parquet": 2, "v.npy": 4}[name]
    resumed = []
    for step in range(1000):
        out = tmp_path / str(step) / name
        killer.left = step
        try:
            run(source, out)
        except Killed:
            killer.left = -1
            assert not out.exists() or out.read_bytes() == whole[name]
            resumed.append(run(source, out).resumed_rows)
            assert result(out) == whole
        else:
            break
    assert step > 20
    assert set(resumed) == {0, 3, 6, 8}
    assert resumed == sorted(resumed)


def test_killed_while_overwriting_there_is_the_old_result_or_the_new_one(source, tmp_path, name, killer) -> None:
    run(source, tmp_path / name)
    whole = result(tmp_path / name)
    for step in range(1000):
        out = tmp_path / str(step) / name
        killer.left = -1
        run(source, out, FakeSpec("old"))
        old = out.read_bytes()
        killer.left = step
        try:
            run(source, out, overwrite=True)
        except Killed:
            killer.left = -1
            assert out.read_bytes() in (old, whole[name])
            if not (renaming := Target(out).marked.exists()) and out.read_bytes() == old:
                with pytest.raises(EncodeError, match="exists already"):
                    run(source, out)
            run(source, out, overwrite=not renaming)
            assert result(out) == whole
        else:
            break
    assert step > 20


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(steps=st.lists(st.integers(0, 25), max_size=5), names=st.sampled_from(["v.parquet", "v.npy"]))
def test_killed_again_and_again(source, tmp_path_factory, killer, steps: list[int], names: str) -> None:
    folder = tmp_path_factory.mktemp("again")
    killer.left = -1
    run(source, folder / "whole" / names)
    for step in steps:
        killer.left = step
        try:
            run(source, folder / names)
        except Killed:
            continue
        break
    killer.left = -1
    run(source, folder / names)
    assert result(folder / names) == result(folder / "whole" / names)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(data=st.data(), names=st.sampled_from(["v.parquet", "v.npy"]))
def test_parts_in_any_order_by_anybody_merge_to_the_same(source, tmp_path_factory, data, names: str) -> None:
    folder = tmp_path_factory.mktemp("any")
    whole, out = folder / "whole" / names, folder / names
    run(source, whole)
    work = shards([source], limits=Limits(rows=3))
    target, about = Target(out), Alone(FakeSpec()).describe()
    job = fingerprint(about, work)
    target.parts.mkdir()
    prepare(target, job, about, work, overwrite=False)
    order = data.draw(st.permutations(work))
    written = order[: data.draw(st.integers(0, len(work)))]
    for shard in written:
        Parts(target.parts, job).write(shard.index, encode_rows(Fake(FakeSpec()), shard.rows()))
    assert run(source, out).resumed_rows == sum(shard.count for shard in written)
    assert result(out) == result(whole)


def test_the_same_job_again_does_nothing_and_another_one_is_refused(source: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    first = run(source, out)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = run(source, out)
    assert again.headline() == f"8 rows, 8 vectors, 41 tokens, all of an earlier run -> {out}"
    assert replace(again, seconds=0, speed=0, resumed_rows=0) == replace(first, seconds=0, speed=0)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    with pytest.raises(EncodeError, match="exists already"):
        run(source, out, FakeSpec("other"))
    source.write_text(source.read_text().replace("one", "two"))
    with pytest.raises(EncodeError, match="exists already"):
        run(source, out)
    assert run(source, out, overwrite=True).resumed_rows == 0
    assert not Target(out).parts.exists()


def test_parts_of_another_job_are_refused_and_told_apart(source: Path, tmp_path: Path, killer: Killer) -> None:
    out = tmp_path / "v.parquet"
    killer.left = 8
    with pytest.raises(Killed):
        run(source, out)
    killer.left = -1
    with pytest.raises(EncodeError, match="parts of another job: its model is 'fake', not 'other'"):
        run(source, out, FakeSpec("other"))
    with pytest.raises(EncodeError, match=r"parts of another job: its torch is '2\.13', not '2\.14'"):
        run(source, out, FakeSpec(torch="2.14"))
    whole = source.read_text()
    source.write_text(whole + "\n{}")
    with pytest.raises(EncodeError, match="its input differs"):
        run(source, out)
    source.write_text(whole)
    assert run(source, out).resumed_rows > 0


def test_a_model_is_what_it_is_and_not_what_it_is_called(source: Path, tmp_path: Path, killer: Killer) -> None:
    out = tmp_path / "v.parquet"
    killer.left = 8
    with pytest.raises(Killed):
        run(source, out, FakeSpec("here", identity="a"))
    killer.left = -1
    with pytest.raises(EncodeError, match="parts of another job: 'here' is not the model that it was; its weights"):
        run(source, out, FakeSpec("here", identity="b"))
    with pytest.raises(EncodeError, match="its model is 'here', not 'there'"):
        run(source, out, FakeSpec("there", identity="b"))
    assert run(source, out, FakeSpec("there", identity="a")).resumed_rows > 0
    with pytest.raises(EncodeError, match="exists already"):
        run(source, out, FakeSpec("there", identity="b"))


def test_each_process_proves_that_it_loaded_the_same_model(source: Path, tmp_path: Path) -> None:
    shard = shards([source])[0]
    workers = [Worker(FakeSpec(name, identity=identity)) for name, identity in (("x", "a"), ("y", "a"), ("x", "b"))]
    parts = Parts(tmp_path, "job", meaning(workers[0].describe()))
    assert workers[0].work(shard, parts) == workers[1].work(shard, parts)
    before = parts.path(0).read_bytes()
    with pytest.raises(EncodeError, match=r"this worker loaded is not the one .*\nhint: leave the model's files"):
        workers[2].work(shard, parts)
    assert parts.path(0).read_bytes() == before
    for worker in workers:
        worker.close()


def test_a_damaged_part_is_done_again(source: Path, tmp_path: Path, killer: Killer) -> None:
    run(source, tmp_path / "whole" / "v.parquet")
    out = tmp_path / "v.parquet"
    killer.left = 12
    with pytest.raises(Killed):
        run(source, out)
    killer.left = -1
    part = sorted(Target(out).parts.glob("0*.npz"))[0]
    part.write_bytes(part.read_bytes()[:100])
    run(source, out)
    assert result(out) == result(tmp_path / "whole" / "v.parquet")


def test_no_errors_take_the_old_list_of_errors_away(source: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    run(source, out)
    assert Target(out).errors.exists()
    source.write_text('{"text": "fine"}')
    assert run(source, out, overwrite=True).errors == 0
    assert not Target(out).errors.exists()


def test_what_is_read_is_never_written(source: Path, tmp_path: Path) -> None:
    with pytest.raises(EncodeError, match="would be read and written"):
        run(source, tmp_path / "in.npy", overwrite=True)
    (tmp_path / "mine.jsonl").write_text("precious")
    with pytest.raises(EncodeError, match=r"mine\.jsonl exists already"):
        run(source, tmp_path / "mine.npy")
    assert (tmp_path / "mine.jsonl").read_text() == "precious"
    assert not (tmp_path / "mine.npy.parts").exists()
    (tmp_path / "mine.parquet").write_text("precious")
    with pytest.raises(EncodeError, match=r"mine\.parquet exists already"):
        run(source, tmp_path / "mine.parquet")


def test_a_folder_is_encoded_into_itself_twice(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.txt").write_text("one")
    assert encode_files([tmp_path], tmp_path / name, FakeSpec()).rows == 1
    assert encode_files([tmp_path], tmp_path / name, FakeSpec()).resumed_rows == 1


def test_two_runs_at_a_time_are_refused(source: Path, tmp_path: Path) -> None:
    out, refused = tmp_path / "v.parquet", []

    class Nosy(FakeSpec):
        def build(self, worker: int = 0) -> Fake:
            with pytest.raises(EncodeError, match="Another run is writing") as raised:
                run(source, out)
            refused.append(raised.value.hint)
            return super().build()

    assert run(source, out, Nosy()).rows == 8
    assert refused


@pytest.mark.parametrize(
    ("out", "options", "fact"),
    [
        ("v.csv", {}, "neither .parquet nor .npy"),
        ("v.npy", {"processes": 0}, "0 processes"),
        ("v.npy", {"engine": "spark"}, "no engine 'spark'"),
        ("in.jsonl/v.npy", {}, "cannot be made"),
        ("v.npy", {"columns": 1, "limits": Limits(rows=0)}, "holds nothing"),
    ],
)
def test_bad_arguments_are_typed_errors(source: Path, tmp_path: Path, out: str, options: dict, fact: str) -> None:
    with pytest.raises(EncodeError, match=fact) as raised:
        encode_files([source], tmp_path / out, FakeSpec(), **options)
    assert raised.value.hint


def test_an_error_of_the_encoder_names_the_rows_and_leaves_the_parts(source: Path, tmp_path: Path) -> None:
    source.write_text(source.read_text() + '{"text": "raise"}\n')
    with pytest.raises(EncodeError, match=r"Rows 6 to 8: on purpose\nhint: hint"):
        run(source, tmp_path / "v.npy", FakeSpec(raises=EncodeError))
    assert run(source, tmp_path / "v.npy").resumed_rows == 6


def test_a_full_disk_is_told(source: Path, tmp_path: Path, monkeypatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(EncodeError, match="No space left on device\\.\nhint: free some space"):
            run(source, tmp_path / "v.npy")
    assert run(source, tmp_path / "v.npy").rows == 8


def test_two_processes_give_the_same_and_a_death_is_told_and_resumed(source: Path, tmp_path: Path, name: str) -> None:
    whole, out = tmp_path / "whole" / name, tmp_path / name
    run(source, whole)
    deadly = FakeSpec(dies="last", mark=str(tmp_path / "mark"))
    with pytest.raises(EncodeError, match=r"A worker process died.*\nhint: run the same again"):
        run(source, out, deadly, processes=2)
    run(source, out, deadly, processes=2)
    assert result(out) == result(whole)


class Sleeper(FakeSpec):
    """Builds only after a minute, with a lock in hand that the system takes back when the process ends."""

    def build(self, worker: int = 0) -> Fake:
        with open(self.mark + str(worker), "w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            held.write("taken")
            held.flush()
            time.sleep(60)
        return super().build()


def test_processes_end_when_their_parent_is_killed(source: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark0"
    script = (
        "import sys\nfrom tests.unit.test_jobs import *\n"
        "run(Path(sys.argv[1]), Path(sys.argv[2]), Sleeper(mark=sys.argv[3]), processes=2)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(source), str(tmp_path / "v.npy"), str(mark)[:-1]])
    try:
        assert _soon(lambda: mark.exists() and mark.read_text() == "taken")
    finally:
        parent.kill()
        parent.wait()

    def ended() -> bool:
        with mark.open() as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
        return True

    assert _soon(ended)


def _soon(happened: Any) -> bool:
    ends = time.monotonic() + 30
    while not (so := happened()) and time.monotonic() < ends:
        time.sleep(0.02)
    return so


def test_any_exception_of_a_process_arrives(source: Path, tmp_path: Path) -> None:
    source.write_text('{"text": "raise"}\n')
    with pytest.raises(EncodeError, match="A worker failed: UnsendableError: nothing"):
        run(source, tmp_path / "v.npy", FakeSpec(raises=UnsendableError), processes=2)


def test_words_for_times_and_counts() -> None:
    told = Summary("v.parquet", 10_000, 83_120, 21_300_000, 21_000_000, 0, 0, 2460.0, 8650.2, 1200, "")
    assert told.text() == (
        "10,000 rows, 83,120 vectors, 21.3 M tokens in 41 min (8,650 tokens/s, 1,200 rows of an earlier run) "
        "-> v.parquet"
    )
    assert "in 3.0 h" in replace(told, seconds=10_800.0).text()
    assert Counts(rows=2) + Counts(rows=3, errors=1) == Counts(rows=5, errors=1)


def _cut(data: bytes) -> bytes:
    return data[:-40]


def _zeroed(data: bytes) -> bytes:
    return data[:150] + b"\0" * 10 + data[160:]


@pytest.mark.parametrize("damage", [_cut, _zeroed, None])
def test_a_finished_result_is_taken_by_its_bytes_alone(source: Path, tmp_path: Path, name: str, damage: Any) -> None:
    out = tmp_path / name
    run(source, out)
    whole = result(out)
    for path in (*Target(out).files, Target(out).errors):
        path.unlink() if damage is None else path.write_bytes(damage(path.read_bytes()))
        before = result(out)
        if before.keys() == {Target(out).errors.name}:
            with pytest.raises(EncodeError, match=r"errors\.jsonl exists already"):
                run(source, out)
        else:
            with pytest.raises(EncodeError, match=r"is not what was written|exists already"):
                run(source, out)
        assert result(out) == before
        run(source, out, overwrite=True)
        assert result(out) == whole
    Target(out).errors.write_text("")
    with pytest.raises(EncodeError, match="is not what was written"):
        run(source, out)


def test_an_overwritten_jobs_errors_are_never_taken_for_the_others(source, tmp_path, name, killer) -> None:
    fewer = tmp_path / "fewer.jsonl"
    fewer.write_text('{"text": "fine"}\n{"text": 5}\n')
    run(source, tmp_path / "whole" / name)
    wholes = [result(tmp_path / "whole" / name)]
    run(fewer, tmp_path / "whole" / name, overwrite=True)
    wholes.append(result(tmp_path / "whole" / name))
    for step in range(15, 1000):  # before that, the old result is untouched
        out = tmp_path / str(step) / name
        run(fewer, out)
        killer.left = step
        try:
            run(source, out, overwrite=True)
        except Killed:
            killer.left = -1
            for asked, whole in zip((source, fewer), wholes, strict=True):
                try:
                    told = run(asked, out)
                except EncodeError:
                    continue
                files = (*Target(out).files, Target(out).errors)
                assert {path.name: path.read_bytes() for path in files} == whole
                assert told.errors == len(whole[Target(out).errors.name].splitlines())
        else:
            break
        finally:
            killer.left = -1
    assert step > 20


def _stopped(source: Path, out: Path, killer: Killer, at: int = 12) -> list[Path]:
    killer.left = at
    with pytest.raises(Killed):
        run(source, out)
    killer.left = -1
    return sorted(Target(out).parts.glob("0*.npz"))


def test_parts_that_changed_names_are_done_again(source: Path, tmp_path: Path, name: str, killer: Killer) -> None:
    run(source, tmp_path / "whole" / name)
    first, second = _stopped(source, tmp_path / name, killer)[:2]
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    run(source, tmp_path / name)
    assert result(tmp_path / name) == result(tmp_path / "whole" / name)


def test_parts_are_known_by_name_where_job_json_is_torn(source: Path, tmp_path: Path, killer: Killer) -> None:
    out = tmp_path / "v.parquet"
    kept = _stopped(source, out, killer)
    told = Target(out).parts / "job.json"
    told.write_text(told.read_text()[:40])
    with pytest.raises(EncodeError, match=r"parts of another job: its job\.json cannot be read"):
        run(source, out, FakeSpec("other"))
    assert all(path.exists() for path in kept)
    assert run(source, out).resumed_rows > 0


@pytest.mark.parametrize("stranger", ["thesis.txt", "sub/", "00000000.0123456789ab.npz/", "merged0/", "x.npz", "link"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_nothing_that_longspan_did_not_make_is_removed(source, tmp_path, stranger: str, overwrite: bool) -> None:
    out = tmp_path / "v.parquet"
    path = Target(out).parts / ("merging" if stranger == "link" else stranger)
    path.parent.mkdir()
    if stranger == "link":
        path.symlink_to(source)
    elif stranger.endswith("/"):
        path.mkdir()
    else:
        path.write_text("precious")
    with pytest.raises(EncodeError, match=r"was not made by longspan\.\nhint: move it elsewhere"):
        run(source, out, overwrite=overwrite)
    assert list(path.parent.iterdir()) == [path]


def test_errors_of_somebody_else_and_places_that_are_no_files_stay(source: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    Target(out).errors.write_text("precious")
    with pytest.raises(EncodeError, match=r"errors\.jsonl exists already"):
        run(source, out)
    assert Target(out).errors.read_text() == "precious"
    for number, make in enumerate((Path.mkdir, lambda path: path.symlink_to(tmp_path / "nowhere"))):
        for path in Target(tmp_path / f"w{number}" / name).files:
            path.parent.mkdir(exist_ok=True)
            make(path)
            with pytest.raises(EncodeError, match=r"is (a folder|a link to .*nowhere), and would be replaced"):
                run(source, tmp_path / f"w{number}" / name, overwrite=True)
            assert [*path.parent.iterdir()] == [path]
            path.unlink() if path.is_symlink() else path.rmdir()


def test_an_input_in_the_folder_is_no_result_because_of_its_name(tmp_path: Path) -> None:
    for one in ("a", "v"):
        (tmp_path / f"{one}.jsonl").write_text('{"text": "one"}\n{}\n')
    with pytest.raises(EncodeError, match=r"v\.jsonl would be read and written"):
        encode_files([tmp_path], tmp_path / "v.npy", FakeSpec(), overwrite=True)
    assert (tmp_path / "v.jsonl").read_text() == '{"text": "one"}\n{}\n'
    for name in ("w.npy", "w.parquet"):  # the rows' errors stand beside a result, and are no input either
        first = encode_files([tmp_path / "a.jsonl"], tmp_path / "b" / name, FakeSpec())
        (tmp_path / "b" / "a.txt").write_text("one")
        assert first.errors == 1
        assert encode_files([tmp_path / "b"], tmp_path / "b" / name, FakeSpec(), overwrite=True).rows == 1
        (tmp_path / "b" / "w.jsonl").unlink(missing_ok=True)


def test_a_result_on_a_disk_that_cannot_be_written_is_complete(source, tmp_path, name, monkeypatch) -> None:
    run(source, tmp_path / name)

    def refused(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    monkeypatch.setattr(Path, "mkdir", refused)
    assert run(source, tmp_path / name).resumed_rows == 8
    with pytest.raises(EncodeError, match="exists already"):
        run(source, tmp_path / name, FakeSpec("other"))
    with pytest.raises(EncodeError, match="cannot be made: Read-only"):
        run(source, tmp_path / name, overwrite=True)
