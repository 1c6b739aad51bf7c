"""A needle in a haystack for language models: which number does a sentence in prose tell?"""

from __future__ import annotations

import random
from dataclasses import dataclass

from longspan.benchmarks.generation import _ruler
from longspan.benchmarks.generation._grow import Grown, Make
from longspan.benchmarks.generation._replies import string_match_all
from longspan.benchmarks.tasks import Question
from longspan.errors import BenchmarkError

CARD = {
    "title": "Needle in a Haystack (RULER niah_single)",
    "source": "arXiv:2404.06654",
    "year": 2024,
    "authors": "Hsieh et al.",
    "task": "tell the magic number of a key, stated once in prose about something else",
    "metrics": ("string_match_all",),
    "scope": "low",
    "diffusion": "middle",
    "licence": "generated; haystack: public domain (Grant, Personal Memoirs, 1885)",
    "claim": "nearly all of the 10 models first tested are perfect on it at 4k to 128k (section 5)",
    "caution": "the needle is unlike the prose around it and easy to spot; essays and word lists are not RULER's, so "
    "compare models on this set, not with the paper",
    "aliases": ("niah_single", "lm_needle_in_a_haystack"),
}


@dataclass(frozen=True)
class LMNeedle(Grown):
    """Kamradt's test in the form RULER gave it (Hsieh et al. 2024, niah_single_2 and _3), which needs no judge.

    "One of the special magic numbers for KEY is: VALUE." stands between two sentences of Grant's Personal Memoirs,
    which begin again after 49,195 words. The key is adjective-noun; the value has seven digits, or is a UUID.

    Attributes:
        questions: Prompts at each length (500 in RULER).
        depths: 0 for uniformly random places, k for k equally filled depths.
        values: numbers (niah_single_2) or uuids (niah_single_3).
    """

    depths: int = 0
    values: str = "numbers"

    def __post_init__(self) -> None:
        """Check the counts and the kind of values."""
        super().__post_init__()
        if self.values not in ("numbers", "uuids"):
            raise BenchmarkError(f"lm_needle has no values {self.values!r}.", "values='numbers' or values='uuids'")

    def score(self, example: Question, output: str) -> dict[str, float]:
        """1 where the value occurs in the reply."""
        return {"string_match_all": string_match_all(example.answers, output)}

    def _draw(self, rng: random.Random, aim: float) -> Make:
        key, told = _ruler.keys(rng, "words")(), _ruler.value(rng, self.values)
        return _ruler.in_prose(self.values, key, [told], [_ruler.needle(self.values, key, told)], [aim])
