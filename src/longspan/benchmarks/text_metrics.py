"""Metrics of replies: exact, by tokens, by substrings, by ROUGE."""

from __future__ import annotations

import math
import string
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

from longspan.errors import require

Words = Callable[[str], Sequence[str]]
"""The words of a text."""


def normalise(text: str) -> str:
    """A text in lower case, without punctuation and articles, with single spaces (Rajpurkar et al. 2016).

    A text of nothing else keeps them, or no reply could match it.
    """
    words = "".join(c for c in text.lower() if c not in string.punctuation).split()
    kept = [word for word in words if word not in ("a", "an", "the")]
    return " ".join(kept or words or text.lower().split())


def token_f1(reply: str, answers: Iterable[str]) -> float:
    """F1 of the words that reply and answer share, counted as often as they occur, for the best answer [0..1].

    F1 = 2 shared / (words of the reply + words of the answer), after ``normalise``.
    """
    return max((_f1(normalise(reply).split(), normalise(answer).split()) for answer in answers), default=0.0)


def _f1(told: list[str], right: list[str]) -> float:
    shared = sum((Counter(told) & Counter(right)).values())
    return 2 * shared / (len(told) + len(right)) if shared else 0.0


def best_subspan_em(reply: str, answers: Iterable[str]) -> float:
    """1 where a normalised answer stands in the reply's normalised first line (Liu et al. 2023), else 0."""
    lines = reply.strip().splitlines()
    told = normalise(lines[0]) if lines else ""
    return float(any(right in told for right in map(normalise, answers) if right))


def presence(reply: str, answers: Iterable[str]) -> float:
    """1 where an answer is a substring of the reply, as it is written (Pal et al. 2023), else 0."""
    return float(any(answer in reply for answer in answers if answer))


def first_line(reply: str) -> str:
    """The first line of a reply that holds something."""
    return next((line.strip() for line in reply.splitlines() if line.strip()), "")


def rouge(
    reply: str, answers: Iterable[str], kinds: tuple[str, ...] = ("rougeL",), words: Words | None = None
) -> dict[str, float]:
    """ROUGE F for the best answer of each kind (Lin 2004; package ``rouge-score``).

    ROUGE-n: F1 of the n-grams that both have. ROUGE-L: F1 of the longest common subsequence of words.

    Args:
        reply: What was told.
        answers: What is right.
        kinds: rouge1, rouge2, rougeL.
        words: How to cut a text; None for the package's own way, runs of a-z and 0-9 in lower case.

    Returns:
        Kind to F [0..1].

    Raises:
        BenchmarkError: The package is not installed.
    """
    scorer = _scorer(kinds, words)
    best = dict.fromkeys(kinds, 0.0)
    for answer in answers:
        found = scorer.score(answer, reply)
        best = {kind: max(best[kind], float(found[kind].fmeasure)) for kind in kinds}
    return best


def rouge_mean(reply: str, answers: Sequence[str]) -> float:
    """Geometric mean of ROUGE-1, ROUGE-2 and ROUGE-L (Shaham et al. 2022), each for the best answer [0..1].

    ROUGE-2 is left out where no answer has two words: a right reply would score 0 in it.
    """
    found = list(rouge(reply, answers, ("rouge1", "rougeL")).values())
    # Each answer against itself tells whether it has two words for the package.
    if any(rouge(answer, (answer,), ("rouge2",))["rouge2"] for answer in answers):
        found += rouge(reply, answers, ("rouge2",)).values()
    return float(math.prod(found) ** (1 / len(found)))


@cache
def _scorer(kinds: tuple[str, ...], words: Words | None) -> Any:
    scorer = require("rouge_score.rouge_scorer", "ROUGE", "lm")
    return scorer.RougeScorer(list(kinds), use_stemmer=False, tokenizer=_Tokenizer(words) if words else None)


class _Tokenizer:
    """What ``rouge-score`` expects of a tokenizer."""

    def __init__(self, words: Words) -> None:
        self.tokenize = words
