"""Free-Form QA: a question to a long page, answered in the page's own words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from longspan.benchmarks.tasks import Count, Question, Questions, usual_count
from longspan.benchmarks.text_metrics import presence
from longspan.benchmarks.wikiqa import Asked, write_twin

CARD = {
    "title": "WikiQA Free-Form QA (Giraffe)",
    "source": "arXiv:2308.10882",
    "year": 2023,
    "authors": "Pal et al.",
    "task": "answer a question in the words of the sentence of a long page that tells it",
    "metrics": ("presence_accuracy",),
    "scope": "low",
    "diffusion": "middle",
    "licence": "Apache-2.0; documents: Wikipedia, CC BY-SA",
    "claim": "prompts at 2k, 4k, 8k and 16k, of 1,937 to 15,000 tokens on average (data set card)",
    "caution": "the page may have been in the training data: altered_numeric_qa tells reading from remembering",
    "aliases": ("ffqa", "wikiqa_free_form_qa"),
}


@dataclass(frozen=True)
class FreeFormQA:
    """Giraffe's FFQA (Pal et al. 2023, section 3).

    Attributes:
        folder: Folder with documents.jsonl (document, question, answer), "" for the hub's prompts of 2048, 4096,
            8192 and 16384 tokens.
        question: Where the question stands: first (10 %), bulk, or last: after the document.
        answer: Where the sentence with the answer stands: first, bulk, last, or any for each in turn.
        samples: Questions, drawn by the seed; 0 for all.
        new_tokens: Tokens of the reply.
    """

    folder: str = ""
    question: str = "last"
    answer: str = "any"
    samples: int = 50
    new_tokens: int = 32

    def __post_init__(self) -> None:
        """Check the places and the counts."""
        self._asked().check()

    def examples(self, length: int | None, seed: int, count: Count = usual_count) -> Questions:
        """Build the set.

        Args:
            length: Tokens of prompt and reply. Documents that are too short for it are left out.
            seed: Draws the questions and the places.
            count: The model's tokenizer.

        Raises:
            BenchmarkError: The data are missing or damaged, or no document is long enough.
        """
        return self._asked().examples(length, seed, count, lambda fact, _: fact)

    def score(self, example: Question, output: str) -> dict[str, float]:
        """1 where the answer is a substring of the reply."""
        return {"presence_accuracy": presence(output, example.answers)}

    def _asked(self) -> Asked:
        return Asked(
            "free_form_qa",
            "abacusai/WikiQA-Free_Form_QA",
            self.folder,
            self.question,
            self.answer,
            self.samples,
            self.new_tokens,
        )


def twin(folder: Path) -> None:
    """Write a small made-up set."""
    write_twin(folder)
