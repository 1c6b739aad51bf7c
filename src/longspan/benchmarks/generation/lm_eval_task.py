"""Any task of lm-evaluation-harness that writes or chooses a reply: RULER, LongBench v2, BABILong and the others."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from longspan.benchmarks import harness
from longspan.benchmarks.files import write_lines
from longspan.benchmarks.haystack import generator, permutation
from longspan.benchmarks.rows import check_natural, check_samples
from longspan.benchmarks.tasks import Count, Question, Questions, usual_count
from longspan.errors import BenchmarkError

CARD = {
    "title": "lm-evaluation-harness, one task",
    "source": "https://github.com/EleutherAI/lm-evaluation-harness",
    "year": 2021,
    "authors": "Gao et al.",
    "task": "whatever a task of lm-eval asks, with its prompt, its settings and its main metric",
    "metrics": ("score",),
    "scope": "middle",
    "diffusion": "high",
    "licence": "MIT (code); each task's own (data)",
    "claim": "none: the tasks are other people's benchmarks",
    "caution": "only metrics of a single reply; of a multiple-choice task accuracy by total log-likelihood. Scope and "
    "diffusion are those of the default task",
    "aliases": ("lm_eval",),
}


@dataclass(frozen=True)
class LMEvalTask:
    """A task of lm-eval (Gao et al.; package ``lm-eval``) of the kind generate_until or multiple_choice.

    RULER's tasks (niah_single_1, niah_multikey_2, ruler_cwe, ruler_fwe, ruler_vt and others) make their data to a
    length in the model's own tokens, so they need the tokenizer's path and 500 samples' time.

    Attributes:
        task: Its name in lm-eval.
        folder: Folder with <task>.jsonl in the task's own columns, "" for the hub or the task's own generator.
        tokenizer: Path or name of the tokenizer of a task that is made to a length, "" for all others.
        samples: Questions, drawn by the seed; 0 for all.
    """

    task: str = "longbench2_govt_single"
    folder: str = ""
    tokenizer: str = ""
    samples: int = 0

    def __post_init__(self) -> None:
        """Check the count, and that a folder and a tokenizer do not meet."""
        check_samples("lm_eval_task", self.samples)
        if self.folder and self.tokenizer:
            raise BenchmarkError(
                f"The rows of {self.folder} have their lengths, so the tokenizer would have no effect.",
                'tokenizer="" with a folder',
            )

    @property
    def natural(self) -> bool:
        """Whether the prompts have a length of their own."""
        return not self.tokenizer

    def examples(self, length: int | None, seed: int, count: Count = usual_count) -> Questions:
        """Build the set.

        Args:
            length: Tokens of prompt and reply with ``tokenizer``, else None.
            seed: Draws the questions where there are fewer than all; a task that makes its data has its own seed.
            count: Not needed: the task counts itself.

        Raises:
            BenchmarkError: lm-eval, the task or its data are missing, or the length does not fit the task.
        """
        if self.natural:
            check_natural(f"lm_eval_task({self.task!r})", length)
        elif length is None:
            raise BenchmarkError(f"The task {self.task} is made to a length.", "length=4096, say")
        rng = generator(f"lm_eval_task_{self.task}", seed, length)
        asked = harness.questions(self._source(length), self.samples, lambda n: permutation(n, rng))
        return Questions(f"lm_eval_{self.task}", length, asked)

    def score(self, example: Question, output: str) -> dict[str, float]:
        """The task's own main metric."""
        return {"score": harness.score(self._source(example.facts["doc"].get("max_length")), example, output)}

    def _source(self, length: int | None) -> harness.Source:
        told = {"tokenizer": self.tokenizer, "max_seq_lengths": [length]} if self.tokenizer else {}
        return harness.Source(self.task, self.folder, self.task, (), json.dumps(told))


def twin(folder: Path) -> None:
    """Write a small made-up set for the default task."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "context": f"{'The tide came in and went out. ' * (20 + i)}{told} {'The boats were green. ' * (25 - i)}",
            "question": "What does the council decide?",
            "choices": ["To mend the bridge", "To sell the mill", "To widen the harbour", "Nothing"],
            "answer": answer,
        }
        for i, (told, answer) in enumerate(
            (
                ("The council decided to mend the bridge.", "A"),
                ("By eight votes the council sold the mill.", "B"),
                ("The council wants a wider harbour, and that at once.", "C"),
            )
        )
    ]
    write_lines(folder / "longbench2_govt_single.jsonl", rows)
