"""What is measured on questions and passages: a causal language model, extended or not."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from longspan import spec
from longspan.benchmarks.tasks import Passages, Question, Questions
from longspan.encoding.refusals import check_rows
from longspan.errors import BenchmarkError
from longspan.evaluation.measurement import Outcome, model_facts, planned, read_of
from longspan.extension import plan_of
from longspan.inspection import inspect
from longspan.planning import Plan
from longspan.seams import anatomy
from longspan.tokenizer import own, tokens_of

_BATCH_TOKENS = 8192


class Language:
    """A causal language model, its tokenizer, and the plan that a twin of it is extended by meanwhile.

    A prompt longer than the window loses its middle, as in LongBench's released code (Bai et al. 2023): the
    instruction before and the question behind it stay. How many did is part of the score.

    Args:
        model: A causal language model of transformers; it is never changed.
        tokenizer: Its tokenizer, of which a copy is used.
        made: What to extend a twin of the model by to measure it; None to measure the model as it is.
    """

    answers = (Questions, Passages)

    def __init__(self, model: Any, tokenizer: Any, made: Plan | None) -> None:
        self.model, self.tokenizer, self.made = model, own(tokenizer), made
        self._rows = anatomy.word_rows(model)
        plan = made or plan_of(model)
        self.window = plan.length if plan else inspect(model).window
        self.facts = {
            **model_facts(model, f"torch {str(anatomy.transformer(model).dtype).removeprefix('torch.')}"),
            "strategy": "extend" if plan else "truncate",
            "plan": (spec.short(plan.methods) or "none") if plan else "",
            "window": self.window,
        }
        self.label = self.facts["plan"] or "truncate"

    def count(self, text: str) -> int:
        """Tokens of a text, those that the tokenizer adds included."""
        return len(self._ids(text))

    def _ids(self, text: str, **options: Any) -> list[int]:
        found: list[int] = tokens_of(self.tokenizer, text, **options)["input_ids"]
        check_rows(found, self._rows)
        return found

    @torch.inference_mode()
    def answer(self, examples: Questions | Passages, title: str) -> Outcome:
        """The reply to each question, or the log-probabilities of the tokens of each passage."""
        model = planned(self.model, self.made)
        if isinstance(examples, Passages):
            return self._predict(model, examples, title)
        return self._reply(model, examples, title)

    def _reply(self, model: Any, examples: Questions, title: str) -> Outcome:
        start = time.perf_counter()
        questions = examples.questions
        if pictured := [name for name, question in questions.items() if question.images]:
            raise BenchmarkError(
                f"{examples.name} shows images ({pictured[0]}); this model reads text only.",
                "score the replies of a vision model with the benchmark's score(question, reply)",
            )
        ids = {name: self._ids(question.prompt) for name, question in questions.items()}
        read = {name: self._fit(ids[name], questions[name]) for name in questions}
        replies: dict[str, str] = {}
        order = sorted(questions, key=lambda name: (len(read[name]), name))
        with tqdm(total=len(order), desc=title, unit="question", disable=not title) as bar:
            for batch in _batches(order, read, questions):
                if questions[batch[0]].choices:
                    replies[batch[0]] = self._choose(model, read[batch[0]], questions[batch[0]].choices)
                else:
                    replies.update(zip(batch, self._write(model, batch, read, questions), strict=True))
                bar.update(len(batch))
        account = read_of(
            [question.prompt for question in questions.values()],
            [len(one) for one in ids.values()],
            [len(one) for one in read.values()],
        )
        return Outcome({name: replies[name] for name in questions}, time.perf_counter() - start, account)

    def _fit(self, ids: list[int], question: Question) -> list[int]:
        reply = max((self.count(text) for text in question.choices), default=question.new_tokens)
        room = self.window - reply
        if room < 2:
            raise BenchmarkError(
                f"A reply of {reply} tokens leaves no room in a window of {self.window}.",
                f"use a window of {reply + 2} tokens or more",
            )
        return ids if len(ids) <= room else [*ids[: room - room // 2], *ids[len(ids) - room // 2 :]]

    def _write(
        self, model: Any, batch: Sequence[str], read: dict[str, list[int]], questions: dict[str, Question]
    ) -> list[str]:
        width = max(len(read[name]) for name in batch)
        pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.tokenizer.eos_token_id
        ids = torch.tensor([[pad or 0] * (width - len(read[name])) + read[name] for name in batch])
        mask = torch.tensor([[0] * (width - len(read[name])) + [1] * len(read[name]) for name in batch])
        written = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            max_new_tokens=questions[batch[0]].new_tokens,
            do_sample=False,
            pad_token_id=pad or 0,
            logits_processor=[_check_numbers],
        )
        texts = self.tokenizer.batch_decode(written[:, width:], skip_special_tokens=True)
        return [_until(text, questions[name].stop) for name, text in zip(batch, texts, strict=True)]

    def _choose(self, model: Any, ids: list[int], choices: Sequence[str]) -> str:
        """The choice whose tokens are likeliest in sum."""
        likely = []
        for choice in choices:
            added = self._ids(choice, add_special_tokens=False)
            likely.append(sum(_log_probabilities(model, [*ids, *added], len(added))) if added else -float("inf"))
        return choices[max(range(len(choices)), key=likely.__getitem__)]

    def _predict(self, model: Any, examples: Passages, title: str) -> Outcome:
        start = time.perf_counter()
        if examples.scored >= self.window:
            raise BenchmarkError(
                f"A window of {self.window} tokens cannot predict {examples.scored} of its tokens.",
                f"score at most {self.window - 1}",
            )
        ids = {name: self._ids(text)[: examples.length] for name, text in examples.texts.items()}
        if short := [name for name, one in ids.items() if len(one) < examples.length]:
            raise BenchmarkError(
                f"{examples.name}: passage {short[0]} has {len(ids[short[0]])} tokens, {examples.length} are read.",
                "count its tokens with this model's tokenizer",
            )
        # What does not fit is what is furthest away from the tokens that are predicted.
        read = {name: one[-self.window :] for name, one in ids.items()}
        found = {
            name: _log_probabilities(model, one, examples.scored)
            for name, one in tqdm(read.items(), desc=title, unit="passage", disable=not title)
        }
        texts = [self.tokenizer.decode(one) for one in ids.values()]
        account = read_of(texts, [len(one) for one in ids.values()], [len(one) for one in read.values()])
        return Outcome(found, time.perf_counter() - start, account)


def _log_probabilities(model: Any, ids: list[int], scored: int) -> list[float]:
    """Those of the last ``scored`` tokens, given all before them [nats]."""
    row = torch.tensor([ids], device=model.device)
    logits = model(input_ids=row, logits_to_keep=scored + 1).logits[0, -scored - 1 : -1].float()
    _check_numbers(row, logits)
    found: list[float] = logits.log_softmax(-1).gather(1, row[0, -scored:, None])[:, 0].tolist()
    return found


def _check_numbers(ids: Tensor, logits: Tensor) -> Tensor:
    """The logits behind ids, as they are; a rule of ``generate``.

    Raises:
        BenchmarkError: A model that gives no numbers would be given a score all the same.
    """
    if logits.isnan().any():
        raise BenchmarkError(
            f"The model's logits are not numbers after {ids.shape[-1]} tokens.",
            "use float32 or bfloat16, whose range is wider than float16's; or look for nan in the model's weights",
        )
    return logits


def _batches(order: Sequence[str], read: dict[str, list[int]], questions: dict[str, Question]) -> list[list[str]]:
    """Questions of about the same length, the longest first, so that a batch that is too large is told at once."""
    batches: list[list[str]] = []
    for name in reversed(order):
        last = batches[-1] if batches else []
        fits = (
            last
            and not questions[name].choices
            and questions[last[0]].new_tokens == questions[name].new_tokens
            and (len(last) + 1) * len(read[last[0]]) <= _BATCH_TOKENS
        )
        last.append(name) if fits else batches.append([name])
    return batches


def _until(text: str, stop: Sequence[str]) -> str:
    ends = [place for mark in stop if (place := text.find(mark)) >= 0]
    return text[: min(ends)] if ends else text
