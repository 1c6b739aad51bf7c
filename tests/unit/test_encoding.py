"""encode, with the real all-MiniLM-L6-v2: the same vectors as sentence-transformers, whatever the batch."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longspan import EncodeError, encode, extended
from longspan.encoding.windows import ChunkMean, Truncate
from tests.models import build

SHORT = [
    "A cat sat on the mat.",
    "",
    "Rope",
    "The committee will publish its report on the flood defences of the lower valley in the autumn.",
    "Zürich, naïve café — ¿qué?",
    "one two three " * 20,
]
LONG = " ".join(f"Paragraph {n} tells of river {n * 7 % 31} and of the town beside it." for n in range(42))
CLOSE = {"rtol": 0, "atol": 1e-6}


def _tokens(model, text: str) -> int:
    return len(model.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def test_short_texts_get_the_vectors_of_sentence_transformers(minilm) -> None:
    ours = encode(minilm, SHORT)
    np.testing.assert_allclose(ours.vectors, minilm.encode(SHORT), **CLOSE)
    assert ours.vectors.dtype == np.float32
    assert ours.given == ours.used == [_tokens(minilm, text) for text in SHORT]
    assert ours.overflow() == ""


def test_a_prompt_stands_in_front_of_every_text(minilm) -> None:
    wanted = minilm.encode(SHORT, prompt="query: ")
    np.testing.assert_allclose(encode(minilm, SHORT, prompt="query: ").vectors, wanted, **CLOSE)


def test_the_default_prompt_of_a_pipeline_is_used_unless_another_is_given(minilm, monkeypatch) -> None:
    monkeypatch.setattr(minilm, "prompts", {"question": "query: ", "document": ""})
    monkeypatch.setattr(minilm, "default_prompt_name", "question")
    np.testing.assert_allclose(encode(minilm, SHORT).vectors, minilm.encode(SHORT), **CLOSE)
    np.testing.assert_allclose(encode(minilm, SHORT, prompt="").vectors, minilm.encode(SHORT, prompt=""), **CLOSE)


def test_long_texts_are_cut_where_sentence_transformers_cuts_them(minilm) -> None:
    ours = encode(minilm, [LONG, SHORT[0]], on_overflow="truncate")
    np.testing.assert_allclose(ours.vectors, minilm.encode([LONG, SHORT[0]]), **CLOSE)
    assert ours.used[0] == minilm.max_seq_length - 2 < ours.given[0] == _tokens(minilm, LONG)


@pytest.mark.parametrize("method", ["tile", "interpolate + log_n"])
def test_an_extended_pipeline_reads_as_much_by_either_encode(minilm, method: str) -> None:
    with extended(minilm, 1024, method):
        ours = encode(minilm, [LONG, *SHORT], on_overflow="error")
        np.testing.assert_allclose(ours.vectors, minilm.encode([LONG, *SHORT]), **CLOSE)
    assert ours.used[0] == _tokens(minilm, LONG) > 512


@pytest.mark.parametrize("method", ["tile + log_n", "interpolate + log_n", "grouped"])
def test_short_texts_keep_their_vectors_in_an_extended_pipeline(minilm, method: str) -> None:
    before = minilm.encode(SHORT)
    with extended(minilm, 4096, method):
        assert np.array_equal(minilm.encode(SHORT), before)
        np.testing.assert_allclose(encode(minilm, [*SHORT, LONG]).vectors[:-1], before, **CLOSE)
    assert np.array_equal(minilm.encode(SHORT), before)
    assert minilm.max_seq_length == 256


def test_vectors_come_in_the_order_of_the_texts(minilm) -> None:
    texts = ["b " * 90, "a", "c " * 40, "", "d " * 90, "e " * 41]
    together = encode(minilm, texts, batch_tokens=100).vectors
    for row, text in enumerate(texts):
        np.testing.assert_allclose(together[row], encode(minilm, [text]).vectors[0], **CLOSE)


@pytest.mark.parametrize("batch_tokens", [1, 300, 100_000])
@pytest.mark.parametrize("strategy", [None, Truncate(128), ChunkMean(128)], ids=str)
def test_vectors_do_not_depend_on_the_batch(minilm, strategy, batch_tokens: int) -> None:
    texts = [*SHORT, LONG]
    wanted = encode(minilm, texts, strategy, on_overflow="truncate")
    ours = encode(minilm, texts, strategy, batch_tokens=batch_tokens, on_overflow="truncate")
    np.testing.assert_allclose(ours.vectors, wanted.vectors, **CLOSE)
    assert (ours.given, ours.used) == (wanted.given, wanted.used)


def test_no_texts_are_no_vectors(minilm) -> None:
    nothing = encode(minilm, [])
    assert nothing.vectors.shape == (0, 384)
    assert (nothing.given, nothing.used, nothing.overflow()) == ([], [], "")


def test_chunk_mean_is_the_unit_mean_of_the_unit_vectors_of_its_windows(minilm) -> None:
    windows = ChunkMean(130).spans(_tokens(minilm, LONG), 2)
    ids = minilm.tokenizer(LONG, add_special_tokens=False, verbose=False)["input_ids"]
    parts = []
    for start, end in windows:
        row = torch.tensor([[101, *ids[start:end], 102]])
        with torch.no_grad():
            parts.append(minilm({"input_ids": row, "attention_mask": torch.ones_like(row)})["sentence_embedding"][0])
    mean = torch.stack(parts).mean(0)
    ours = encode(minilm, [LONG], ChunkMean(130), on_overflow="error")
    np.testing.assert_allclose(ours.vectors[0], (mean / mean.norm()).numpy(), **CLOSE)
    assert ours.used == ours.given


def test_chunk_mean_leaves_short_texts_alone(minilm) -> None:
    ours = encode(minilm, [*SHORT, LONG], ChunkMean(256)).vectors[:-1]
    np.testing.assert_allclose(ours, minilm.encode(SHORT), **CLOSE)


def test_chunk_mean_does_not_depend_on_neighbours_in_a_model_that_does_not_normalise(minilm) -> None:
    from sentence_transformers import SentenceTransformer

    bare = SentenceTransformer(modules=[minilm[0], minilm[1]], device="cpu")
    alone = encode(bare, SHORT, ChunkMean(256)).vectors
    np.testing.assert_allclose(encode(bare, [*SHORT, LONG], ChunkMean(256)).vectors[:-1], alone, **CLOSE)


@given(length=st.integers(3, 600), tokens=st.integers(0, 5000), special=st.integers(0, 2))
def test_full_windows_cover_every_token_and_the_last_is_slid_back(length: int, tokens: int, special: int) -> None:
    spans, size = ChunkMean(length).spans(tokens, special), length - special
    assert {place for start, end in spans for place in range(start, end)} == set(range(tokens))
    assert all(end - start == min(size, tokens) for start, end in spans)
    assert [start for start, _ in spans[:-1]] == list(range(0, size * (len(spans) - 1), size))
    assert spans[-1][1] == tokens
    assert len(spans) == max(1, -(-tokens // size))


@given(length=st.integers(3, 60), limit=st.integers(1, 500), tokens=st.integers(0, 5000))
def test_a_limit_is_read_as_if_the_text_ended_there(length: int, limit: int, tokens: int) -> None:
    assert ChunkMean(length, limit).spans(tokens, 2) == ChunkMean(length).spans(min(tokens, limit), 2)


@given(length=st.integers(3, 600), tokens=st.integers(0, 5000))
def test_truncation_reads_one_window_from_the_start(length: int, tokens: int) -> None:
    assert Truncate(length).spans(tokens, 2) == [(0, min(tokens, length - 2))]


@pytest.mark.parametrize("strategy", [Truncate(2), ChunkMean(2), Truncate(0), ChunkMean(-5)], ids=str)
def test_a_window_without_room_for_text_is_refused(minilm, strategy) -> None:
    with pytest.raises(EncodeError, match="no room beside 2 special tokens"):
        encode(minilm, SHORT, strategy)


def test_a_window_beyond_what_the_model_can_read_is_refused(minilm) -> None:
    with pytest.raises(EncodeError, match="512"):
        encode(minilm, [LONG], Truncate(4096))


def test_what_was_dropped_is_counted(minilm) -> None:
    total = _tokens(minilm, LONG)
    ours = encode(minilm, [LONG, SHORT[0], LONG], Truncate(130), on_overflow="truncate")
    assert ours.given == [total, _tokens(minilm, SHORT[0]), total]
    assert ours.used == [128, ours.given[1], 128]
    assert ours.overflow() == f"2 of 3 inputs lost {1 - 128 / total:.0%} of their tokens."


def test_a_limit_of_chunk_mean_is_counted_as_dropped(minilm) -> None:
    ours = encode(minilm, [LONG], ChunkMean(130, limit=300), on_overflow="truncate")
    assert ours.used == [300]
    assert "1 of 1 inputs lost" in ours.overflow()


def test_overflow_warns_at_the_caller_by_default(minilm) -> None:
    with pytest.warns(UserWarning, match="1 of 1 inputs lost .* Extend the model, or use ChunkMean") as caught:
        encode(minilm, [LONG])
    assert caught[0].filename == __file__


def test_overflow_can_be_an_error_or_be_accepted(minilm) -> None:
    with pytest.raises(EncodeError, match="1 of 1 inputs lost"):
        encode(minilm, [LONG], on_overflow="error")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encode(minilm, [LONG], on_overflow="truncate")


@pytest.mark.parametrize("bad", [None, 3, b"bytes", ["nested"]])
def test_the_row_that_is_no_text_is_named(minilm, bad: object) -> None:
    with pytest.raises(EncodeError, match=f"Text 1 is a {type(bad).__name__}, not a string"):
        encode(minilm, ["fine", bad, "fine"])


def test_one_string_is_not_taken_for_a_list_of_letters(minilm) -> None:
    with pytest.raises(EncodeError, match="list"):
        encode(minilm, "hello")


def test_a_model_that_does_not_pool_is_refused() -> None:
    with pytest.raises(EncodeError, match="does not pool"):
        encode(build("bert"), SHORT)
