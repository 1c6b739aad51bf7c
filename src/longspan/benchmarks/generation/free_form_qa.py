"""Free-Form QA: a question to a long page, answered in the page's own words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from longspan.benchmarks.wikiqa import WikiQA, write_twin

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
class FreeFormQA(WikiQA):
    """Giraffe's FFQA (Pal et al. 2023, section 3).

    Attributes:
        folder: Folder with documents.jsonl (document, question, answer), "" for the hub's prompts of 2048, 4096,
            8192 and 16384 tokens.
        question: Where the question stands: first (10 %), bulk, or last: after the document.
        answer: Where the sentence with the answer stands: first, bulk, last, or any for each in turn.
        samples: Questions, drawn by the seed; 0 for all.
        new_tokens: Tokens of the reply.
    """

    repository: ClassVar[str] = "abacusai/WikiQA-Free_Form_QA"


def twin(folder: Path) -> None:
    """Write a small made-up set."""
    write_twin(folder)
