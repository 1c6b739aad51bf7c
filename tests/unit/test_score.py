"""Scores: the record, its append-only file, pooling and tables."""

import json
import math
import multiprocessing
import tempfile
import threading
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longspan.benchmarks.files import append_lines, read_lines
from longspan.errors import BenchmarkError
from longspan.evaluation import cells
from longspan.evaluation.cells import as_it_is
from longspan.evaluation.score import append, latest, markdown, read, table
from tests.scores import TRUNCATE

ONE = replace(TRUNCATE, length=1024, value=0.48, seconds=1.5, date="2025-11-22T10:00:00+00:00")
EXTENDED = replace(ONE, strategy="extend", plan="interpolate", window=4096, value=0.9, stderr=0.04)


def test_labels_name_the_method_and_what_it_reads():
    assert ONE.label == "truncate 512"
    assert replace(ONE, strategy="chunk_mean").label == "chunk_mean 512"
    assert EXTENDED.label == "interpolate -> 4096"
    assert replace(EXTENDED, strategy="late(size=64)").label == "late(size=64) 4096 in interpolate"
    assert replace(ONE, engine="onnx int8").label == "truncate 512, onnx int8"
    assert replace(ONE, strategy="bm25", engine="bm25s", window=0).label == "bm25"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("value", math.nan),
        ("value", math.inf),
        ("value", 10**400),
        ("value", "0.5"),
        ("value", True),
        ("stderr", -0.1),
        ("n", 0),
        ("n", 1.0),
        ("length", 0),
        ("length", 1.5),
        ("window", -1),
        ("depth", 1.1),
        ("strategy", ""),
        ("engine", "two\nlines"),
        ("model", None),
        ("model", "two\nlines"),
        ("versions", {"torch": 2}),
        ("versions", []),
    ],
)
def test_what_is_not_a_score_is_refused(field, value):
    with pytest.raises(BenchmarkError, match=field) as caught:
        replace(ONE, **{field: value})
    assert caught.value.hint


def test_scores_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "new" / "folder" / "scores.jsonl"
    scores = [ONE, EXTENDED, replace(ONE, length=None, depth=0.5, value=1, plan="é → x")]
    append(path, scores[:1])
    before = path.read_bytes()
    append(path, scores[1:])
    append(path, [])
    assert path.read_bytes().startswith(before)
    assert read(path) == scores


def test_whoever_adds_to_a_file_at_the_same_time_waits(tmp_path):
    path, pad = tmp_path / "rows.jsonl", [0.123456789] * 4000
    path.write_bytes(b'{"ok": 1}\n{"half":')

    def add(worker, times=12):
        for number in range(times):
            append_lines(path, [{"worker": worker, "number": number, "pad": pad}] * 2)

    others = [multiprocessing.get_context("fork").Process(target=add, args=(worker,)) for worker in range(2)]
    others += [threading.Thread(target=add, args=(worker,)) for worker in range(2, 5)]
    for one in others:
        one.start()
    for one in others:
        one.join()
    rows = [row for _, row in read_lines(path)][1:]
    assert [row["number"] for row in rows[::2]] == [row["number"] for row in rows[1::2]]
    assert sorted((row["worker"], row["number"]) for row in rows[::2]) == [(w, n) for w in range(5) for n in range(12)]
    assert path.with_name("rows.jsonl.torn").read_bytes() == b'{"half":\n'


def test_of_a_write_that_fails_nothing_stays(tmp_path, monkeypatch):
    path = tmp_path / "scores.jsonl"
    append(path, [ONE])
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BenchmarkError, match="No space left on device"):
        append(path, [EXTENDED])
    assert path.read_bytes() == before


def test_a_torn_line_costs_itself_only(tmp_path):
    path = tmp_path / "scores.jsonl"
    append(path, [ONE])
    whole = path.read_bytes()
    for cut in (1, len(whole) // 2, len(whole) - 2):
        path.write_bytes(whole + whole[:cut])
        with pytest.warns(UserWarning, match=r"scores.jsonl, line 2: .* cut it short"):
            assert read(path) == [ONE]
        append(path, [EXTENDED])
        assert read(path) == [ONE, EXTENDED]
        assert (tmp_path / "scores.jsonl.torn").read_bytes().endswith(whole[:cut] + b"\n")
    path.write_bytes(whole + whole[:-1])  # all of a line but its end
    append(path, [EXTENDED])
    assert read(path) == [ONE, ONE, EXTENDED]
    path.write_bytes(whole[:9] + b"\n" + whole)
    with pytest.raises(BenchmarkError, match=r"scores.jsonl, line 1: not JSON"):
        read(path)


def test_what_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchmarkError, match="cannot be written"):
        append(tmp_path / "file" / "scores.jsonl", [ONE])


def test_models_of_one_name_are_told_apart_by_what_they_are():
    older, newer = (replace(ONE, identity=letter * 64, value=value) for letter, value in (("a", 0.25), ("b", 0.75)))
    assert latest([older, newer, replace(newer, value=1.0)]) == [older, replace(newer, value=1.0)]
    found = {row.label: row.cells[1024].value for row in table([older, newer], metric="acc_at_1")}
    assert sorted(found.values()) == [0.25, 0.75]
    assert all(f"{letter * 8}: " in label for letter, label in zip("ab", found, strict=True))
    rows = table(
        [*(replace(one, strategy="extend", plan="tile") for one in (older, newer)), older, newer], metric="acc_at_1"
    )
    assert as_it_is(rows[1], rows).version == rows[1].version != rows[0].version


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"extra": 1}, "extra"),
        ({"seed": None}, "seed"),
        ({"value": "high"}, "value"),
        ({"n": 0}, "n=0"),
    ],
)
def test_a_bad_line_is_named(tmp_path, change, word):
    path = tmp_path / "scores.jsonl"
    append(path, [ONE])
    with path.open("a") as file:
        file.write(json.dumps(asdict(ONE) | change) + "\n")
    with pytest.raises(BenchmarkError, match=rf"line 2: .*{word}"):
        read(path)


def test_a_missing_field_and_a_missing_file_are_named(tmp_path):
    path = tmp_path / "scores.jsonl"
    path.write_text(json.dumps({key: value for key, value in asdict(ONE).items() if key != "commit"}))
    with pytest.raises(BenchmarkError, match="line 1: lacks or misspells commit"):
        read(path)
    with pytest.raises(BenchmarkError, match=r"none\.jsonl"):
        read(tmp_path / "none.jsonl")


values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.just({}), st.just([1]))
changed = st.dictionaries(st.sampled_from([*asdict(ONE), "extra"]), values, max_size=3)
lines = st.one_of(st.binary(max_size=60), st.builds(lambda new: json.dumps(asdict(ONE) | new).encode(), changed))


@pytest.mark.filterwarnings("ignore:.*cut it short")
@settings(max_examples=100, deadline=None)
@given(st.lists(lines, max_size=3).map(b"\n".join))
def test_any_bytes_are_scores_or_a_typed_error(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores.jsonl"
        path.write_bytes(content)
        with suppress(BenchmarkError):
            scores = read(path)
            again = Path(folder) / "again.jsonl"
            append(again, scores)
            assert read(again) == scores
            cells = [cell for row in table(scores, metric="acc_at_1") for cell in row.cells.values()]
            assert all(math.isfinite(cell.value + cell.stderr) for cell in cells)
            markdown(scores)


def test_a_table_is_a_pivot_over_length_in_the_order_first_seen():
    scores = [
        replace(EXTENDED, length=4096),
        replace(ONE, length=4096, value=0.1),
        replace(ONE, length=512, value=1.0),
        replace(EXTENDED, length=512),
        replace(ONE, benchmark="needle", task="needle()"),
        replace(ONE, metric="ndcg_at_10"),
    ]
    rows = table(scores, metric="acc_at_1")
    assert [(row.benchmark, row.label) for row in rows] == [
        ("passkey", "interpolate -> 4096"),
        ("passkey", "truncate 512"),
        ("needle", "truncate 512"),
    ]
    assert {length: cell.value for length, cell in rows[1].cells.items()} == {512: 1.0, 4096: 0.1}
    assert list(rows[0].cells) == [512, 4096]


def test_a_repeated_measurement_replaces_the_earlier_one():
    (row,) = table([ONE, replace(ONE, value=0.6, date="later", commit="later")], metric="acc_at_1")
    assert (row.cells[1024].value, row.cells[1024].n) == (0.6, 50)


def test_seeds_are_pooled_by_their_number_of_examples():
    scores = [replace(ONE, value=0.4, stderr=0.03, n=100), replace(ONE, value=0.7, stderr=0.08, n=50, seed=1)]
    (row,) = table(scores, metric="acc_at_1")
    cell = row.cells[1024]
    assert cell.value == pytest.approx(0.5)
    assert cell.stderr == pytest.approx(math.sqrt(3**2 + 4**2) / 150)
    assert (cell.n, cell.seconds) == (150, 1.5)


def test_depths_are_pooled_unless_there_is_a_score_over_all_of_them():
    deep = [replace(ONE, depth=depth, value=value, n=10) for depth, value in ((0.25, 1.0), (0.75, 0.5))]
    assert table(deep, metric="acc_at_1")[0].cells[1024].value == 0.75
    assert table([*deep, ONE], metric="acc_at_1")[0].cells[1024].value == 0.48


def test_one_example_has_no_error() -> None:
    (row,) = table([replace(ONE, n=1, stderr=0.0, values=())], metric="acc_at_1")
    assert row.cells[1024].text("acc_at_1") == "0.48"


def test_models_and_revisions_are_named_where_there_are_several():
    other, newer = replace(ONE, model="org/other"), replace(ONE, revision="def")
    assert [row.label for row in table([ONE, other], metric="acc_at_1")] == [
        "model: truncate 512",
        "other: truncate 512",
    ]
    theirs = replace(ONE, model="their/model")
    assert [row.label for row in table([ONE, theirs], metric="acc_at_1")] == [
        "org/model: truncate 512",
        "their/model: truncate 512",
    ]
    assert [row.label for row in table([ONE, newer], metric="acc_at_1")] == [
        "model@abc: truncate 512",
        "model@def: truncate 512",
    ]


def test_markdown_shows_error_and_count_and_leaves_no_cell_out():
    scores = [
        ONE,
        replace(EXTENDED, length=512, plan="a|b"),
        replace(ONE, length=None, benchmark="tales", task="tales"),
    ]
    text = markdown(scores)
    lines = text.splitlines()
    assert lines[0] == "### passkey, acc_at_1"
    assert lines[2].split() == ["|", "method", "|", "512", "|", "1024", "|", "effective", "window", "|"]
    assert lines[4].replace(" ", "") == "|truncate512|-|0.48±0.07|-|"
    assert lines[5].replace(" ", "") == "|a\\|b->4096|0.90±0.04|-|-|"
    assert any(line.startswith("passkey(documents=100, queries=50, depths=5); n = 50; effective") for line in lines)
    assert "tales; n = 50." in lines
    assert "whole" in text


def test_cosines_are_shown_fine_enough_to_differ():
    text = markdown([replace(ONE, metric="cosine", value=0.99962, stderr=0.0002)])
    assert "0.9996 ±0.0002" in text


def test_the_effective_window_keeps_a_share_of_the_shortest_lengths_score():
    scores = [replace(ONE, length=n, value=v) for n, v in ((512, 1.0), (1024, 0.9), (2048, 0.5), (4096, 0.95))]
    scores += [replace(EXTENDED, length=n, value=0.4) for n in (512, 1024, 2048, 4096)]
    assert [line.split("|")[-2].strip() for line in markdown(scores).splitlines()[4:6]] == ["1024", "≥ 4096"]
    assert markdown(scores, threshold=0.95).splitlines()[4].split("|")[-2].strip() == "512"
    assert "keeps 95 % of" in markdown(scores, threshold=0.95)


def test_lower_is_better_is_marked_and_nll_is_told_as_perplexity():
    facts = {"benchmark": "perplexity", "task": "Perplexity(passages=8)"}
    nll = [replace(ONE, **facts, metric="nll", length=n, value=v) for n, v in ((512, 2.0), (1024, 2.1), (2048, 3.0))]
    text = markdown([*nll, replace(ONE, **facts, metric="likelihood")])
    assert "### perplexity, nll (lower is better)" in text
    assert "### perplexity, likelihood\n" in text
    assert "2.00 ±0.07 (ppl 7.39)" in text
    assert text.splitlines()[4].split("|")[-2].strip() == "1024"  # perplexity 8.17 is within 7.39 / 0.85


def test_no_effective_window_is_told_where_less_is_better_and_no_share_says_enough(monkeypatch):
    monkeypatch.setattr(cells, "is_lower", lambda benchmark, task, metric: True)
    text = markdown([replace(ONE, metric="mean_cosine", length=n) for n in (64, 512)])
    assert text.splitlines()[4].split("|")[-2].strip() == "-"


def test_keyword_search_is_named_without_a_model():
    keywords = replace(ONE, model="bm25", revision="0.3", engine="bm25s", strategy="bm25", window=0)
    assert [row.label for row in table([keywords, ONE], metric="acc_at_1")] == ["bm25", "truncate 512"]
    older = replace(keywords, revision="0.2")
    labels = [row.label for row in table([keywords, older, ONE], metric="acc_at_1")]
    assert labels == ["bm25@0.3: bm25", "bm25@0.2: bm25", "truncate 512"]
    kinds = [row.kind for row in table([keywords, ONE, replace(ONE, strategy="chunk_max")], metric="acc_at_1")]
    assert kinds == ["keywords", "one", "several"]
    assert table([replace(EXTENDED, strategy="bm25 + extend")], metric="acc_at_1")[0].kind == "hybrid"


def test_values_of_seeds_make_one_interval_and_are_compared_on_the_same_examples():
    values = (1.0, 0.0, 1.0, 1.0)
    first = replace(ONE, values=values, n=4, value=0.75, data="a")
    second = replace(first, seed=1, values=(0.0,) * 4, value=0.0, data="b")
    (row,) = table([first, second], metric="acc_at_1")
    cell = row.cells[1024]
    assert cell.interval.n == 8
    assert cell.interval.mean == pytest.approx(cell.value) == pytest.approx(0.375)
    assert cell.bounds == (cell.interval.low, cell.interval.high)
    (other,) = table([replace(first, values=(0.0,) * 4, value=0.0)], metric="acc_at_1")
    gain = cell.against(other.cells[1024])
    assert (gain.mean, gain.n) == (0.75, 4)  # of the seed that both have
    (unknown,) = table([replace(first, data="")], metric="acc_at_1")
    assert unknown.cells[1024].against(unknown.cells[1024]) is None
    (partly,) = table([first, replace(second, values=())], metric="acc_at_1")
    assert partly.cells[1024].interval is None
    assert partly.cells[1024].bounds == (cell.value - cell.stderr, cell.value + cell.stderr)


def test_speed_counts_the_tokens_of_all_texts():
    (row,) = table([replace(ONE, inputs=30, tokens=1000.0, seconds=1.5)], metric="acc_at_1")
    assert row.cells[1024].tokens_per_second == 20_000
    assert table([ONE], metric="acc_at_1")[0].cells[1024].tokens_per_second is None
