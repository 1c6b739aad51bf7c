"""encode, with the real all-MiniLM-L6-v2: the same vectors as sentence-transformers, whatever the batch."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longspan import EncodeError, SpecError, encode, extended
from longspan.encoding.engines.torch_ import TorchEngine
from longspan.encoding.run import Encoder
from longspan.reading import Text, full_windows
from longspan.strategies.encoding.chunk_max import ChunkMax
from longspan.strategies.encoding.chunk_mean import ChunkMean
from longspan.strategies.encoding.truncate import Truncate
from tests.models import build

SHORT = [
    "A cat sat on the mat.",
    ".",
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


@pytest.mark.parametrize("prompt", ["query: ", ""])
def test_a_prompt_that_is_not_pooled_is_left_out_as_sentence_transformers_does(minilm, monkeypatch, prompt) -> None:
    monkeypatch.setattr(minilm[1], "include_prompt", False)
    wanted = minilm.encode(SHORT, prompt=prompt)
    np.testing.assert_allclose(encode(minilm, SHORT, prompt=prompt).vectors, wanted, **CLOSE)


def test_a_prompt_stands_in_front_of_every_window(minilm) -> None:
    found = encode(minilm, [LONG], "chunk_max(window=130)", prompt="passage: ").vectors
    ids = minilm.tokenizer("passage: ", add_special_tokens=False)["input_ids"]
    text = minilm.tokenizer(LONG, add_special_tokens=False, verbose=False)["input_ids"]
    for vector, (start, end, _) in zip(found, full_windows(len(text), 128 - len(ids)), strict=True):
        row = torch.tensor([[101, *ids, *text[start:end], 102]])
        with torch.no_grad():
            features = minilm({"input_ids": row, "attention_mask": torch.ones_like(row)})
        np.testing.assert_allclose(vector, features["sentence_embedding"][0].numpy(), **CLOSE)


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
    texts = ["b " * 90, "a", "c " * 40, ".", "d " * 90, "e " * 41]
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


def test_what_is_no_strategy_is_told(minilm) -> None:
    with pytest.raises(EncodeError, match="A int is no strategy"):
        encode(minilm, SHORT, 256)


@pytest.mark.parametrize("strategy", ["chunk_max(window=32)", "long_late(window=32, size=8)", "truncate"])
def test_windows_with_the_same_tokens_are_read_once(minilm, strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    start = "The river rose for nine days and nobody had been warned of it at all. " * 4
    texts = [start + end for end in ("It fell.", "The dam held.", "It fell.")]
    apart = [encode(minilm, [text], strategy).vectors for text in texts]
    read: list[tuple[int, ...]] = []
    states = TorchEngine.states

    def counted(self: TorchEngine, batch: list[list[int]]) -> torch.Tensor:
        read.extend(map(tuple, batch))
        return states(self, batch)

    monkeypatch.setattr(TorchEngine, "states", counted)
    together = encode(minilm, texts, strategy)
    assert len(read) == len(set(read))
    assert len(read) < sum(together.windows)
    np.testing.assert_allclose(together.vectors, np.concatenate(apart), rtol=0, atol=1e-5)


def test_no_texts_are_no_vectors(minilm) -> None:
    nothing = encode(minilm, [])
    assert nothing.vectors.shape == (0, 384)
    assert (nothing.given, nothing.used, nothing.overflow()) == ([], [], "")


def test_chunk_mean_is_the_unit_mean_of_the_unit_vectors_of_its_windows(minilm) -> None:
    windows = full_windows(_tokens(minilm, LONG), 128)
    ids = minilm.tokenizer(LONG, add_special_tokens=False, verbose=False)["input_ids"]
    parts = []
    for start, end, _ in windows:
        row = torch.tensor([[101, *ids[start:end], 102]])
        with torch.no_grad():
            parts.append(minilm({"input_ids": row, "attention_mask": torch.ones_like(row)})["sentence_embedding"][0])
    mean = torch.stack(parts).mean(0)
    ours = encode(minilm, [LONG], ChunkMean(130), on_overflow="error")
    np.testing.assert_allclose(ours.vectors[0], (mean / mean.norm()).numpy(), **CLOSE)
    assert ours.used == ours.given


def test_the_order_of_mean_and_normalisation_is_named(minilm) -> None:
    ours = encode(minilm, [LONG], "chunk_mean(order='mean_then_normalise', window=130)").vectors[0]
    ids = minilm.tokenizer(LONG, add_special_tokens=False, verbose=False)["input_ids"]
    raw = []
    for start, end, _ in full_windows(len(ids), 128):
        row = torch.tensor([[101, *ids[start:end], 102]])
        with torch.no_grad():
            raw.append(minilm[0].auto_model(row).last_hidden_state.mean(1)[0])
    mean = torch.stack(raw).mean(0)
    np.testing.assert_allclose(ours, (mean / mean.norm()).numpy(), **CLOSE)
    assert not np.allclose(ours, encode(minilm, [LONG], ChunkMean(130)).vectors[0], **CLOSE)


def test_a_document_scores_by_the_mean_of_its_best_vectors(minilm) -> None:
    encoded = encode(minilm, [LONG, ".", "A cat."], ChunkMax(window=128))
    asked = minilm.encode(["river 14", "a cat"])
    similar = asked @ encoded.vectors.T
    for top in (1, 2, 99):
        scores = encoded.scores(asked, top)
        for text in range(3):
            best = np.sort(similar[:, encoded.owner == text], axis=1)[:, -top:]
            np.testing.assert_allclose(scores[:, text], best.mean(1), **CLOSE)
    missing = encode(minilm, ["a", None], on_error="keep").scores(asked)
    assert np.isneginf(missing[:, 1]).all()


def test_one_strategy_at_a_time(minilm) -> None:
    with pytest.raises(SpecError, match="names 2 strategies"):
        encode(minilm, SHORT, "truncate + late")
    with pytest.raises(SpecError, match="did you mean chunk_mean"):
        encode(minilm, SHORT, "chunk_meen")


def test_first_dimensions_are_kept_and_normalised_again(minilm) -> None:
    whole, cut = encode(minilm, SHORT).vectors, Encoder(minilm, dims=96)
    vectors = cut.encode(SHORT).vectors
    assert vectors.shape == (len(SHORT), 96) == (len(SHORT), cut.dimension)
    wanted = whole[:, :96] / np.linalg.norm(whole[:, :96], axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, wanted, **CLOSE)


@pytest.mark.parametrize("options", [{"dims": 0}, {"dims": 385}, {"batch_tokens": 0}, {"on_overflow": "ignore"}])
def test_options_out_of_range_are_refused(minilm, options: dict) -> None:
    with pytest.raises(EncodeError):
        encode(minilm, SHORT, **options)


class _Small:
    """An engine with memory for a few tokens only."""

    def __init__(self, engine, room: int) -> None:
        self.engine, self.room, self.asked = engine, room, []

    def states(self, rows):
        self.asked.append(sum(map(len, rows)))
        if self.asked[-1] > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")
        return self.engine.states(rows)


def test_a_limit_is_lifted_by_chunks_and_not_by_a_longer_window(minilm) -> None:
    whole = encode(minilm, [LONG], "chunk_mean(limit=300)", on_overflow="chunk")
    assert whole.used == whole.given
    with pytest.raises(EncodeError, match=r"does not make chunk_mean\(limit=300\) read more"):
        encode(minilm, [LONG], "chunk_mean(limit=300)", on_overflow="extend")


def test_a_batch_that_does_not_fit_is_halved_and_told(minilm) -> None:
    encoder = Encoder(minilm)
    texts = [f"{text} {turn}" for turn in range(4) for text in [*SHORT, SHORT[3]]]
    wanted = encoder.encode(texts).vectors
    encoder._engine = small = _Small(encoder._engine, 150)
    with pytest.warns(UserWarning, match="Memory did not suffice for .* Pass batch_tokens="):
        halved = encoder.encode(texts).vectors
    np.testing.assert_allclose(halved, wanted, **CLOSE)
    assert max(small.asked) > 150
    small.room = 10
    with pytest.raises(EncodeError, match="Memory does not suffice for one window of 62 tokens"):
        encoder.encode(SHORT)


def test_an_error_that_is_not_about_memory_is_not_swallowed(minilm) -> None:
    encoder = Encoder(minilm)
    encoder.encode(["a"])

    class _Broken:
        def states(self, rows):
            raise RuntimeError("a kernel failed")

    encoder._engine = _Broken()
    with pytest.raises(RuntimeError, match="a kernel failed"):
        encoder.encode(["a"])


def test_an_encoder_follows_the_model_through_an_extension(minilm) -> None:
    encoder = Encoder(minilm, on_overflow="truncate")
    before = encoder.encode([LONG, "Rope"]).vectors
    with extended(minilm, 1024, "interpolate + log_n"):
        inside = encoder.encode([LONG, "Rope"])
        np.testing.assert_allclose(inside.vectors, minilm.encode([LONG, "Rope"]), **CLOSE)
    assert inside.used == inside.given
    np.testing.assert_allclose(encoder.encode([LONG, "Rope"]).vectors, before, **CLOSE)


def test_the_extend_strategy_leaves_the_model_as_it_was(minilm) -> None:
    found = encode(minilm, [LONG, "Rope"], "extend(to=1024, method='tile')", on_overflow="error")
    assert minilm.max_seq_length == 256
    with extended(minilm, 1024, "tile"):
        np.testing.assert_allclose(found.vectors, encode(minilm, [LONG, "Rope"], "extend").vectors, **CLOSE)


@pytest.mark.parametrize(
    "text", ["a\x00b", "\x07bell", "\u200b\ufeff.", "日本語 العربية हिन्दी 🙂", "\n" * 50 + "x", "x" * 5000]
)
def test_unusual_characters_are_read(minilm, text: str) -> None:
    found = encode(minilm, [text, "fine"], on_overflow="truncate")
    np.testing.assert_allclose(found.vectors, minilm.encode([text, "fine"]), **CLOSE)


@given(text=st.text(max_size=60), strategy=st.sampled_from(["truncate", "long_late(size=3)", "chunk_max(window=8)"]))
def test_any_text_is_encoded_or_is_a_typed_error(minilm, text: str, strategy: str) -> None:
    found = encode(minilm, [text, "fine"], strategy, on_error="keep", on_overflow="truncate")
    assert np.isfinite(found.vectors).all()
    np.testing.assert_allclose(found.vectors[-1], minilm.encode("fine"), **CLOSE)
    surrogate = any(0xD800 <= ord(c) <= 0xDFFF for c in text)
    assert list(found.errors) == ([0] if surrogate or _tokens(minilm, text) == 0 else [])
    for start, end in found.spans[found.owner == 0]:
        assert 0 <= start <= end <= len(text)


def test_a_text_of_five_megabytes_and_one_of_a_hundred_thousand_lines(minilm) -> None:
    big, lines = "words of a very long book " * 200_000, "a\n" * 100_000
    found = encode(minilm, [big, lines, "short"], on_overflow="truncate")
    assert found.given[:2] == [1_200_000, 100_000]
    assert found.used[:2] == [254, 254]
    np.testing.assert_allclose(found.vectors[2], minilm.encode("short"), **CLOSE)


def test_chunk_mean_leaves_short_texts_alone(minilm) -> None:
    ours = encode(minilm, [*SHORT, LONG], ChunkMean(256)).vectors[:-1]
    np.testing.assert_allclose(ours, minilm.encode(SHORT), **CLOSE)


def test_chunk_mean_does_not_depend_on_neighbours_in_a_model_that_does_not_normalise(minilm) -> None:
    from sentence_transformers import SentenceTransformer

    bare = SentenceTransformer(modules=[minilm[0], minilm[1]], device="cpu")
    alone = encode(bare, SHORT, ChunkMean(256)).vectors
    np.testing.assert_allclose(encode(bare, [*SHORT, LONG], ChunkMean(256)).vectors[:-1], alone, **CLOSE)


@given(room=st.integers(1, 600), tokens=st.integers(0, 5000), overlap=st.integers(0, 599))
def test_full_windows_cover_every_token_and_the_last_is_slid_back(room: int, tokens: int, overlap: int) -> None:
    overlap = min(overlap, room - 1)
    windows = full_windows(tokens, room, overlap)
    assert {place for start, end, _ in windows for place in range(start, end)} == set(range(tokens))
    assert all(end - start == min(room, tokens) for start, end, _ in windows)
    assert [start for start, *_ in windows[:-1]] == list(
        range(0, (room - overlap) * (len(windows) - 1), room - overlap)
    )
    assert windows[-1].end == tokens
    assert all(later.start <= before.end - overlap for before, later in pairwise(windows))


@given(room=st.integers(1, 60), limit=st.integers(1, 500), tokens=st.integers(0, 5000))
def test_a_limit_is_read_as_if_the_text_ended_there(room: int, limit: int, tokens: int) -> None:
    cut = ChunkMean(limit=limit).read(Text("", tokens, None), room)
    assert cut == ChunkMean().read(Text("", min(tokens, limit), None), room)


@pytest.mark.parametrize("overlap", [-1, 60, 100])
def test_an_overlap_without_a_step_forward_is_refused(overlap: int) -> None:
    with pytest.raises(EncodeError, match="use an overlap of 0 to 59"):
        full_windows(500, 60, overlap)


@pytest.mark.parametrize(
    "strategy", ["truncate(window=2)", "chunk_mean(window=2)", "late(window=1)", Truncate(2)], ids=str
)
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
    command = r"extend to 1024 with: longspan extend \S+ --to 1024 --out \S+-1024"
    with pytest.warns(UserWarning, match=f"1 of 1 inputs lost .*; {command}") as caught:
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
    with pytest.raises(EncodeError, match=f"Text 1: It is a {type(bad).__name__}, not a string"):
        encode(minilm, ["fine", bad, "fine"])
    kept = encode(minilm, ["fine", bad, "fine"], on_error="keep")
    assert list(kept.errors) == [1]
    assert kept.owner.tolist() == [0, 2]
    assert (kept.given[1], kept.used[1], kept.windows[1]) == (0, 0, 0)
    np.testing.assert_allclose(kept.vectors, minilm.encode(["fine", "fine"]), **CLOSE)


def test_one_string_is_not_taken_for_a_list_of_letters(minilm) -> None:
    with pytest.raises(EncodeError, match="list"):
        encode(minilm, "hello")


def test_a_model_that_does_not_pool_is_refused() -> None:
    with pytest.raises(EncodeError, match="does not pool"):
        encode(build("bert"), SHORT)
