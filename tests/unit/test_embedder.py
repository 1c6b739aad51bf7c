"""Decoders as embedding models: pooling, direction of attention, and the words around a text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

import longspan
from longspan import EncodeError, encode
from longspan.errors import StorageError
from longspan.reading import Reading, Text, full_windows

TEXTS = ["once there was a dog", "the cat"]
CLOSE = {"rtol": 0, "atol": 1e-6}


def _states(model, text: str) -> torch.Tensor:
    ids = torch.tensor([model.tokenizer(text)["input_ids"]])
    with torch.no_grad():
        return model[0].auto_model(ids).last_hidden_state[0]


@pytest.mark.parametrize("pooling", ["lasttoken", "weightedmean", "mean"])
def test_token_states_are_pooled_as_the_papers_say(decoder: str, pooling: str) -> None:
    model = longspan.embedder(decoder, pooling=pooling, device="cpu")
    ours = encode(model, TEXTS)
    np.testing.assert_allclose(ours.vectors, model.encode(TEXTS), **CLOSE)
    for vector, text in zip(ours.vectors, TEXTS, strict=True):
        states = _states(model, text).double()
        n = len(states)
        weights = {
            "lasttoken": torch.eye(n, dtype=torch.double)[-1],
            "mean": torch.full((n,), 1 / n, dtype=torch.double),
            "weightedmean": torch.arange(1, n + 1).double() / (n * (n + 1) / 2),
        }[pooling]
        wanted = weights @ states
        np.testing.assert_allclose(vector, (wanted / wanted.norm()).numpy(), rtol=0, atol=1e-5)


def test_both_directions_are_a_setting_that_is_saved(decoder: str, tmp_path: Path) -> None:
    one = longspan.embedder(decoder, device="cpu")
    both = longspan.embedder(decoder, bidirectional=True, device="cpu")

    def first(model, text: str) -> torch.Tensor:
        return _states(model, text)[0]

    assert torch.equal(first(one, "once there"), first(one, "once cat"))
    assert not torch.allclose(first(both, "once there"), first(both, "once cat"), atol=1e-4)
    longspan.extend(both, to=128, method="yarn")
    folder = longspan.save(both, tmp_path / "both")
    again = longspan.load(folder, device="cpu")
    np.testing.assert_allclose(again.encode(TEXTS), both.encode(TEXTS), **CLOSE)


def test_an_echo_is_pooled_over_the_second_reading(decoder: str) -> None:
    model = longspan.embedder(decoder, pooling="mean", device="cpu")
    found = encode(model, TEXTS[:1], frame="echo")
    ids = model.tokenizer(TEXTS[0])["input_ids"]
    gap = model.tokenizer("\n")["input_ids"]
    with torch.no_grad():
        states = model[0].auto_model(torch.tensor([[*ids, *gap, *ids]])).last_hidden_state[0]
    wanted = states[-len(ids) :].mean(0)
    np.testing.assert_allclose(found.vectors[0], (wanted / wanted.norm()).numpy(), **CLOSE)
    assert found.used == [len(ids)]


def test_an_echo_leaves_half_the_window(decoder: str) -> None:
    model = longspan.embedder(decoder, pooling="mean", device="cpu")
    long = "the dog " * 60
    plain = encode(model, [long], "truncate(window=20)", on_overflow="truncate")
    echoed = encode(model, [long], "truncate(window=20)", frame="echo", on_overflow="truncate")
    assert plain.used == [20]
    assert echoed.used[0] <= 10
    whole = encode(model, [long], "long_late(window=20, size=5)", frame="echo")
    assert whole.used == whole.given


def test_one_word_is_asked_for_and_read_at_the_end(decoder: str) -> None:
    model = longspan.embedder(decoder, device="cpu")
    found = encode(model, TEXTS[:1], frame="one_word")
    around = [model.tokenizer(words)["input_ids"] for words in ('This sentence : "', '" means in one word:"')]
    ids = [*around[0], *model.tokenizer(TEXTS[0])["input_ids"], *around[1]]
    with torch.no_grad():
        wanted = model[0].auto_model(torch.tensor([ids])).last_hidden_state[0, -1]
    np.testing.assert_allclose(found.vectors[0], (wanted / wanted.norm()).numpy(), **CLOSE)
    with pytest.raises(EncodeError, match="pooled at the last token, this model pools by mean"):
        encode(longspan.embedder(decoder, pooling="mean", device="cpu"), TEXTS, frame="one_word")
    with pytest.raises(EncodeError, match="no frame named"):
        encode(model, TEXTS, frame="twice")


def test_a_chunk_of_a_decoder_is_the_state_of_its_last_token(decoder: str) -> None:
    model = longspan.embedder(decoder, device="cpu")
    text = "once there was a dog the cat was a dog"
    found = encode(model, [text], "late(size=3, window=32)")
    states = _states(model, text)
    for place, last in enumerate([2, 5, 8, 9]):
        np.testing.assert_allclose(found.vectors[place], (states[last] / states[last].norm()).numpy(), **CLOSE)
    with pytest.raises(EncodeError, match="pools by weightedmean"):
        encode(longspan.embedder(decoder, pooling="weightedmean", device="cpu"), [text], "late")


def test_a_chunk_that_ends_where_a_window_does_is_read_once(decoder: str) -> None:
    model = longspan.embedder(decoder, device="cpu")
    text = " ".join(["once", "there", "was", "a", "dog", "the", "cat"] * 3)
    ids = model.tokenizer(text)["input_ids"]
    found = encode(model, [text], "long_late(window=10, overlap=4, size=5)")
    assert len(found.vectors) == 5
    # Windows 0-10, 6-16, 11-21: a token's state comes from the first one that reads it.
    for place, (start, last) in enumerate([(0, 4), (0, 9), (6, 14), (11, 19), (11, 20)]):
        with torch.no_grad():
            states = model[0].auto_model(torch.tensor([ids[start : start + 10]])).last_hidden_state[0]
        wanted = states[last - start]
        np.testing.assert_allclose(found.vectors[place], (wanted / wanted.norm()).numpy(), **CLOSE)


@pytest.mark.parametrize("pooling", ["lasttoken", "mean"])
def test_spans_may_overlap_and_stand_in_any_order(decoder: str, pooling: str) -> None:
    @dataclass(frozen=True)
    class Given:
        """Windows that overlap, and the spans it is given."""

        spans: tuple[tuple[int, int], ...]
        window: int | None = 10
        top: int = 1
        reads: ClassVar[str] = "native"
        makes: ClassVar[str] = "spans"
        chunked: ClassVar[str] = ""

        def read(self, text: Text, room: int) -> Reading:
            return Reading(full_windows(text.tokens, room, 4), list(self.spans))

    model = longspan.embedder(decoder, pooling=pooling, device="cpu")
    text = " ".join(["once", "there", "was", "a", "dog", "the", "cat"] * 3)
    spans = ((11, 13), (0, 21), (0, 10), (16, 21), (3, 17), (9, 12), (2, 4))
    found = encode(model, [text], Given(spans))
    for place, span in enumerate(spans):
        np.testing.assert_allclose(found.vectors[place], encode(model, [text], Given((span,))).vectors[0], **CLOSE)


@pytest.mark.parametrize(
    ("change", "error"), [({"pooling": "cls"}, EncodeError), ({"model": "/nowhere"}, StorageError)]
)
def test_what_cannot_be_is_refused(decoder: str, change: dict, error: type) -> None:
    with pytest.raises(error):
        longspan.embedder(**{"model": decoder, **change})
