"""Key-value retrieval: the value of a UUID in a JSON object of UUIDs."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial

from longspan.benchmarks.generation._draws import fresh, uuid
from longspan.benchmarks.generation._grow import Grown, Make, endless, scatter, share
from longspan.benchmarks.tasks import Question

CARD = {
    "title": "Key-Value Retrieval (Lost in the Middle)",
    "source": "arXiv:2307.03172",
    "year": 2023,
    "authors": "Liu et al.",
    "task": "tell the value of a key in a JSON object of random keys and values",
    "metrics": ("acc",),
    "scope": "low",
    "diffusion": "low",
    "licence": "generated; template as printed in the paper",
    "claim": "with 140 and 300 pairs most models are worst where the key stands in the middle (Figure 7)",
    "caution": "exact matching of random digits: no language is understood; a UUID costs 20 to 36 tokens",
    "aliases": ("kv_retrieval", "lost_in_the_middle_kv"),
}


@dataclass(frozen=True)
class KeyValue(Grown):
    """Lost in the Middle's key-value retrieval (Liu et al. 2023, section 4 and Figure 6), fitted to a length.

    Attributes:
        questions: Prompts at each length (500 in the paper).
        depths: 0 for uniformly random places, k for k equally filled depths.
    """

    depths: int = 0

    def score(self, example: Question, output: str) -> dict[str, float]:
        """1 where the value occurs in the reply, case ignored."""
        return {"acc": float(example.answers[0].lower() in output.lower())}

    def _draw(self, rng: random.Random, aim: float) -> Make:
        draw = partial(fresh, lambda _: uuid(rng), set())
        key, value = draw(), draw()
        first = endless(lambda: f'"{draw()}": "{draw()}"')

        def make(pairs: int) -> Question:
            data = ",\n ".join(scatter(first(pairs), [f'"{key}": "{value}"'], [aim]))
            prompt = (
                "Extract the value corresponding to the specified key in the JSON object below.\n\n"
                f'JSON data:\n{{{data}}}\n\nKey: "{key}"\nCorresponding value:'
            )
            return Question(prompt, (value,), value, new_tokens=100, depth=share(aim, pairs))

        return make
