"""Passkey retrieval for language models: which number stands in the filler?"""

from __future__ import annotations

import random
from dataclasses import dataclass

from longspan.benchmarks.generation._draws import whole
from longspan.benchmarks.generation._grow import Grown, Make
from longspan.benchmarks.generation._replies import first_integer
from longspan.benchmarks.tasks import Question

CARD = {
    "title": "Passkey Retrieval (language models)",
    "source": "arXiv:2305.16300",
    "year": 2023,
    "authors": "Mohtashami & Jaggi",
    "task": "tell the pass key that is hidden in repeated filler",
    "metrics": ("acc",),
    "scope": "low",
    "diffusion": "low",
    "licence": "generated; template and filler as printed in the paper",
    "claim": "LLaMA-7B tuned with landmark tokens finds the key with 98% accuracy at 32k tokens (section 4.2)",
    "caution": "one number in filler that repeats: shows that far tokens are read, not that long texts are understood",
    "aliases": ("landmark_passkey",),
}

_FILLER = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again. "
_TASK = (
    "There is an important info hidden inside a lot of irrelevant text. Find it and memorize them. I will quiz you "
    "about the important information there."
)
_ASKED = "What is the pass key? The pass key is"


@dataclass(frozen=True)
class LMPasskey(Grown):
    """Landmark Attention's passkey test (Mohtashami & Jaggi 2023, section 4.2), fitted to a length in tokens.

    Five lines: the task, filler, "The pass key is KEY. Remember it. KEY is the pass key.", filler from its start
    again, and the question, which ends with "The pass key is". Filler is counted in characters, as published; the key
    is uniform in 1..50000.

    Attributes:
        questions: Prompts at each length.
        depths: 0 for uniformly random places (as published), k for k equally filled depths.
    """

    depths: int = 0

    def score(self, example: Question, output: str) -> dict[str, float]:
        """1 where the first integer of the reply is the key."""
        return {"acc": float(first_integer(output) == int(example.answers[0]))}

    def _draw(self, rng: random.Random, aim: float) -> Make:
        key = str(whole(rng, 1, 50_000))
        needle = f"The pass key is {key}. Remember it. {key} is the pass key."

        def make(characters: int) -> Question:
            stream = _FILLER * (characters // len(_FILLER) + 1)
            before = int(aim * (characters + 1))
            prompt = "\n".join((_TASK, stream[:before], needle, stream[: characters - before], _ASKED))
            return Question(prompt, (key,), key, new_tokens=10, depth=before / characters if characters else 0.0)

        return make
