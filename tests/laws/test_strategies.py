"""Laws of every strategy: what it reads, what its vectors stand for, and that neighbours do not matter."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan import EncodeError, encode, registry, spec
from longspan.card import StrategyCard
from longspan.reading import Reading, Text, full_windows

CARDS = registry.strategies()
LOADED = {name: registry.load(name, StrategyCard) for name in CARDS}
CHUNKED = [name for name, kind in LOADED.items() if hasattr(kind, "chunks")]
every_strategy = pytest.mark.parametrize("name", CARDS)
every_chunker = pytest.mark.parametrize("name", CHUNKED)

CLOSE = {"rtol": 0, "atol": 1e-6}
SHORT = ["A cat sat on the mat.", ".", "Rope", "Zürich, naïve café — ¿qué? 東京。", "one two three " * 20]
LONG = " ".join(f"Paragraph {n} tells of river {n * 7 % 31} and of the town beside it." for n in range(42))


def text_of(words: int) -> Text:
    """One token a word."""
    written = " ".join("word." if n % 7 == 6 else "word" for n in range(words))
    return Text(written, words, [match.span() for match in re.finditer(r"\S+", written)], [(0, len(written))])


@every_strategy
def test_a_card_says_what_a_user_chooses_by(name: str) -> None:
    assert CARDS[name].vectors in ("one", "several")
    assert (LOADED[name].makes == "merged") == hasattr(LOADED[name], "merge")


@every_strategy
def test_a_specification_reads_back(name: str) -> None:
    made = LOADED[name]()
    assert spec.parse(repr(made), StrategyCard) == (made,)
    assert spec.parse(spec.short([made]), StrategyCard) == (made,)


@every_strategy
@given(words=st.integers(0, 400), room=st.integers(1, 90))
def test_windows_fit_and_keep_every_token_they_read_once(name: str, words: int, room: int) -> None:
    reading = LOADED[name]().read(text_of(words), room)
    assert reading.windows
    assert all(0 <= window.end - window.start <= room for window in reading.windows)
    kept = [token for window in reading.windows for token in range(window.keep, window.end)]
    assert kept == list(range(reading.used))
    assert all(window.start <= window.keep for window in reading.windows)
    assert reading.used <= words
    assert reading.used == words or LOADED[name].chunked, "what drops tokens names the strategy that does not"
    if words >= room:
        assert all(window.end - window.start == room for window in reading.windows), "a window is not full"
    if words <= room:
        assert len(reading.windows) == 1


@every_strategy
@given(words=st.integers(0, 400), room=st.integers(1, 90))
def test_vectors_stand_for_all_that_is_read(name: str, words: int, room: int) -> None:
    reading = LOADED[name]().read(text_of(words), room)
    covered = {token for start, end in reading.spans for token in range(start, end)}
    assert covered == set(range(reading.used))
    assert len(reading.spans) == 1 or CARDS[name].vectors == "several"
    assert reading.spans == sorted(reading.spans)


@every_strategy
def test_a_strategy_that_reads_the_rest_takes_the_same_fields(name: str) -> None:
    from longspan.encoding.strategy import chunked

    if (made := LOADED[name]()).chunked:
        other = chunked(made)
        assert other.read(text_of(400), 20).used == 400
        assert other.top == made.top


@pytest.mark.parametrize(("name", "field"), [(name, f.name) for name, kind in LOADED.items() for f in fields(kind)])
def test_numbers_out_of_range_are_refused(name: str, field: str) -> None:
    if field in ("window", "to", "top", "size", "limit"):
        for wrong in (0, -3):
            with pytest.raises(EncodeError):
                LOADED[name](**{field: wrong})


@every_strategy
def test_neighbours_and_batches_do_not_change_a_vector(name: str, minilm) -> None:
    options: dict[str, Any] = {"on_overflow": "truncate"}
    together = encode(minilm, [*SHORT, LONG], name, **options)
    for batch_tokens in (1, 600):
        other = encode(minilm, [*SHORT, LONG], name, batch_tokens=batch_tokens, **options)
        np.testing.assert_allclose(other.vectors, together.vectors, **CLOSE)
    for place, text in enumerate([*SHORT, LONG]):
        alone = encode(minilm, [text], name, **options)
        np.testing.assert_allclose(together.vectors[together.owner == place], alone.vectors, **CLOSE)
        assert np.array_equal(together.spans[together.owner == place], alone.spans)
        assert together.used[place] == alone.used[0]


@every_strategy
def test_a_short_text_has_the_vector_of_sentence_transformers(name: str, minilm) -> None:
    ours = encode(minilm, SHORT, name)
    assert ours.owner.tolist() == list(range(len(SHORT))), "a text that fits a window has one vector"
    np.testing.assert_allclose(ours.vectors, minilm.encode(SHORT), **CLOSE)


@every_strategy
def test_texts_that_are_too_long_can_be_read_whole_instead(name: str, minilm) -> None:
    cut = encode(minilm, [SHORT[0], LONG, "Rope"], name, on_overflow="truncate")
    for policy in ("chunk", "extend"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            whole = encode(minilm, [SHORT[0], LONG, "Rope"], name, on_overflow=policy)
        assert whole.used == whole.given == cut.given
        assert whole.owner.tolist() == sorted(whole.owner.tolist())
        for place in (0, 2):
            np.testing.assert_allclose(whole.vectors[whole.owner == place], cut.vectors[cut.owner == place], **CLOSE)
    assert minilm.max_seq_length == 256


@every_chunker
@pytest.mark.parametrize("chunks", ["tokens", "sentences", "headings"])
def test_a_chunk_is_the_mean_of_its_tokens_states(name: str, chunks: str, minilm) -> None:
    import torch

    text = "# One\n" + LONG[:700] + "\n## Two\nMore of it. And more.\n"
    found = encode(minilm, [text], f"{name}(chunks={chunks!r})", on_overflow="error")
    batch = minilm.tokenizer(text, return_tensors="pt", return_offsets_mapping=True)
    offsets = batch.pop("offset_mapping")[0].tolist()
    with torch.no_grad():
        states = minilm[0].auto_model(**batch).last_hidden_state[0]
    assert len(found.spans) > 1
    starts = [offsets.index(next(o for o in offsets if o[0] == start and o[1] > 0)) for start, _ in found.spans]
    bounds = [0, *starts[1:], len(offsets)]
    for place, (first, last) in enumerate(pairwise(bounds)):
        wanted = states[first:last].mean(0)
        np.testing.assert_allclose(found.vectors[place], (wanted / wanted.norm()).numpy(), rtol=0, atol=2e-6)


@every_chunker
def test_chunks_say_which_characters_they_stand_for(name: str, minilm) -> None:
    text = "# First\nOne sentence. Another one!\n\n```\n# no heading\n```\n## Second\nThe end.\n"
    found = encode(minilm, [text], f"{name}(chunks='headings')")
    assert [text[start:end] for start, end in found.spans] == [
        "# First\nOne sentence. Another one!\n\n```\n# no heading\n```",
        "## Second\nThe end.",
    ]
    found = encode(minilm, [text], f"{name}(chunks='sentences', size=1)")
    assert "Another one!" in [text[start:end] for start, end in found.spans]
    capped = encode(minilm, [text], f"{name}(chunks='headings', size=4)")
    assert len(capped.spans) > 2


@every_chunker
def test_spans_of_the_caller_come_back_as_they_were_given(name: str, minilm) -> None:
    text = "The river rose. The town was flooded. Nobody had been warned."
    spans = [(0, 15), (16, 37), (38, len(text))]
    found = encode(minilm, [text, "Rope"], f"{name}(chunks='spans')", spans=[spans, [(0, 4)]])
    assert found.spans[:3].tolist() == [list(span) for span in spans]
    assert found.owner.tolist() == [0, 0, 0, 1]
    np.testing.assert_allclose(found.vectors[3], minilm.encode("Rope"), **CLOSE)


@every_chunker
@pytest.mark.parametrize(
    ("spans", "fact"),
    [
        ([(0, 500)], "out of range in a text of 30 characters"),
        ([(-1, 5)], "out of range"),
        ([(5, 5)], "out of range"),
        ([(0, 10), (8, 20)], r"overlaps the one before it, which ends at 10"),
        ([(10, 20), (0, 9)], "overlaps"),
        ([(10, 11)], "holds no token"),
        ([], "empty"),
        (None, "need the spans"),
    ],
)
def test_spans_that_cannot_be_are_the_error_of_their_text(name: str, spans: Any, fact: str, minilm) -> None:
    texts = ["fine", "0123456789 abc def, ghi; jklmn.", "fine too"]
    texts[1] = texts[1][:30]
    given = [[(0, 4)], spans, [(0, 8)]]
    kept = encode(minilm, texts, f"{name}(chunks='spans')", spans=given, on_error="keep")
    assert list(kept.errors) == [1]
    assert re.search(fact, kept.errors[1].fact)
    assert kept.owner.tolist() == [0, 2]
    np.testing.assert_allclose(kept.vectors, minilm.encode([texts[0], texts[2]]), **CLOSE)
    with pytest.raises(EncodeError, match="Text 1: "):
        encode(minilm, texts, f"{name}(chunks='spans')", spans=given)


def test_a_span_behind_what_is_read_is_told(minilm) -> None:
    with pytest.raises(EncodeError, match="beyond the 254 tokens that are read"):
        encode(minilm, [LONG], "late(chunks='spans')", spans=[[(0, 20), (2300, 2350)]])
    found = encode(minilm, [LONG], "long_late(chunks='spans')", spans=[[(0, 20), (2300, 2350)]])
    assert found.used == found.given
    assert len(found.vectors) == 2


@pytest.mark.parametrize("chunks", ["tokens", "sentences", "headings"])
def test_what_has_no_effect_is_refused(chunks: str) -> None:
    with pytest.raises(EncodeError, match="no effect on the spans"):
        LOADED["late"](chunks="spans", size=3)
    LOADED["late"](chunks=chunks, size=3)


def test_a_strategy_of_ones_own_needs_no_registration(minilm) -> None:
    @dataclass(frozen=True)
    class FirstAndLast:
        """The first and the last window."""

        window: int | None = 64
        top: int = 1
        reads: ClassVar[str] = "native"
        makes: ClassVar[str] = "windows"
        chunked: ClassVar[str] = ""

        def read(self, text: Text, room: int) -> Reading:
            windows = full_windows(text.tokens, room)
            kept = [windows[0], windows[-1]] if len(windows) > 1 else windows
            return Reading(kept, [(window.start, window.end) for window in kept])

    found = encode(minilm, [LONG, "Rope"], FirstAndLast())
    whole = encode(minilm, [LONG, "Rope"], "chunk_max(window=64)")
    np.testing.assert_allclose(found.vectors, whole.vectors[[0, -2, -1]], **CLOSE)
