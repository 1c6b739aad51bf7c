"""Altered Numeric QA: a question whose numeric answer no model can have learnt by heart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import ClassVar

from longspan.benchmarks.wikiqa import Fact, WikiQA, write_twin

CARD = {
    "title": "WikiQA Altered Numeric QA (Giraffe)",
    "source": "arXiv:2308.10882",
    "year": 2023,
    "authors": "Pal et al.",
    "task": "tell a number that a long page states, after all its numbers were replaced",
    "metrics": ("presence_accuracy",),
    "scope": "low",
    "diffusion": "middle",
    "licence": "Apache-2.0; documents: Wikipedia, CC BY-SA",
    "claim": "456 prompts at each of 2k, 4k, 8k and 16k, of 1,954 to 15,013 tokens on average (data set card)",
    "caution": "a short number may stand in a reply by accident, and counts then",
    "aliases": ("alt_qa", "wikiqa_altered_numeric_qa"),
}

_NUMBER = re.compile(r"\d+")
_FIRST_YEAR, _LAST_YEAR, _MOVE = 1000, 2100, 10


@dataclass(frozen=True)
class AlteredNumericQA(WikiQA):
    """Giraffe's AltQA (Pal et al. 2023, section 3): what the page says, not what the model remembers.

    Every number of the page is replaced, the same one by the same one: a year from 1000 to 2100 moves by 1 to 10,
    any other becomes another number of as many digits. So are those of the answer, and of the question, which
    would otherwise ask for what the page no longer says. Questions without a number in the answer are left out.

    Attributes:
        folder: Folder with documents.jsonl (document, question, answer), "" for the hub's prompts of 2048, 4096,
            8192 and 16384 tokens.
        question: Where the question stands: first (10 %), bulk, or last: after the document.
        answer: Where the sentence with the answer stands: first, bulk, last, or any for each in turn.
        samples: Questions, drawn by the seed; 0 for all.
        new_tokens: Tokens of the reply.
    """

    repository: ClassVar[str] = "abacusai/WikiQA-Altered_Numeric_QA"

    def _altered(self, fact: Fact, rng: Random) -> Fact | None:
        return alter(fact, rng)


def alter(fact: Fact, rng: Random) -> Fact | None:
    """A fact with all its numbers replaced, None where its answer has none.

    Args:
        fact: Document, question and answer.
        rng: Draws the new numbers, in the order in which the old ones first occur.
    """
    document, question, answer = fact
    new: dict[str, str] = {}
    for old in _NUMBER.findall("\n".join((document, question))):
        if old not in new:
            new[old] = _other(old, rng)

    numbers = _NUMBER.findall(answer)
    if not numbers or not all(number in new for number in numbers):
        return None  # no number, or only a part of one that the page has

    def replace(text: str) -> str:
        return _NUMBER.sub(lambda match: new[match[0]], text)

    return replace(document), replace(question), replace(answer)


def _other(old: str, rng: Random) -> str:
    if len(old) == len(str(_FIRST_YEAR)) and _FIRST_YEAR <= int(old) <= _LAST_YEAR:
        move = 1 + int(rng.random() * _MOVE)
        return str(int(old) + (move if rng.random() < 0.5 else -move))
    first = 0 if len(old) == 1 else 1
    while True:
        digits = [str(first + int(rng.random() * (10 - first))), *(str(int(rng.random() * 10)) for _ in old[1:])]
        if (number := "".join(digits)) != old:
            return number


def twin(folder: Path) -> None:
    """Write a small made-up set."""
    write_twin(folder)
