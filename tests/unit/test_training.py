"""What a distillation reads at each step within the window, and its loss there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longspan.encoding.tokens import Frame
from longspan.errors import ConvertError
from longspan.training.corpus import Corpus
from longspan.training.lessons import Lessons
from longspan.training.objective import distillation_loss
from longspan.training.passages import Passages, passages

END, CLS, SEP = 9, 2, 3


class Words:
    """The two things that passages ask of a tokenizer."""

    unk_token_id = 0

    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]:
        return [END if token == "." else self.unk_token_id for token in tokens]


def corpus_of(sizes: list[int], *, sentence: int = 7) -> Corpus:
    """Documents in which each token is met once, but for a full stop behind every ``sentence`` tokens."""
    parts, following = [], 100
    for size in sizes:
        ids = np.arange(following, following + size, dtype=np.int32)
        following += size
        if sentence:
            ids[sentence - 1 :: sentence] = END
        parts.append(ids)
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return Corpus(np.concatenate(parts), starts, "digest")


FRAME = Frame((CLS,), (SEP,))


def cut(corpus: Corpus, frame: Frame = FRAME, **changes: Any) -> Passages:
    options: dict[str, Any] = {"longest": 64, "budget": 256} | changes
    return passages(corpus, Words(), frame, **options)


def lessons(drawn: Passages, *, steps: int = 40, seed: int = 0) -> Lessons:
    return Lessons(drawn, None, steps, seed)


SIZES = st.lists(st.integers(1, 90), min_size=1, max_size=12).filter(lambda sizes: max(sizes) >= 8)


@given(SIZES, st.integers(0, 2**32 - 1), st.integers(0, 39), st.booleans())
def test_a_batch_is_passages_of_one_length_each_within_one_document(
    sizes: list[int], seed: int, step: int, bare: bool
) -> None:
    corpus = corpus_of(sizes, sentence=0)
    frame = Frame((), ()) if bare else Frame((CLS,), (SEP, SEP))
    drawn = cut(corpus, frame)
    ids = lessons(drawn, seed=seed)[step]["input_ids"]
    rows, length = ids.shape
    assert ids.dtype == torch.int64
    assert drawn.shortest <= length <= min(64, max(sizes) + (0 if bare else 3))
    assert rows == max(1, 256 // length)
    content = ids
    if not bare:
        assert (ids[:, 0] == CLS).all()
        assert (ids[:, -2:] == SEP).all()
        content = ids[:, 1:-2]
    # Tokens count up through the whole corpus, so a place is known by its token.
    places = content.numpy() - 100
    assert (np.diff(places, axis=1) == 1).all()
    documents = np.repeat(np.arange(len(sizes)), sizes)[places]
    assert (documents == documents[:, :1]).all()


@given(st.integers(0, 2**32 - 1), st.integers(0, 39))
def test_a_batch_depends_on_seed_and_step_alone(seed: int, step: int) -> None:
    corpus = corpus_of([80, 70, 60])
    one, other = lessons(cut(corpus), seed=seed), lessons(cut(corpus), seed=seed)
    for earlier in range(step):
        other[earlier]
    assert torch.equal(one[step]["input_ids"], other[step]["input_ids"])


def test_other_seeds_and_steps_read_other_passages() -> None:
    corpus = corpus_of([200] * 20)
    drawn = cut(corpus)
    batches = [lessons(drawn, seed=seed)[step] for seed in range(4) for step in range(10)]
    seen = {tuple(batch["input_ids"][0].tolist()) for batch in batches}
    assert len(seen) == 40


def test_every_octave_is_read_in_equally_many_tokens() -> None:
    drawn = lessons(cut(corpus_of([600] * 4), longest=512, budget=512), steps=1200)
    lengths = np.array([drawn[step]["input_ids"].shape[1] for step in range(len(drawn))])
    octaves = np.bincount(np.log2(lengths / 8).astype(int), minlength=6)[:6]
    # 200 batches each; the binomial's standard deviation is 12.9.
    assert abs(octaves - 200).max() < 4 * 12.9
    assert lengths.min() == 8
    assert lengths.max() > 480


def test_passages_begin_where_sentences_do() -> None:
    drawn = lessons(cut(corpus_of([70, 140, 35])), steps=60)
    # Every document is a multiple of seven long, so sentences begin at multiples of seven.
    first = np.concatenate([drawn[step]["input_ids"][:, 1].numpy() - 100 for step in range(60)])
    assert (first % 7 == 0).all()
    assert len(set(first.tolist())) > 20


def test_without_full_stops_passages_begin_anywhere() -> None:
    drawn = lessons(cut(corpus_of([300], sentence=0)), steps=60)
    first = np.concatenate([drawn[step]["input_ids"][:, 1].numpy() - 100 for step in range(60)])
    assert set((first % 7).tolist()) == set(range(7))


def test_one_long_document_among_short_ones_is_found_at_once() -> None:
    drawn = cut(corpus_of([10] * 5000 + [62]))
    assert drawn.longest == 64
    assert drawn.places(64) == 1
    ids = drawn.batch(64, 5, np.random.default_rng(0))
    assert (ids == ids[0]).all()
    assert ids[0, 1] == 100 + 50_000
    with pytest.raises(ConvertError, match="No text has a passage of 65 tokens; the longest text has 62"):
        drawn.batch(65, 5, np.random.default_rng(0))


def test_no_passage_twice_while_there_are_enough() -> None:
    drawn = cut(corpus_of([70]))
    assert drawn.places(16) == 9  # starts at 0, 7, .. 56 leave 14 tokens to the end
    first = drawn.batch(16, 9, np.random.default_rng(0))[:, 1]
    assert len(set(first.tolist())) == 9


def test_texts_too_short_for_a_sentence_are_refused() -> None:
    with pytest.raises(ConvertError, match="The longest text has 5 tokens"):
        cut(corpus_of([3, 5, 4]))


def test_a_window_below_the_shortest_passage_is_kept_to() -> None:
    drawn = lessons(cut(corpus_of([50]), longest=6))
    assert {drawn[step]["input_ids"].shape[1] for step in range(40)} == {6}


def test_there_is_no_step_behind_the_last() -> None:
    read = lessons(cut(corpus_of([50])), steps=3)
    for step in (3, -1):
        with pytest.raises(IndexError):
            read[step]
    assert len(read) == 3
    assert len(list(read)) == 3  # type: ignore[call-overload]


def states(seed: int, dtype: torch.dtype = torch.float32) -> tuple[list[torch.Tensor], torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    layers = [torch.randn(4, 6, 5, generator=draw).to(dtype) for _ in range(3)]
    return layers, torch.randn(4, 5, generator=draw).to(dtype)


def test_the_loss_is_its_formula() -> None:
    (ours, vectors), (theirs, wanted) = states(1), states(2)
    total = 0.0
    for layer in range(3):
        s, t = (x[layer].double().numpy() for x in (ours, theirs))
        spread = ((t - t.reshape(-1, 5).mean(0)) ** 2).mean()
        total += ((layer + 1) / 3) ** 2 * ((s - t) ** 2).mean() / spread
    v, w = (x.double().numpy() / np.linalg.norm(x.double().numpy(), axis=1, keepdims=True) for x in (vectors, wanted))
    total += 4 * (1 - np.mean([a @ b for a, b in zip(v, w, strict=True)])) + 2 * np.mean((v @ v.T - w @ w.T) ** 2)
    assert float(distillation_loss(ours, theirs, vectors, wanted)) == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_the_loss_is_zero_where_both_are_equal_and_float32_always(dtype: torch.dtype) -> None:
    layers, vectors = states(1, dtype)
    loss = distillation_loss(layers, layers, vectors, vectors)
    assert loss.dtype == torch.float32
    assert abs(float(loss)) < 1e-6
    other, turned = states(2, dtype)
    assert float(distillation_loss(other, layers, turned, vectors)) > 1


@pytest.mark.parametrize("flat", [False, True], ids=["spread", "constant teacher"])
def test_the_gradient_is_finite(flat: bool) -> None:
    (ours, vectors), (theirs, wanted) = states(1), states(2)
    if flat:
        theirs = [torch.ones_like(layer) for layer in theirs]
    leaves = [layer.requires_grad_() for layer in ours] + [vectors.requires_grad_()]
    distillation_loss(ours, theirs, vectors, wanted).backward()
    assert all(torch.isfinite(leaf.grad).all() and leaf.grad.abs().sum() > 0 for leaf in leaves)
