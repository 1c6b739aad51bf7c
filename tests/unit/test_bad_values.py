"""Values from outside that no model, plan, folder or table has: one typed error, before anything of their size."""

from __future__ import annotations

import json
import math
import os
import pickle
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import longspan
from longspan import registry, spec
from longspan.encoding.files.parts import Counts, Parts
from longspan.encoding.files.rows import Columns
from longspan.encoding.files.shards import shards
from longspan.errors import BenchmarkError, EncodeError, InspectError, LongspanError, PlanError, SpecError, StorageError
from longspan.evaluation.report import report
from longspan.geometry import MAX_LENGTH, MAX_ROWS, Geometry
from longspan.inspection import inspect
from longspan.jsons import parse
from longspan.outcomes import recall, remember
from longspan.planning import Plan, plan
from longspan.storage.load import load, original_card
from longspan.values import declared, fitted
from tests.fuzz.run import guarded
from tests.laws.cases import learned, rotary
from tests.models import ALL
from tests.pipelines import pipeline
from tests.scores import SCORES

DEEP = b"[" * 10_000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("window", value) for value in (0, -1, math.inf, math.nan, "512", None, True, 512.0, 3 * 10**9, 10**400)),
        *(("layers", value) for value in (0, 10**9, [2])),
        *(("heads", value) for value in (0, -4, 1.5)),
        *(("base", value) for value in (1.0, 0.0, -1e4, math.inf, 1e300, "10000")),
        *(("inv_freq", value) for value in ((), (1.0,), (math.nan,) * 4, "1234", [None] * 4, (-1.0,) * 4, 7)),
        *(("rotary_dim", value) for value in (0, 7, 10, 2**40)),
        ("attention_factor", 0.0),
        ("encoding", "sinusoidal"),
        ("role", ["encoder"]),
        ("rope_parameters", {"rope_theta": math.nan}),
        ("rope_parameters", []),
        ("layer_types", [1]),
        ("extended", {"length": "long"}),
        ("extended", 5),
        ("reach", -1),
        ("parameters", -1),
    ],
)
def test_a_stored_plan_of_no_model_is_a_plan_error(field: str, value: Any) -> None:
    stored = plan(rotary(8, window=64), "yarn", 256).to_json()
    Plan.from_json(stored)
    stored["geometry"] = {**stored["geometry"], field: value}
    with guarded(), pytest.raises(PlanError, match="The stored plan cannot be read"):
        Plan.from_json(stored)
    with pytest.raises(InspectError):
        Geometry.from_json(stored["geometry"])


@pytest.mark.parametrize(
    "change",
    [
        *({"methods": value} for value in (None, 3, ["yarn"], {"yarn": 1})),
        *({"length": value} for value in (None, "256", 256.0, True, math.inf)),
        {"geometry": None},
        {"geometry": []},
    ],
)
def test_a_stored_plan_with_other_types_is_a_plan_error_never_the_default(change: dict[str, Any]) -> None:
    stored = {**plan(rotary(8, window=64), "yarn", 256).to_json(), **change}
    with pytest.raises(PlanError):
        Plan.from_json(stored)
    for whole in (None, 3, "yarn", [stored]):
        with pytest.raises(PlanError, match="cannot be read"):
            Plan.from_json(whole)  # type: ignore[arg-type]


@pytest.mark.parametrize("length", [10**400, 2**60, math.inf, math.nan, "512", None, MAX_LENGTH + 1])
def test_no_target_is_too_large_to_be_told(length: Any) -> None:
    for geometry in (rotary(8, window=MAX_LENGTH // 2), learned(64)):
        with guarded(), pytest.raises(PlanError):
            plan(geometry, None, length)


def test_the_longest_plan_takes_neither_seconds_nor_gigabytes() -> None:
    longest = ((rotary(8, window=2**15), "yarn", MAX_LENGTH), (learned(2**12), "interpolate", MAX_ROWS))
    for geometry, methods, length in longest:
        with guarded():
            plan(geometry, methods, length).describe()
    with pytest.raises(PlanError, match="rows is out of reach"):
        plan(learned(2**15), "tile", MAX_LENGTH)
    with pytest.raises(PlanError, match="A window of 1 token"):
        plan(rotary(8, window=1), "yarn + su", 16)


@pytest.mark.parametrize("method", registry.methods())
def test_every_number_of_every_method_has_a_range(method: str) -> None:
    component = type(spec.parse(method)[0])
    for name in declared(component):
        for value in ("1e-310", "1e300", "-1e300", "9" * 40, "-" + "9" * 40, "(1e300,)"):
            with guarded(), pytest.raises((SpecError, PlanError)) as told:
                spec.parse(f"{method}({name}={value})")
            assert told.value.hint


def test_a_map_without_numbers_is_refused_whoever_made_it() -> None:
    class Broken:
        def frequencies(self, geometry: Any, factor: float, length: int) -> Any:
            trained = spec.parse("pi")[0].frequencies(geometry, factor, length)
            return trained._replace(inv_freq=trained.inv_freq * math.nan)

        def __repr__(self) -> str:
            return "Broken()"

    import dataclasses

    with pytest.raises(PlanError, match="no number for each of the 4 rotary pairs"):
        plan(rotary(8, window=64), dataclasses.dataclass(frozen=True)(Broken)(), 256)


def test_values_become_what_their_field_declares() -> None:
    assert type(fitted(3, float)) is float
    assert fitted([1, 2], tuple[float, ...]) == (1, 2)
    assert fitted(None, int | None) is None
    for value in (True, "3", math.nan, 1e31, 1e-31, None, [3]):
        with pytest.raises(ValueError, match="float"):
            fitted(value, float)


# messages


def test_an_error_is_short_and_prints_whatever_it_quotes() -> None:
    for text in ("x" * 10**6, "words " * 10**5, "\x1b[2J\u2028\ud800\n" * 10**4):
        told = LongspanError(f"There is no {text}.", f"not {text}")
        assert len(told.fact) < 600
        assert len(told.hint) < 1000
        assert (told.fact + told.hint).isprintable()
        assert told.fact.startswith("There is no ")
        told.fact.encode()
    told = LongspanError("A fact of 12 numbers: " + "1 " * 100, "a hint")
    assert str(told) == f"{told.fact}\nhint: a hint"
    assert "characters" not in told.fact
    assert str(pickle.loads(pickle.dumps(told))) == str(told)
    for call in (lambda: spec.parse("x" * 60_000), lambda: spec.parse("yarn(beta_fast='" + "y" * 60_000 + "')")):
        with pytest.raises(SpecError) as error:
            call()
        assert len(str(error.value)) < 1500


# JSON


@pytest.mark.parametrize(
    "text", [DEEP, b'{"a":' * 10_000, b'{"a": 1, "a": 2}', b"[NaN]", b"[-Infinity]", b"9" * 5000, b"\xff", b"", b"{"]
)
def test_json_that_says_nothing_or_two_things_is_one_kind_of_error(text: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # any text
        parse(text)
    assert parse(b'\xef\xbb\xbf{"a": [1]}') == {"a": [1]}
    kept = remember("model", 512, {"method": "yarn"})
    kept.write_bytes(text)
    assert recall("model", 512) is None
    (tmp_path / "config.json").write_bytes(text)
    for read in (inspect, load, longspan.verify):
        with pytest.raises((InspectError, StorageError)):
            read(tmp_path)


@pytest.mark.parametrize(
    ("line", "fact"),
    [
        (DEEP, "not JSON"),
        (b'{"text": "one", "text": "two"}', "the key 'text' is there twice"),
        (b'{"text": "one", "id": NaN}', "its id is nan"),
        (b'{"text": "one", "id": 1e999}', "its id is inf"),
    ],
)
def test_a_row_that_says_two_things_is_a_row_with_an_error(line: bytes, fact: str, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(line + b'\n{"text": "two", "score": NaN}')
    first, second = (row for shard in shards([path]) for row in shard.rows())
    assert first.error
    assert fact in first.error.fact
    assert second.text == "two"


# Parquet


def _cells(path: Path, columns: Columns | None = None) -> list[Any]:
    return [row for shard in shards([path], columns) for row in shard.rows()]


@pytest.mark.parametrize(
    "cells",
    [
        pa.array([0, 2**62], pa.timestamp("ms")),
        pa.array([0, 2**62], pa.timestamp("us", tz="Mars/Olympus")),
        pa.array([0, 2**30], pa.date32()),
        pa.array([0, 2**62], pa.duration("us")),
        pa.array([0.5, math.inf]),
    ],
    ids=str,
)
def test_a_cell_out_of_range_is_one_rows_error(cells: Any, tmp_path: Path) -> None:
    pq.write_table(
        pa.table(
            {
                "text": ["one", "two", "three"],
                "id": pa.concat_arrays([cells, cells[:0].take(pa.array([None], pa.int64()))]),
            }
        ),
        tmp_path / "in.parquet",
    )
    rows = _cells(tmp_path / "in.parquet")
    assert rows[1].error
    assert rows[2].text == "three"


def test_two_columns_of_a_name_are_refused(tmp_path: Path) -> None:
    for name in ("text", "id", "spans"):
        names = ["text", name, name][name == "text" :]
        pq.write_table(pa.Table.from_arrays([pa.array(["a"])] * len(names), names=names), tmp_path / "in.parquet")
        with pytest.raises(EncodeError, match=f"2 columns '{name}'"):
            _cells(tmp_path / "in.parquet")


# parts of a job


def test_any_byte_of_a_part_that_changes_makes_it_damaged(tmp_path: Path) -> None:
    from longspan.encoding.files.parts import Part

    numbers, parts = np.zeros(1, np.int64), Parts(tmp_path, "0" * 32)
    parts.write(0, Part(np.ones((1, 4), np.float32), *[numbers] * 8, ["id"], []))
    whole = parts.path(0).read_bytes()
    assert parts.done(1) == {0: Counts(rows=1, vectors=1)}
    for place in range(0, len(whole), 13):
        parts.path(0).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(EncodeError, match="gone or damaged"):
            parts.read(0)
        assert parts.done(1) == {}
        assert not parts.path(0).exists()


@pytest.mark.parametrize("change", [{"rows": "8"}, {"rows": -1}, {"overflowed": 1}, {"x": 1}, {"rows": math.nan}])
def test_counts_of_another_kind_are_none(change: dict[str, Any]) -> None:
    counts = {**Counts().__dict__, **change}
    with pytest.raises(ValueError, match=r"counts|int"):
        Counts.from_json(counts)


# folders


def _folder(path: Path, **changes: Any) -> Path:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps({"model_type": "bert", **ALL["bert"], **changes}))
    return path


@pytest.mark.parametrize(
    "change",
    [
        *({"num_hidden_layers": value} for value in (10**9, -1, "two", 0, None)),
        *({"num_attention_heads": value} for value in (0, 10**9, -4)),
        *({"max_position_embeddings": value} for value in (0, 10**12)),
        *({"hidden_size": value} for value in (10**12, 0, -32)),
        *({"longspan": value} for value in (5, [], {}, "", {"length": 1}, False)),
        {"model_type": ["bert"]},
        {"vocab_size": 10**30},
    ],
    ids=str,
)
def test_a_configuration_of_no_model_is_an_inspect_error(change: dict[str, Any], tmp_path: Path) -> None:
    with guarded(), pytest.raises(InspectError):
        inspect(_folder(tmp_path / "model", **change))


def test_the_size_of_a_rotation_is_read_before_it_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    told = {"model_type": "gpt_neox", **ALL["gpt_neox"], "rotary_pct": 1e15}
    (folder / "config.json").write_text(json.dumps(told))
    with guarded(), pytest.raises(InspectError, match="rotary frequencies"):
        inspect(folder)


def test_a_folder_that_needs_code_is_refused_without_asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asks"))
    folder = _folder(tmp_path / "model", model_type="spaceship", auto_map={"AutoConfig": "ship.Config"})
    (folder / "ship.py").write_text("raise SystemExit('it ran')")
    for read, kind in ((inspect, InspectError), (load, StorageError)):
        with pytest.raises(kind, match="longspan runs no code of a model's folder") as told:
            read(folder)
        assert "pass the model" in told.value.hint
        assert "trust_remote_code" not in str(told.value)


@pytest.mark.parametrize("value", ["many", 0, -1, 1.5, [512], True])
def test_a_limit_that_is_no_count_is_refused_by_both(value: Any, tmp_path: Path) -> None:
    pipeline(tmp_path / "plain").save(str(tmp_path / "model"))
    limits = tmp_path / "model" / "sentence_bert_config.json"
    limits.write_text(json.dumps({**json.loads(limits.read_text()), "max_seq_length": value}))
    with pytest.raises(InspectError):
        inspect(tmp_path / "model")
    with pytest.raises(StorageError):
        load(tmp_path / "model")


def test_a_plan_of_another_shape_is_not_put_on_a_model(tmp_path: Path) -> None:
    longspan.save(longspan.extend(pipeline(tmp_path / "plain"), to=128, method="tile"), tmp_path / "model")
    longspan.load(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config["longspan"]["geometry"]["layers"] += 1
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    with pytest.raises(PlanError, match="layers 2 instead of 3"):
        longspan.load(tmp_path / "model")


def test_odd_things_named_like_files_are_typed_errors(tmp_path: Path) -> None:
    def directory(path: Path) -> None:
        path.mkdir()

    def listening(path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as ear:
            ear.bind(str(path))

    def empty(path: Path) -> None:
        path.touch()

    def circle(path: Path) -> None:
        path.symlink_to(path)

    for number, make in enumerate((directory, listening, empty, circle)):
        folder = tmp_path / f"m{number}"
        folder.mkdir()
        make(folder / "config.json")
        with pytest.raises(InspectError):
            inspect(folder)
        with pytest.raises(StorageError):
            load(folder)
        assert original_card(folder) == ""
    for name in ("x" * 5000, "nul\x00l", "a\u2028b", "\ud800"):
        with pytest.raises(InspectError):
            inspect(name)


def test_a_card_is_read_as_text_and_never_from_elsewhere(tmp_path: Path) -> None:
    model, card = tmp_path / "model", tmp_path / "model" / "README.md"
    model.mkdir()
    card.write_bytes(b"caf\xe9")
    assert original_card(model) == "caf\ufffd"
    card.unlink()
    (tmp_path / "secret").write_text("secret")
    card.symlink_to(tmp_path / "secret")
    with pytest.warns(UserWarning, match="is a link out of its folder"):
        assert original_card(model) == ""
    snapshot, blobs = tmp_path / "hub" / "snapshots" / "1", tmp_path / "hub" / "blobs"
    for each in (snapshot, blobs):
        each.mkdir(parents=True)
    (blobs / "1").write_text("of the hub")
    (snapshot / "README.md").symlink_to(blobs / "1")
    assert original_card(snapshot) == "of the hub"


def test_what_is_no_file_in_a_folder_of_texts_is_refused_not_waited_for_nor_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "a.jsonl")
    with pytest.raises(EncodeError, match="is no file but a pipe"):
        shards([tmp_path])
    (tmp_path / "a.jsonl").unlink()
    (tmp_path / "b.txt").write_text("one")
    (tmp_path / "closed").mkdir()
    listed = os.scandir

    def scandir(path: Any) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(EncodeError, match="closed cannot be read: Permission denied"):
        shards([tmp_path])


# outputs


def test_a_parent_that_is_a_file_is_a_typed_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BenchmarkError, match=r"cannot be written: (Not a directory|File exists)"):
        report(SCORES, tmp_path / "file" / "page.html", title="scores")
    monkeypatch.setenv("LONGSPAN_CACHE", str(tmp_path / "file"))
    with pytest.raises(BenchmarkError, match="cannot be written"):
        remember("model", 512, {"method": "yarn"})
    assert os.listdir(tmp_path) == ["file"]
