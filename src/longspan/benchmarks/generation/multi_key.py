"""Multi-key needles: the value of one key, where other keys have values of the same form."""

from __future__ import annotations

import random
from dataclasses import dataclass

from longspan.benchmarks.generation import _ruler
from longspan.benchmarks.generation._grow import Grown, Make
from longspan.benchmarks.generation._replies import string_match_all
from longspan.benchmarks.tasks import Question
from longspan.errors import BenchmarkError

CARD = {
    "title": "Multi-keys NIAH (RULER)",
    "source": "arXiv:2404.06654",
    "year": 2024,
    "authors": "Hsieh et al.",
    "task": "tell the magic number of a key, where every line states one of another key",
    "metrics": ("string_match_all",),
    "scope": "low",
    "diffusion": "high",
    "licence": "generated; haystack: public domain (Grant, Personal Memoirs, 1885)",
    "claim": "Yi-34B-200K drops by about 40 points at 256k when all lines are needles (section 5)",
    "caution": "keys and values are random: no language is understood; word lists are not RULER's",
    "aliases": ("niah_multikey", "multi_keys"),
}

_KINDS = ("words", "uuids")


@dataclass(frozen=True)
class MultiKey(Grown):
    """RULER's multi-key needles (Hsieh et al. 2024, niah_multikey_1 to _3).

    By default every line is "One of the special magic numbers for KEY is: VALUE." with a key of its own
    (niah_multikey_2). ``kind="uuids"`` makes keys and values UUIDs (niah_multikey_3); ``keys=4`` hides four such
    sentences in prose instead (niah_multikey_1).

    Attributes:
        questions: Prompts at each length (500 in RULER).
        depths: 0 for uniformly random places of the one asked for, k for k equally filled depths.
        keys: Needles in prose, 2 or more; 0 for needles alone.
        kind: words (and numbers) or uuids (both).
    """

    depths: int = 0
    keys: int = 0
    kind: str = "words"

    def __post_init__(self) -> None:
        """Check the counts and the kind of keys."""
        super().__post_init__()
        if self.keys < 0 or self.keys == 1:
            raise BenchmarkError(f"multi_key needs 2 keys in prose, got {self.keys}.", "keys=4, or keys=0 for no prose")
        if self.kind not in _KINDS:
            raise BenchmarkError(f"multi_key has no keys of kind {self.kind!r}.", "kind='words' or kind='uuids'")

    def score(self, example: Question, output: str) -> dict[str, float]:
        """1 where the value occurs in the reply."""
        return {"string_match_all": string_match_all(example.answers, output)}

    def _draw(self, rng: random.Random, aim: float) -> Make:
        values = "uuids" if self.kind == "uuids" else "numbers"
        draw = _ruler.keys(rng, self.kind)
        if not self.keys:
            return _ruler.among_needles(rng, values, draw(), _ruler.value(rng, values), aim, draw)
        keys = [draw() for _ in range(self.keys)]
        told = _ruler.values(rng, values, self.keys)
        needles = [_ruler.needle(values, key, one) for key, one in zip(keys, told, strict=True)]
        aims = [aim, *(rng.random() for _ in keys[1:])]
        return _ruler.in_prose(values, keys[0], told[:1], needles, aims)
