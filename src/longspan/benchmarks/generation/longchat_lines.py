"""LongChat lines: the number in the line of a given name."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial

from longspan.benchmarks.generation._draws import fresh, whole, words
from longspan.benchmarks.generation._grow import Grown, Make, endless, scatter, share
from longspan.benchmarks.generation._replies import first_integer
from longspan.benchmarks.tasks import Question

CARD = {
    "title": "LongChat-Lines (LongEval line retrieval)",
    "source": "https://lmsys.org/blog/2023-06-29-longchat",
    "year": 2023,
    "authors": "Li et al.",
    "task": "tell the number in the line of a given name, among lines of the same form",
    "metrics": ("acc",),
    "scope": "low",
    "diffusion": "low",
    "licence": "generated; template as published (Apache-2.0), own names",
    "claim": "perplexity is a less fine-grained measure of long-context performance than such tasks (arXiv:2308.10882, "
    "abstract, which extends the lines to about 25k tokens)",
    "caution": "random names and numbers: no language is understood; the question has no words that begin the answer, "
    "so a model without instruction tuning may not answer at all",
    "aliases": ("longeval_lines", "line_retrieval"),
}

_HEAD = (
    "Below is a record of lines I want you to remember. Each line begins with 'line <line index>' and contains a "
    "'<REGISTER_CONTENT>' at the end of the line as a numerical value. For each line index, memorize its corresponding "
    "<REGISTER_CONTENT>. At the end of the record, I will ask you to retrieve the corresponding <REGISTER_CONTENT> of "
    "a certain line index. Now the record start:\n\n"
)


@dataclass(frozen=True)
class LongChatLines(Grown):
    """LongEval's line retrieval (Li et al. 2023), fitted to a length and judged as Giraffe does (Pal et al. 2023).

    Lines "line quiet-lamp: REGISTER_CONTENT is <1234>" with different names and numbers uniform in 1..50000; the
    first integer of the reply is taken (LongEval takes the last).

    Attributes:
        questions: Prompts at each length.
        depths: 0 for uniformly random places (as published), k for k equally filled depths.
    """

    depths: int = 0

    def score(self, example: Question, output: str) -> dict[str, float]:
        """1 where the first integer of the reply is the line's number."""
        return {"acc": float(first_integer(output) == int(example.answers[0]))}

    def _draw(self, rng: random.Random, aim: float) -> Make:
        seen: set[str] = set()

        def line(name: str, number: int) -> str:
            return f"line {name}: REGISTER_CONTENT is <{number}>\n"

        draw = partial(fresh, partial(words, rng), seen)
        name, number = draw(), whole(rng, 1, 50_000)
        first = endless(lambda: line(draw(), whole(rng, 1, 50_000)))
        asked = f"\nNow the record is over. Tell me what is the <REGISTER_CONTENT> in line {name}? I need the number."

        def make(lines: int) -> Question:
            record = "".join(scatter(first(lines), [line(name, number)], [aim]))
            told = str(number)
            return Question(_HEAD + record + asked, (told,), told, new_tokens=100, depth=share(aim, lines))

        return make
