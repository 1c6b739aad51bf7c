"""Language models measured: replies, choices, predictions, and what of a prompt is read."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch

import longspan
from longspan import BenchmarkError, evaluate
from longspan.benchmarks.generation.lm_passkey import LMPasskey
from longspan.benchmarks.likelihood.perplexity import Perplexity
from longspan.benchmarks.tasks import Passages, Question, Questions
from longspan.evaluation.language import Language
from longspan.storage.load import tokenizer_of

WORDS = "once there was a dog the cat"


@pytest.fixture(scope="module")
def model(decoder: str) -> Any:
    return longspan.load(decoder)  # a window of 32 tokens


@pytest.fixture(scope="module")
def arm(model: Any, decoder: str) -> Language:
    return Language(model, tokenizer_of(decoder, model), None)


def questions(*asked: Question) -> Questions:
    return Questions("own", None, {f"q{i}": question for i, question in enumerate(asked)})


def reply(arm: Language, question: Question) -> str:
    return arm.answer(questions(question), "").outputs["q0"]


def test_replies_are_those_of_generate_whatever_stands_beside(arm: Language) -> None:
    asked = [Question(" ".join(WORDS.split()[:n]), (), "", new_tokens=5) for n in (7, 2, 4, 1)]
    together = list(arm.answer(questions(*asked), "").outputs.values())
    assert together == [reply(arm, one) for one in asked]
    ids = arm.tokenizer(asked[0].prompt, return_tensors="pt")
    written = arm.model.generate(**ids, max_new_tokens=5, do_sample=False, pad_token_id=3)[
        0, len(ids["input_ids"][0]) :
    ]
    assert together[0] == arm.tokenizer.decode(written, skip_special_tokens=True)
    assert len(set(together)) > 1


def test_a_reply_ends_where_it_is_told_to(arm: Language) -> None:
    whole = reply(arm, Question(WORDS, (), "", new_tokens=8))
    stop = whole.split()[2]
    assert reply(arm, Question(WORDS, (), "", new_tokens=8, stop=(stop, "never"))) == whole[: whole.find(stop)]


def test_the_likeliest_choice_is_taken(arm: Language) -> None:
    choices = ("dog", "cat", "once there")
    ids = arm.tokenizer(WORDS)["input_ids"]
    likely = []
    for choice in choices:
        added = arm.tokenizer(choice, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            row = arm.model(torch.tensor([[*ids, *added]])).logits[0].double().log_softmax(-1)
        likely.append(sum(row[len(ids) + i - 1, token].item() for i, token in enumerate(added)))
    assert reply(arm, Question(WORDS, (), "", choices=choices)) == choices[likely.index(max(likely))]


def test_a_prompt_that_is_too_long_loses_its_middle_and_is_counted(arm: Language) -> None:
    rng = random.Random(0)
    words = " ".join(rng.choice(WORDS.split()) for _ in range(70))  # nothing that repeats, or any part would do
    asked = Question(words, (), "", new_tokens=4)
    outcome = arm.answer(questions(asked, Question("once", (), "", new_tokens=4)), "")
    ids = arm.tokenizer(words)["input_ids"]
    kept = arm.tokenizer.decode([*ids[:14], *ids[-14:]])
    assert outcome.outputs["q0"] == reply(arm, Question(kept, (), "", new_tokens=4))
    assert (outcome.read.inputs, outcome.read.truncated) == (2, 1)
    with pytest.raises(BenchmarkError, match="40 tokens leaves no room in a window of 32"):
        reply(arm, Question("once", (), "", new_tokens=40))


def test_predictions_are_the_log_probabilities(arm: Language) -> None:
    text = (WORDS + " ") * 3
    ids = arm.tokenizer(text)["input_ids"][:20]
    with torch.no_grad():
        row = arm.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    wanted = [row[i - 1, ids[i]].item() for i in range(12, 20)]
    assert arm.answer(Passages("own", 20, 8, {"p": text}), "").outputs["p"] == pytest.approx(wanted, abs=1e-5)


def test_what_does_not_fit_a_prediction_is_what_is_furthest_away(arm: Language) -> None:
    text = (WORDS + " ") * 12
    outcome = arm.answer(Passages("own", 60, 8, {"p": text}), "")
    last = arm.tokenizer.decode(arm.tokenizer(text)["input_ids"][28:60])
    assert outcome.outputs["p"] == pytest.approx(arm.answer(Passages("own", 32, 8, {"p": last}), "").outputs["p"])
    assert outcome.read.truncated == 1
    with pytest.raises(BenchmarkError, match="cannot predict 32"):
        arm.answer(Passages("own", 60, 32, {"p": text}), "")
    with pytest.raises(BenchmarkError, match="has 84 tokens, 90 are read"):
        arm.answer(Passages("own", 90, 8, {"p": text}), "")


def test_perplexity_is_measured_as_it_stands_and_extended(model: Any, decoder: str) -> None:
    found = list(evaluate(model, [Perplexity(passages=2, scored=8)], [24, 64], methods=["ntk", "yarn"]))
    nll = {(s.label, s.length): s for s in found if s.metric == "nll"}
    assert {label for label, _ in nll} == {"truncate 32", "ntk -> 64", "yarn -> 64"}
    assert nll["truncate 32", 24].truncated == 0
    assert nll["truncate 32", 64].truncated == 2
    assert nll["ntk -> 64", 64].truncated == 0
    likely = {(s.label, s.length): s.values for s in found if s.metric == "likelihood"}
    for cell, score in nll.items():
        assert likely[cell] == pytest.approx([math.exp(-value) for value in score.values], rel=1e-3)
    again = evaluate(model, [Perplexity(passages=2, scored=8)], [24, 64], methods=["ntk", "yarn"], known=found)
    assert list(again) == []


def test_prompts_are_fitted_with_the_models_own_tokenizer(model: Any, arm: Language) -> None:
    longer = longspan.load(model.config._name_or_path)
    longspan.extend(longer, 512, "ntk")
    (score,) = evaluate(longer, [LMPasskey(questions=4)], [512])
    assert score.metric == "acc"
    assert 256 < score.tokens <= 512
    made = LMPasskey(questions=4).examples(512, 0, arm.count)
    assert score.tokens == sum(arm.count(one.prompt) for one in made.questions.values()) / 4


@dataclass(frozen=True)
class Pictured:
    """Shows an image."""

    natural: ClassVar[bool] = True

    def examples(self, length: int | None, seed: int) -> Questions:
        return questions(Question("what is there?", ("a dog",), "a dog", images=("picture",)))

    def score(self, example: Question, output: str) -> dict[str, float]:
        return {"acc": float(output == example.gold)}


def test_what_a_model_cannot_answer_is_told_before_anything_is_measured(model: Any, minilm: Any) -> None:
    with pytest.raises(BenchmarkError, match="has no answers for passkey"):
        next(evaluate(model, "perplexity(passages=1, scored=8) + passkey", [64]))
    with pytest.raises(BenchmarkError, match="has no answers for lm_passkey"):
        next(evaluate(minilm, "lm_passkey", [512]))
    with pytest.raises(BenchmarkError, match="this model reads text only"):
        next(evaluate(model, [Pictured()], []))
