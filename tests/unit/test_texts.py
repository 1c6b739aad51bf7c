"""What callers hand over as texts: read by position, or refused; and no vector where there is nothing to read."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan import BlankTextError, EncodeError, encode
from longspan.benchmarks.tasks import Labelled, Retrieval
from longspan.encoding.bench import bench
from longspan.encoding.files.parts import encode_rows
from longspan.encoding.files.rows import Row
from longspan.encoding.run import Encoder
from longspan.encoding.strategy import as_strategy
from longspan.errors import BenchmarkError
from longspan.evaluation.bm25 import BM25
from longspan.evaluation.cache import VectorCache
from longspan.evaluation.mteb_bridge import MtebEncoder
from longspan.evaluation.search import Dense, Hybrid
from longspan.reading import Reading, Window
from longspan.strategies.encoding.truncate import Truncate
from longspan.texts import blank, listed, spans_of
from tests.pipelines import WORDS, pipeline
from tests.tokenizers import fast

TEXTS = [" ".join(WORDS[start : start + 6]) for start in (0, 10, 20)]
SPANS = [[(0, 9), (10, 19)], None, [(5, 14)]]
BLANK = ["", " ", "\n\t\r ", "\u3000\xa0", "\u200b\ufeff", "\x00\x07", "\u2060\xad"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tiny pipeline."""
    return pipeline(tmp_path_factory.mktemp("model"))


def _series(values: list[Any]) -> Any:
    import pandas

    return pandas.Series(values, index=[2, 0, 1], dtype=object)


def _polars(values: list[Any]) -> Any:
    import polars

    return polars.Series(values)


def _arrow(values: list[Any]) -> Any:
    import pyarrow

    return pyarrow.chunked_array([values[:1], values[1:]])


def _column(values: list[Any]) -> Any:
    import datasets

    return datasets.Dataset.from_dict({"text": values})["text"]


HOLDERS: dict[str, Callable[[list[Any]], Any]] = {
    "a tuple": tuple,
    "an iterator": iter,
    "a generator": lambda values: (one for one in values),
    "a dict's values": lambda values: dict(zip("cab", values, strict=True)).values(),
    "a dict's keys": lambda values: dict.fromkeys(values).keys(),
    "a Series with another order in its index": _series,
    "a Series of polars": _polars,
    "an array of Arrow": _arrow,
    "a column of datasets": _column,
    "an array of str": np.array,
    "an array of objects": lambda values: np.array(values, dtype=object),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_texts_are_read_by_position_whatever_holds_them(model: Any, name: str) -> None:
    wanted = encode(model, TEXTS)
    found = encode(model, HOLDERS[name](TEXTS))
    assert np.array_equal(found.vectors, wanted.vectors)
    assert found.given == wanted.given


def _frame() -> Any:
    import pandas

    return pandas.DataFrame({"text": TEXTS})


def _table() -> Any:
    import pyarrow

    return pyarrow.table({"text": TEXTS})


def _dataset() -> Any:
    import datasets

    return datasets.Dataset.from_dict({"text": TEXTS})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (lambda: "one text", "One string was given"),
        (lambda: b"bytes", "A bytes is no list of texts"),
        (lambda: {"a": "one"}, "does not say which of its texts is the first"),
        (lambda: {"one", "two"}, "does not say which of its texts is the first"),
        (lambda: frozenset(TEXTS), "does not say which of its texts is the first"),
        (_frame, "A DataFrame of 3 x 1 is no list of texts"),
        (_table, "A Table of 3 x 1 is no list of texts"),
        (_dataset, "A Dataset of 3 x 1 is no list of texts"),
        (lambda: np.array([TEXTS]), "A ndarray of 1 x 3 is no list of texts"),
        (lambda: np.array("one"), "A ndarray of one value is no list of texts"),
        (lambda: None, "A NoneType is no list of texts"),
        (lambda: 7, "A int is no list of texts"),
        (lambda: str, "A type is no list of texts"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(model: Any, given: Any, told: str) -> None:
    with pytest.raises(EncodeError, match=told):
        encode(model, given())
    with pytest.raises(EncodeError, match=told):
        Encoder(model).encode(given())
    with pytest.raises(EncodeError, match=told):
        bench(model, given())


@pytest.mark.parametrize("bad", [None, float("nan"), 3, b"bytes", ["nested"], np.float64(1), ("a", "b")])
def test_an_item_that_is_no_text_is_named_by_its_place(model: Any, bad: Any) -> None:
    with pytest.raises(EncodeError, match=f"Text 1: It is a {type(bad).__name__}, not a string"):
        encode(model, [TEXTS[0], bad])
    kept = encode(model, [TEXTS[0], bad, np.str_(TEXTS[1])], on_error="keep")
    assert [*kept.errors] == [1]
    assert np.array_equal(kept.vectors, encode(model, TEXTS[:2]).vectors)


def test_what_becomes_of_errors_is_one_of_two(model: Any) -> None:
    with pytest.raises(EncodeError, match="There is no on_error='ignore'"):
        encode(model, ["", TEXTS[0]], on_error="ignore")


def test_the_places_of_all_texts_that_cannot_be_encoded_are_told(model: Any) -> None:
    with pytest.raises(EncodeError, match=r"Text 1: .* \(3 of 4 texts cannot be encoded; the others are 2, 3\)"):
        encode(model, [TEXTS[0], None, "", 3])
    with pytest.raises(BlankTextError, match=r"the others are 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, \.\.\.\)"):
        encode(model, [""] * 30)


@pytest.mark.parametrize("name", sorted(HOLDERS.keys() - {"an array of str", "a dict's keys", "a column of datasets"}))
def test_spans_are_read_by_position_as_well(model: Any, name: str) -> None:
    texts, spans = [TEXTS[0], TEXTS[2]] * 2, [SPANS[0], SPANS[2]] * 2
    wanted = encode(model, texts[:3], "late(chunks='spans')", spans=spans[:3])
    held = [[[*pair] for pair in one] for one in spans[:3]]
    found = encode(model, HOLDERS[name](texts[:3]), "late(chunks='spans')", spans=_held(name, held))
    assert np.array_equal(found.vectors, wanted.vectors)
    assert np.array_equal(found.spans, wanted.spans)


def _held(name: str, spans: list[Any]) -> Any:
    if name == "an array of objects":  # of arrays of two columns, as tables of spans come
        made = np.empty(len(spans), dtype=object)
        made[:] = [np.array(one) for one in spans]
        return made
    return HOLDERS[name](spans)


@pytest.mark.parametrize(
    "bad", [float("nan"), "spans", 3, [3], ["ab"], [(0, 1.5)], [(0, "9")], [(0, 1, 2)], [(False, True)], {"a": (0, 3)}]
)
def test_spans_that_are_none_are_an_error_of_their_text(model: Any, bad: Any) -> None:
    given = [[(0, 9)], bad, [(0, 9)]]
    with pytest.raises(EncodeError, match=r"Text 1: Its spans are a .* something else than pairs of whole numbers"):
        encode(model, TEXTS, "late(chunks='spans')", spans=given)
    kept = encode(model, TEXTS, "late(chunks='spans')", spans=given, on_error="keep")
    assert ([*kept.errors], kept.owner.tolist()) == ([1], [0, 2])


@pytest.mark.parametrize("pairs", [[(0, 9), (0, 9)], [(0, 9), (5, 14)], [(10, 14), (0, 4)], [(4, 5)]])
def test_spans_that_overlap_or_hold_nothing_are_told_of_arrays_too(model: Any, pairs: list[Any]) -> None:
    for held in (pairs, np.array(pairs), tuple(pairs)):
        with pytest.raises(EncodeError, match=r"Text 0: Span \d .* (overlaps the one before|holds no token)"):
            encode(model, TEXTS[:1], "late(chunks='spans')", spans=[held])


def test_spans_are_as_many_as_the_texts() -> None:
    assert spans_of(None, 2) == [None, None]
    assert spans_of(np.array([[[0, 3], [4, 6]], [[0, 1], [2, 9]]]), 2) == [[(0, 3), (4, 6)], [(0, 1), (2, 9)]]
    for bad in (5, np.array(5), "spans", {0: [(0, 3)]}):
        with pytest.raises(EncodeError, match="spans"):
            spans_of(bad, 2)
    with pytest.raises(EncodeError, match="1 lists of spans for 2 texts"):
        spans_of(iter([None]), 2)


@given(text=st.text(max_size=8))
def test_blank_is_what_shows_nothing(text: str) -> None:
    assert blank(text) == (not any(one.isprintable() and not one.isspace() for one in text)) or not text.isascii()
    assert not blank(text + "x")
    assert blank("".join(one for one in text if blank(one)))
    assert listed([text]) == [text]


@pytest.mark.parametrize("text", BLANK)
@pytest.mark.parametrize("prompt", ["", "baba "])
def test_a_blank_text_has_no_vector(model: Any, text: str, prompt: str) -> None:
    for strategy in ("truncate", "chunk_mean", "chunk_max", "late", "long_late(chunks='sentences')", "extend(to=96)"):
        with pytest.raises(BlankTextError, match="Text 1: It"):
            encode(model, [TEXTS[0], text], strategy, prompt=prompt)
        kept = encode(model, [TEXTS[0], text, TEXTS[1]], strategy, prompt=prompt, on_error="keep")
        assert kept.owner.tolist() == [0, 2]
        assert isinstance(kept.errors[1], BlankTextError)
        assert (kept.given[1], kept.used[1], kept.windows[1]) == (0, 0, 0)
        assert np.isneginf(kept.scores(kept.vectors)[:, 1]).all()


def test_a_text_whose_characters_no_vocabulary_has_is_blank_to_the_model(model: Any, monkeypatch: Any) -> None:
    tokenizer = fast("BPE", unknown=False, lower=False, split="metaspace", around="both")
    monkeypatch.setattr(model[0], "processor", tokenizer)
    found = encode(model, ["ba", "\u6771\u4eac", "   "], on_error="keep")
    assert found.owner.tolist() == [0, 1], "the space in front of every word is a token of this vocabulary"
    words = fast("BPE", unknown=False, lower=False, split="words", around="both")
    monkeypatch.setattr(model[0], "processor", words)
    found = encode(model, ["ba", "\u6771\u4eac", "   "], on_error="keep")
    assert found.owner.tolist() == [0]
    assert "None of its 2 characters has a token in this vocabulary" in found.errors[1].fact


def test_a_token_that_is_added_later_is_seen(tmp_path: Path) -> None:
    made = pipeline(tmp_path)
    encoder = Encoder(made)
    before = encoder.encode(["zz zz"])
    made.tokenizer.add_tokens(["zz zz"])
    assert (before.given, encoder.encode(["zz zz"]).given) == ([2], [1])


@pytest.mark.parametrize(
    "reading", [Reading([], []), Reading([Window(0, 0, 0)], [(0, 1)]), Reading([Window(0, 2, 0)], [(1, 1)])]
)
def test_a_strategy_that_reads_nothing_gives_no_vector(model: Any, reading: Reading) -> None:
    class Nothing(Truncate):
        """Reads less than a token."""

        def read(self, text: Any, room: int) -> Reading:
            """What is to be refused."""
            return reading

    with pytest.raises(EncodeError, match="holds no token"):
        encode(model, TEXTS, Nothing())


def test_a_span_that_no_window_keeps_gives_no_vector(model: Any) -> None:
    class Elsewhere(Truncate):
        """Stands for tokens that it does not read."""

        makes = "spans"

        def read(self, text: Any, room: int) -> Reading:
            """The first two tokens, for the next two."""
            return Reading([Window(0, 2, 0)], [(0, 2), (2, 4)])

    with pytest.raises(EncodeError, match=r"No window keeps a token of the span \(2, 4\)"):
        encode(model, TEXTS, Elsewhere(), on_overflow="truncate")


def test_a_blank_row_of_a_file_is_an_error_row(model: Any) -> None:
    rows = [Row(place, str(place), "in.jsonl", place + 1, text) for place, text in enumerate([*TEXTS, *BLANK])]
    part = encode_rows(Encoder(model), rows)
    assert part.owner.tolist() == [0, 1, 2]
    assert [error["row"] for error in part.errors] == [*range(3, 3 + len(BLANK))]
    assert part.errors[0]["error"] == "It is empty."
    assert part.tokens.tolist() == [6, 6, 6, *[0] * len(BLANK)]


def _arm(model: Any, strategy: str = "truncate", path: Path | None = None) -> Dense:
    return Dense(model, as_strategy(strategy), None, {}, VectorCache(path))


@pytest.mark.parametrize("strategy", ["truncate", "chunk_mean", "chunk_max"])
def test_a_blank_document_is_never_found(model: Any, strategy: str, tmp_path: Path) -> None:
    documents = {"a": " \n", "b": TEXTS[0], "c": "", "d": TEXTS[1]}
    asked = Retrieval("own", None, documents, {"q": TEXTS[1]}, {"q": ("d",)})
    for _ in range(2):  # the second time from the file
        arm = _arm(model, strategy, tmp_path / "cache.sqlite")
        outcome = arm.answer(asked, "")
        assert outcome.outputs["q"] == ["d", "b"]
        assert outcome.read.inputs == 4
    assert Hybrid(BM25(), arm).answer(asked, "").outputs["q"][:2] == ["d", "b"]


def test_a_blank_query_or_a_text_without_a_vector_is_told(model: Any) -> None:
    asked = Retrieval("own", None, {"a": TEXTS[0]}, {"q7": "\t"}, {"q7": ("a",)})
    with pytest.raises(BenchmarkError, match="The query 'q7' of own shows nothing that could be read"):
        _arm(model).answer(asked, "")
    with pytest.raises(BenchmarkError, match="The text 't' of own shows nothing that could be read"):
        _arm(model).answer(Labelled("own", None, {"s": TEXTS[0], "t": ""}), "")
    with pytest.raises(EncodeError, match="Text 1: It is a NoneType"):
        _arm(model).answer(Labelled("own", None, {"s": TEXTS[0], "t": None}), "")  # type: ignore[dict-item]


def test_mteb_gets_zeros_for_a_blank_text_and_a_warning(model: Any) -> None:
    encoder = MtebEncoder(model)
    with pytest.warns(UserWarning, match="1 of 3 texts show nothing to read; their vectors are 0"):
        found = encoder.encode([{"text": [TEXTS[0], ""]}, {"text": _series(TEXTS)[:1]}])
    assert not found[1].any()
    assert np.array_equal(found[0], found[2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert encoder.encode([{"text": TEXTS}]).shape == (3, 32)
    with pytest.raises(BenchmarkError, match="One string was given"):
        encoder.encode([{"text": TEXTS[0]}])
