"""Rows of files: what is read, what is refused, and that cutting into shards changes nothing."""

from __future__ import annotations

import gzip
import json
import os
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longspan.encoding.files.pieces import Limits
from longspan.encoding.files.rows import Columns, Row, from_line
from longspan.encoding.files.shards import Reader, Shard, files, shards
from longspan.errors import EncodeError

anywhere = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
limits = st.builds(Limits, st.integers(1, 5), st.integers(1, 60))


def rows_of(*paths: Path | str, limits: Limits | None = None, columns: Columns | None = None) -> list[Row]:
    return [row for shard in shards(paths, columns, limits) for row in shard.rows()]


def told(rows: list[Row]) -> list[tuple]:
    return [(r.place, r.id, r.line, r.text, r.spans, str(r.error)) for r in rows]


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


FINE = [
    (b'{"text": "a"}', ("0", "a", None)),
    (b'{"text": "", "id": "x"}', ("x", "", None)),
    (b'{"text": "nul \\u0000 \\u0007", "id": 7}', ("7", "nul \x00 \x07", None)),
    (b'{"text": "ab", "id": null, "spans": [[0, 1], [1, 2]]}', ("0", "ab", [(0, 1), (1, 2)])),
    (b'{"text": "\\ud83d\\ude00", "spans": []}', ("0", "\U0001f600", [])),
    (b'{"text": "a", "id": 1.5, "spans": null, "other": NaN}\r', ("1.5", "a", None)),
]


@pytest.mark.parametrize(("line", "expected"), FINE)
def test_a_fine_line(line: bytes, expected: tuple) -> None:
    row = from_line(line, 0, "f.jsonl", 1, Columns())
    assert row.error is None
    assert (row.id, row.text, row.spans) == expected


BAD = [
    (b'{"text": "\xff"}', "is not UTF-8"),
    (b'{"text": "a"', "not JSON"),
    (b"[" * 100_000, "not JSON"),
    (b"1" * 5000, "not JSON"),
    (b'["a"]', "a JSON list, not an object"),
    (b"null", "a JSON null, not an object"),
    (b'{"body": "a"}', "no field 'text'"),
    (b'{"text": null}', "'text' is a null"),
    (b'{"text": 3}', "'text' is a number"),
    (b'{"text": "\\ud800"}', "half of a surrogate pair"),
    (b'{"text": "a", "id": ["x"]}', "its id is a list"),
    (b'{"text": "a", "id": true}', "its id is a bool"),
    (b'{"text": "a", "id": "\\udfff"}', "its id holds half"),
    (b'{"text": "abc", "spans": 3}', "not a list of"),
    (b'{"text": "abc", "spans": [[0, 1, 2]]}', "not a list of"),
    (b'{"text": "abc", "spans": [[0, 1.0]]}', "not a list of"),
    (b'{"text": "abc", "spans": [[0, true]]}', "not a list of"),
    (b'{"text": "abc", "spans": ["ab"]}', "not a list of"),
    (b'{"text": "abc", "spans": [[2, 1]]}', "[2, 1] is not within the 3"),
    (b'{"text": "abc", "spans": [[0, 4]]}', "[0, 4] is not within the 3"),
    (b'{"text": "abc", "spans": [[-1, 2]]}', "[-1, 2] is not within the 3"),
]


@pytest.mark.parametrize(("line", "fact"), BAD)
def test_a_bad_line_is_an_error_that_names_file_and_line_and_what_works(line: bytes, fact: str) -> None:
    row = from_line(line, 5, "f.jsonl", 9, Columns())
    assert row.text is None
    assert row.error
    assert row.error.fact.startswith("f.jsonl, line 9: ")
    assert fact in row.error.fact
    assert row.error.hint
    assert row.place == 5


@given(st.binary() | st.recursive(st.none() | st.text() | st.floats(), st.lists).map(lambda x: json.dumps(x).encode()))
def test_whatever_a_line_holds_it_is_a_row_or_a_typed_error(line: bytes) -> None:
    row = from_line(line, 0, "f", 1, Columns())
    assert (row.text is None) == isinstance(row.error, EncodeError)


_values = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.lists(st.integers(0, 9)), max_size=3)


@given(st.dictionaries(st.sampled_from(["text", "id", "spans", "x"]), _values))
def test_whatever_an_object_holds_it_is_a_row_or_a_typed_error(fields: dict) -> None:
    row = from_line(json.dumps(fields).encode(), 0, "f", 1, Columns())
    assert (row.text is None) == isinstance(row.error, EncodeError)
    row.id.encode()


@anywhere
@given(
    data=st.lists(st.sampled_from([b'{"text": "one"}', b"", b"  ", b"\xff", b"\xef\xbb\xbf{}", b"{}\r"]) | st.binary()),
    limits=limits,
    name=st.sampled_from(["a.jsonl", "a.jsonl.gz"]),
)
def test_shards_of_any_size_give_the_rows_of_the_file(tmp_path: Path, data: list, limits: Limits, name: str) -> None:
    path = written(tmp_path / name, b"\n".join(data))
    lines = enumerate(b"\n".join(data).removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1)
    kept = [(number, line) for number, line in lines if line.strip()]
    expected = [from_line(line, place, str(path), number, Columns()) for place, (number, line) in enumerate(kept)]
    assert told(rows_of(path, limits=limits)) == told(expected)
    made = shards([path], None, limits)
    assert all(shard.count <= limits.rows for shard in made)
    assert all(shard.size <= limits.size or shard.count == 1 or b"\n\n" in b"\n".join(data) for shard in made)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.parquet"])
def test_any_process_opens_a_shard_by_itself_in_any_order(tmp_path: Path, name: str) -> None:
    texts = [f"text {i} " * i for i in range(50)]
    path = tmp_path / name
    if name == "a.parquet":
        pq.write_table(pa.table({"text": texts}), path, row_group_size=20)
    else:
        written(path, b"\n".join(json.dumps({"text": text}).encode() for text in texts))
    made = [pickle.loads(pickle.dumps(shard)) for shard in shards([path], None, Limits(7, 2000))]
    assert len(made) > 5
    assert [Shard.from_json(shard.to_json()) for shard in made] == made
    assert [row.text for shard in made for row in shard.rows()] == texts
    with Reader() as reader:
        backwards = {shard.index: shard.rows(reader) for shard in reversed(made)}
    with Reader() as reader:
        every_other = {shard.index: shard.rows(reader) for shard in made[::2]}
    for shard in made:
        assert told(backwards[shard.index]) == told(shard.rows())
        assert told(every_other.get(shard.index, shard.rows())) == told(shard.rows())


def test_documents_and_folders(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / ".git").mkdir()
    written(tmp_path / "b" / "two.md", "# Zwei\r\n\u00e4".encode())
    written(tmp_path / "a.txt", b"\xef\xbb\xbfone\n")
    written(tmp_path / "c.txt", b"fine\nbad \xff")
    written(tmp_path / "d.jsonl", b'{"text": "three", "id": "d"}\n')
    for ignored in ("image.png", ".hidden.txt", ".git/x.txt", "out.parquet", "out.parquet.errors.jsonl"):
        written(tmp_path / ignored, b"")
    made = shards([tmp_path], without=[tmp_path / "out.parquet", tmp_path / "out.parquet.errors.jsonl"])
    assert len(made) == 1
    rows = made[0].rows()
    names = [str(tmp_path / name) for name in ("a.txt", "b/two.md", "c.txt")]
    assert [row.id for row in rows] == [*names, "d"]
    assert [row.place for row in rows] == [0, 1, 2, 3]
    assert [row.text for row in rows] == ["one\n", "# Zwei\r\n\u00e4", None, "three"]
    assert str(rows[2].error).startswith(f"{names[2]}, line 2: byte 9 (0xff) is not UTF-8.")


def test_a_large_document_and_very_many_short_lines(tmp_path: Path) -> None:
    document = written(tmp_path / "large.txt", b"word " * 10**6)
    lines = written(tmp_path / "lines.txt", b"a\n" * 100_000)
    line = written(tmp_path / "line.jsonl", json.dumps({"text": "word " * 10**6}).encode() + b"\n" + b'{"text": "b"}\n')
    many = written(tmp_path / "many.jsonl", b'{"text": "a"}\n' * 100_000)
    assert [len(row.text or "") for row in rows_of(document, lines, line)] == [5_000_000, 200_000, 5_000_000, 1]
    assert sum(shard.count for shard in shards([many])) == 100_000
    assert len(shards([many])) == 391


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    assert rows_of(written(tmp_path / "a.jsonl", b"")) == []
    assert rows_of(written(tmp_path / "b.jsonl.gz", b"")) == []
    assert [row.text for row in rows_of(written(tmp_path / "c.txt", b""))] == [""]
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "d.parquet")
    assert rows_of(tmp_path / "d.parquet") == []


def test_parquet_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    cells = {
        "body": pa.array(["one", None, "three", ""]).dictionary_encode(),
        "key": [1, 1, None, 4],
        "spans": [[[0, 3]], None, [[0, 9]], []],
        "other": [0.0] * 4,
    }
    pq.write_table(pa.table(cells), path, row_group_size=3)
    rows = rows_of(path, columns=Columns("body", "key"), limits=Limits(2))
    assert [(r.id, r.line, r.text) for r in rows] == [("1", 1, "one"), ("1", 2, None), ("2", 3, None), ("4", 4, "")]
    assert [row.spans for row in rows] == [[(0, 3)], None, None, []]
    assert "line 2: 'body' is a null" in str(rows[1].error)
    assert "[0, 9] is not within the 5" in str(rows[2].error)


def test_a_parquet_cell_that_is_not_utf8_harms_no_other(tmp_path: Path) -> None:
    bad = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xff")]
    )
    pq.write_table(pa.table({"text": bad}), tmp_path / "a.parquet")
    rows = rows_of(tmp_path / "a.parquet")
    assert rows[0].text == "a"
    assert "not UTF-8" in str(rows[1].error)


@pytest.mark.parametrize(
    ("name", "data", "columns", "fact"),
    [
        ("a.csv", b"", Columns(), "of no kind"),
        ("a.jsonl.gz", b"no gzip", Columns(), "damaged"),
        ("a.jsonl.gz", gzip.compress(b"{}" * 999, mtime=0)[:-9], Columns(), "damaged or cut short"),
        ("a.parquet", b"PAR1", Columns(), "cannot be read as Parquet"),
        ("b.parquet", {"other": ["a"]}, Columns(), "no column 'text'"),
        ("b.parquet", {"text": ["a"]}, Columns(id="key"), "no column 'key'"),
        ("b.parquet", {"text": [1]}, Columns(), "holds int64, not string"),
        ("b.parquet", {"text": [["a"]]}, Columns(), "not string"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_typed_error(tmp_path: Path, name, data, columns, fact) -> None:
    if isinstance(data, dict):
        pq.write_table(pa.table(data), tmp_path / name)
    else:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(EncodeError, match=fact) as raised:
        shards([tmp_path / name], columns)
    assert raised.value.hint


def test_no_files_a_missing_one_and_an_empty_folder_are_typed_errors(tmp_path: Path) -> None:
    wrong = (([], "No list"), ("a.jsonl", "No list"), ([tmp_path / "x.txt"], "no file"), ([tmp_path], "holds no"))
    for paths, fact in wrong:
        with pytest.raises(EncodeError, match=fact):
            files(paths)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.txt", "a.parquet"])
def test_a_file_that_changes_after_the_scan_is_noticed(tmp_path: Path, name: str) -> None:
    path = tmp_path / name

    def write(text: str) -> None:
        if name == "a.parquet":
            pq.write_table(pa.table({"text": [text] * 3}), path)
        else:
            written(path, json.dumps({"text": text}).encode())

    write("before")
    made = shards([path])
    write("behind")
    with pytest.raises(EncodeError, match="changed while it was being encoded"):
        made[0].rows()
    path.unlink()
    with pytest.raises(EncodeError, match="no file"):
        made[0].rows()


def test_parquet_that_was_edited_is_another_input_whatever_its_date(tmp_path: Path) -> None:
    path, found = tmp_path / "a.parquet", []
    for text in ("one", "two", "one"):
        table = pa.table({"text": [text, "same"], "other": [text] * 2})
        pq.write_table(table, path, compression="none", write_statistics=False, use_dictionary=False)
        os.utime(path, ns=(1, 1))
        found.append((path.stat().st_size, shards([path])[0].pieces[0].digest))
    assert found[0][0] == found[1][0]
    assert found[0] == found[2] != found[1]
