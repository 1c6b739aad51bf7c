"""Variable tracking: which variables have a value, through a chain of assignments in filler?"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import pairwise

from longspan.benchmarks.generation._draws import fresh, whole
from longspan.benchmarks.generation._grow import Grown, Make, scatter, share
from longspan.benchmarks.generation._replies import string_match_all
from longspan.benchmarks.tasks import Question
from longspan.errors import BenchmarkError

CARD = {
    "title": "Variable Tracking (RULER)",
    "source": "arXiv:2404.06654",
    "year": 2024,
    "authors": "Hsieh et al.",
    "task": "name all variables that a chain of assignments gives one value",
    "metrics": ("string_match_all",),
    "scope": "low",
    "diffusion": "high",
    "licence": "generated; template and filler as printed in the paper",
    "claim": "Yi-34B-200K loses more the more chains and hops there are, most at lengths above 128k (section 5)",
    "caution": "the score is the share named; a model that lists every variable of a single chain needs no tracking",
    "aliases": ("vt",),
}

_FILLER = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
_SHOT_UNITS = 10  # what fits RULER's 500 tokens for the example that it puts before the question


@dataclass(frozen=True)
class VariableTracking(Grown):
    """RULER's variable tracking (Hsieh et al. 2024, section 3 and appendix B).

    "VAR X1 = 12345", "VAR X2 = VAR X1" ... stand in this order among lines of filler; the question asks for all
    variables that have the first chain's value. An example with shorter names and its answer comes first. Here each
    statement has a line of its own.

    Attributes:
        questions: Prompts at each length (500 in RULER).
        chains: Chains of assignments, the first of which is asked for.
        hops: Assignments of a chain after the first, so it has hops + 1 variables.
        shots: Examples before the question, 0 or 1.
    """

    chains: int = 1
    hops: int = 4
    shots: int = 1

    def __post_init__(self) -> None:
        """Check the counts."""
        super().__post_init__()
        if not (1 <= self.chains <= 16 and 1 <= self.hops <= 16 and self.shots in (0, 1)):
            raise BenchmarkError(
                f"variable_tracking has no chains={self.chains}, hops={self.hops}, shots={self.shots}.",
                "1 to 16 chains, 1 to 16 hops, 0 or 1 shots",
            )

    def score(self, example: Question, output: str) -> dict[str, float]:
        """Share of the variables that occur in the reply."""
        return {"string_match_all": string_match_all(example.answers, output)}

    def _draw(self, rng: random.Random, aim: float) -> Make:
        shown = ""
        if self.shots:
            ask = self._chains(rng, rng.random(), letters=3)
            shown = f"{ask(_SHOT_UNITS).prompt} {ask(_SHOT_UNITS).gold}\n\n"
        return self._chains(rng, aim, letters=5, shown=shown)

    def _chains(self, rng: random.Random, aim: float, letters: int, shown: str = "") -> Make:
        seen: set[str] = set()
        numbers: set[str] = set()
        statements: list[str] = []
        aims: list[float] = []
        chains = [
            [fresh(lambda _: _name(rng, letters), seen) for _ in range(self.hops + 1)] for _ in range(self.chains)
        ]
        values = [fresh(lambda _: str(whole(rng, 10_000, 99_999)), numbers) for _ in chains]
        for chain, value in zip(chains, values, strict=True):
            statements.append(f"VAR {chain[0]} = {value}")
            statements += [f"VAR {new} = VAR {old}" for old, new in pairwise(chain)]
            places = [rng.random() for _ in chain]
            if not aims:
                places[0] = aim
            aims += sorted(places)
        depth, answers, value = aims[0], tuple(chains[0]), values[0]

        def make(lines: int) -> Question:
            context = "\n".join(scatter([_FILLER] * lines, statements, aims))
            prompt = (
                f"{shown}Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n"
                f"{context}\nQuestion: Find all variables that are assigned the value {value} in the text above. "
                f"Answer: According to the chain(s) of variable assignment in the text above, {len(answers)} "
                f"variables are assgined the value {value}, they are:"  # "assgined" as published
            )
            return Question(prompt, answers, " ".join(answers), new_tokens=30, depth=share(depth, lines))

        return make


def _name(rng: random.Random, letters: int) -> str:
    return "".join(chr(ord("A") + int(rng.random() * 26)) for _ in range(letters))
