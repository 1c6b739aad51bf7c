"""The tokenizer is the caller's: it is copied for every use, and what it puts around a text holds for every kind."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan import EncodeError
from longspan.encoding.tokens import Tokenised, frame, tokenise
from longspan.storage.verify import _tokens
from longspan.tokenizer import around, own
from tests.pipelines import pipeline, tiny_tokenizer
from tests.tokenizers import AROUND, MODELS, SPLITS, Slow, fast

KINDS = list(product(MODELS, (True, False), (True, False), SPLITS))
TEXT = st.text(alphabet="abcBC é\n<s>\u200b", max_size=12)


def ids(tokenizer: Any, text: str, *, special: bool) -> list[int] | None:
    """Token ids, None where this vocabulary cannot read the text."""
    try:
        found: list[int] = tokenizer(text, add_special_tokens=special)["input_ids"]
    except Exception:  # noqa: BLE001 tokenizers raises no kind of its own
        return None
    return found


@pytest.mark.parametrize("name", AROUND)
@given(kind=st.sampled_from(KINDS), text=TEXT)
def test_what_stands_around_a_text_is_read_from_the_tokenizers_own_rule(name: str, kind: Any, text: str) -> None:
    model, unknown, lower, split = kind
    made = fast(model, unknown=unknown, lower=lower, split=split, around=name)
    before, behind = around(made)
    assert (before, behind) == AROUND[name][1:]
    if (bare := ids(made, text, special=False)) is not None:
        assert ids(made, text, special=True) == [*before, *bare, *behind]


@pytest.mark.parametrize(("before", "behind"), [((), ()), ((1,), ()), ((), (2,)), ((1, 3), (2,)), ((1,), (2, 2))])
def test_of_a_slow_tokenizer_too(before: tuple[int, ...], behind: tuple[int, ...]) -> None:
    made = Slow(before, behind)
    assert around(made) == (before, behind)
    assert made("co a ba")["input_ids"] == [*before, *made("co a ba", add_special_tokens=False)["input_ids"], *behind]


@given(kind=st.sampled_from(KINDS), name=st.sampled_from([*AROUND]), text=TEXT, cut=st.integers(1, 3))
def test_a_copy_gives_the_same_tokens_and_neither_cuts_nor_pads(kind: Any, name: str, text: str, cut: int) -> None:
    model, unknown, lower, split = kind
    made = fast(model, unknown=unknown, lower=lower, split=split, around=name)
    made.add_tokens(["coba", "zz"])
    made.add_special_tokens({"additional_special_tokens": ["<u>"]})
    text += " coba <u>"
    whole = ids(made, text, special=True)
    made.backend_tokenizer.enable_truncation(cut)
    made.backend_tokenizer.enable_padding(length=32)
    kept, copied = made.backend_tokenizer.to_str(), own(made)
    assert (copied.backend_tokenizer.truncation, copied.backend_tokenizer.padding) == (None, None)
    ours, theirs = json.loads(copied.backend_tokenizer.to_str()), json.loads(kept)
    assert {**ours, "truncation": 0, "padding": 0} == {**theirs, "truncation": 0, "padding": 0}
    assert ids(copied, text, special=True) == whole
    copied.model_max_length = 1
    assert (made.backend_tokenizer.to_str(), made.model_max_length) == (kept, 16)


@pytest.mark.parametrize("unknown", [True, False])
@pytest.mark.parametrize("model", MODELS)
def test_tokenising_leaves_the_tokenizer_alone_and_tells_of_each_text_it_cannot_read(model: str, unknown: bool) -> None:
    made = fast(model, unknown=unknown, lower=False, split="words", around="both")
    made.backend_tokenizer.enable_truncation(2)
    made.backend_tokenizer.enable_padding(length=24)
    kept = made.backend_tokenizer.to_str()
    texts = ["ba", "é", "ba ba ba ba co"]
    found = tokenise(made, texts, "", [None] * 3)
    first, second, third = found
    assert made.backend_tokenizer.to_str() == kept
    assert isinstance(first, Tokenised)
    assert isinstance(third, Tokenised)
    assert third.text.tokens >= 5, "all of it is read, whatever the caller's own calls are cut at"
    refused = not unknown and model != "BPE"  # BPE drops what it does not know
    assert isinstance(second, EncodeError) == refused
    if refused:
        with pytest.raises(EncodeError, match="cannot read it"):
            frame(made, "one_word", prompt="", mode="lasttoken")


def test_a_frame_of_words_needs_the_words() -> None:
    made = fast("BPE", unknown=False, lower=False, split="words", around="before")
    assert frame(made, "echo", prompt="", mode="mean").wrap([5, 6], []).ids == [1, 5, 6, 5, 6]
    with pytest.raises(EncodeError, match="no token in this vocabulary"):
        frame(made, "one_word", prompt="", mode="lasttoken")


def test_what_tells_nothing_of_itself_is_refused() -> None:
    with pytest.raises(EncodeError, match="does not tell what it puts around a text"):
        around(object())


def test_verify_asks_by_the_special_tokens_whatever_the_vocabulary(tmp_path: Path) -> None:
    model = pipeline(tmp_path)
    for name, (_, before, behind) in AROUND.items():
        model[0].processor = fast("BPE", unknown=False, lower=False, split="words", around=name)
        asked = _tokens(model, 9)
        assert len(asked) == 9
        assert asked[: len(before[:1])] == [*before[:1]]
        assert asked[9 - len(behind[-1:]) :] == [*behind[-1:]]


def test_a_rule_that_names_a_token_which_is_not_there_is_refused() -> None:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    made = json.loads(tiny_tokenizer().backend_tokenizer.to_str())
    single = [{"SpecialToken": {"id": "[LOST]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    made["post_processor"] = {"type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": {}}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(made)))
    with pytest.raises(EncodeError, match="own rule fails"):
        around(tokenizer)
