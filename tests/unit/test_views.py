"""Views of long texts, and the lessons of which every second one is a view."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longspan.encoding.tokens import Frame
from longspan.errors import ConvertError
from longspan.training.corpus import Corpus
from longspan.training.lessons import Lessons
from longspan.training.passages import passages
from longspan.training.views import Views, check_length, piece_size, views

FRAME = Frame((101,), (102,))
PIECE = 252
SIZES = (300, 5 * PIECE + 17, 20 * PIECE, 2 * PIECE)
STARTS = np.concatenate(([0], np.cumsum(SIZES))).astype(np.int64)
# A token is its own place, so that a view tells where it was cut out.
CORPUS = Corpus(np.arange(STARTS[-1], dtype=np.int32) + 1000, STARTS, "made for tests")
TOKENIZER = SimpleNamespace(convert_tokens_to_ids=lambda ends: [9] * len(ends), unk_token_id=0)


@given(
    st.integers(0, 10_000),
    st.sampled_from([512, 1024, 2048]),
    st.sampled_from([1024, 4096, 100_000]),
    st.sampled_from([PIECE, 126, 30]),
)
def test_a_view_is_whole_pieces_of_one_document_at_their_true_distances(
    seed: int, budget: int, longest: int, piece: int
) -> None:
    made = Views(CORPUS, FRAME, 512, longest, budget, piece).draw(np.random.default_rng(seed))
    ids, positions = made["input_ids"][0], made["position_ids"][0]
    assert (int(ids[0]), int(ids[-1]), int(positions[0])) == (101, 102, 0)
    places, at = ids[1:-1] - 1000, positions[1:-1]
    assert len(places) % piece == 0
    assert 2 * piece <= len(places) <= max(2 * piece, budget)
    documents = np.searchsorted(STARTS, places.numpy(), side="right")
    assert len(set(documents)) == 1
    # The text between two tokens of a view is as long as their positions say.
    assert torch.equal(places - places[0], at - at[0])
    assert torch.all(positions.diff() > 0)
    assert positions[-1] < longest + piece


def test_views_beyond_the_budget_cover_positions_that_are_not_read() -> None:
    made = Views(CORPUS, FRAME, 18 * PIECE, 20 * PIECE, 1024, PIECE)
    spans = [int(made.draw(np.random.default_rng(seed))["position_ids"].max()) for seed in range(20)]
    assert min(spans) > 4 * 1024


def test_views_differ_by_draw_and_repeat_by_seed() -> None:
    made = Views(CORPUS, FRAME, 512, 4096, 1024, PIECE)
    first, again, other = (made.draw(np.random.default_rng(seed))["input_ids"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("window", "frame", "piece"),
    [
        (512, FRAME, 252),
        (254, FRAME, 252),
        (253, FRAME, 250),
        (128, FRAME, 126),
        (128, Frame((), ()), 128),
        (128, Frame((1,), (2, 3)), 124),
        (4, FRAME, 2),
    ],
    ids=str,
)
def test_a_piece_and_what_stands_around_it_fit_the_window(window: int, frame: Frame, piece: int) -> None:
    assert piece_size(window, frame) == piece


def test_a_window_without_room_for_a_piece_is_told() -> None:
    with pytest.raises(ConvertError, match="A window of 3 tokens holds no two tokens"):
        piece_size(3, FRAME)


def test_views_take_the_piece_from_the_window() -> None:
    assert [views(CORPUS, FRAME, window=window, longest=4096, budget=64).piece for window in (512, 128)] == [252, 126]


@pytest.mark.parametrize("longest", [100, 512])
def test_a_length_within_the_window_is_refused(longest: int) -> None:
    for refuse in (
        lambda: views(CORPUS, FRAME, window=512, longest=longest, budget=1024),
        lambda: check_length(longest, 512),
    ):
        with pytest.raises(ConvertError, match=f"{longest} tokens are not more than the window of 512") as caught:
            refuse()
        assert "above 512" in caught.value.hint
    check_length(513, 512)


@pytest.mark.parametrize(("window", "most"), [(512, 511), (300, 503)])
def test_texts_without_two_pieces_or_a_window_are_refused(window: int, most: int) -> None:
    for size in (most, most + 1):
        corpus = Corpus(np.zeros(size + 20, np.int32), np.array([0, 20, size + 20]), "short")
        if size == most:
            with pytest.raises(ConvertError, match=f"The longest text has {most} tokens.*about 4096"):
                views(corpus, FRAME, window=window, longest=4096, budget=1024)
        else:
            made = views(corpus, FRAME, window=window, longest=4096, budget=1024)
            assert made.draw(np.random.default_rng(0))["input_ids"].shape == (1, 2 * PIECE + 2)


def lessons(*, at_length: bool, seed: int = 0, steps: int = 20) -> Lessons:
    read = passages(CORPUS, TOKENIZER, FRAME, longest=64, budget=128)
    return Lessons(read, Views(CORPUS, FRAME, 512, 4096, 1024, PIECE) if at_length else None, steps, seed)


def test_every_second_step_is_a_view() -> None:
    read = lessons(at_length=True)
    assert ["position_ids" in read[step] for step in range(20)] == [False, True] * 10
    assert not any("position_ids" in batch for batch in lessons(at_length=False))  # type: ignore[attr-defined]
    for step in (-1, 20):
        with pytest.raises(IndexError, match=f"step {step} of 20"):
            read[step]


def test_even_steps_read_the_same_with_and_without_views() -> None:
    for step in range(0, 20, 2):
        with_views, without = (lessons(at_length=views)[step]["input_ids"] for views in (True, False))
        assert torch.equal(with_views, without)


@given(st.integers(0, 2**32 - 1), st.integers(0, 19))
def test_a_lesson_depends_on_seed_and_step_alone(seed: int, step: int) -> None:
    one, other = lessons(at_length=True, seed=seed), lessons(at_length=True, seed=seed)
    for earlier in range(step):
        other[earlier]
    ours, theirs = one[step], other[step]
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_other_seeds_and_steps_read_other_views() -> None:
    seen = {
        tuple(lessons(at_length=True, seed=seed)[step]["input_ids"][0].tolist())
        for seed in range(4)
        for step in range(1, 20, 2)
    }
    assert len(seen) > 36  # a document of two pieces has one view
