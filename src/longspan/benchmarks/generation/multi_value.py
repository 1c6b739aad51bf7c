"""Multi-value needles: all the values that one key has in prose."""

from __future__ import annotations

import random
from dataclasses import dataclass

from longspan.benchmarks.generation import _ruler
from longspan.benchmarks.generation._grow import Grown, Make
from longspan.benchmarks.generation._replies import string_match_all
from longspan.benchmarks.tasks import Question
from longspan.errors import BenchmarkError

CARD = {
    "title": "Multi-values NIAH (RULER)",
    "source": "arXiv:2404.06654",
    "year": 2024,
    "authors": "Hsieh et al.",
    "task": "tell all magic numbers of a key, each stated once in prose about something else",
    "metrics": ("string_match_all",),
    "scope": "low",
    "diffusion": "middle",
    "licence": "generated; haystack: public domain (Grant, Personal Memoirs, 1885)",
    "claim": "Yi-34B-200K often repeats a value instead of telling the whole set (section 5)",
    "caution": "the score is the share found, so three of four values still give 0.75",
    "aliases": ("niah_multivalue", "multi_values"),
}


@dataclass(frozen=True)
class MultiValue(Grown):
    """RULER's multi-value needles (Hsieh et al. 2024, niah_multivalue).

    Sentences "One of the special magic numbers for KEY is: VALUE." with one key and different values stand at
    uniformly random sentence starts of Grant's Personal Memoirs.

    Attributes:
        questions: Prompts at each length (500 in RULER).
        values: How many values the key has.
    """

    values: int = 4

    def __post_init__(self) -> None:
        """Check the counts."""
        super().__post_init__()
        if not 2 <= self.values <= 16:
            raise BenchmarkError(f"multi_value has 2 to 16 values, got {self.values}.", "values=4")

    def score(self, example: Question, output: str) -> dict[str, float]:
        """Share of the values that occur in the reply."""
        return {"string_match_all": string_match_all(example.answers, output)}

    def _draw(self, rng: random.Random, aim: float) -> Make:
        key, told = _ruler.keys(rng, "words")(), _ruler.values(rng, "numbers", self.values)
        needles = [_ruler.needle("numbers", key, one) for one in told]
        return _ruler.in_prose("numbers", key, told, needles, [aim, *(rng.random() for _ in told[1:])])
