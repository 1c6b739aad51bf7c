"""CNNSum: summaries of Chinese novels in four lengths."""

# ruff: noqa: RUF001 Chinese has marks of its own

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from longspan.benchmarks.collection import NaturalCollection, Order
from longspan.benchmarks.files import bad_line, text_of, write_lines
from longspan.benchmarks.rows import find, numbered, rows_of
from longspan.benchmarks.tasks import Question
from longspan.benchmarks.text_metrics import rouge
from longspan.errors import BenchmarkError, require

CARD = {
    "title": "CNNSum",
    "source": "arXiv:2412.02819",
    "year": 2024,
    "authors": "Wei et al.",
    "task": "summarise a part of a Chinese novel",
    "metrics": ("rouge_l",),
    "scope": "high",
    "diffusion": "low",
    "licence": "CC0-1.0",
    "claim": "695 excerpts with summaries by people, of 16k, 32k, 64k and 128k tokens (abstract)",
    "caution": "ROUGE-L prefers concise plot over comment; what a token is depends on the model: the lengths are "
    "those of the paper's tokenizer",
    "aliases": (),
}

_FILES = {"L": "cnnsum_L_16k", "XL": "cnnsum_XL_32k", "XXL": "cnnsum_XXL_64k", "XXXL": "cnnsum_XXXL_128k"}
TASKS = tuple(_FILES)
_LAYOUT = f"{', '.join(f'{name}.jsonl' for name in _FILES.values())}: context, summary"


@dataclass(frozen=True)
class CNNSum(NaturalCollection):
    """CNNSum (Wei et al. 2024): ROUGE-L F over the words that jieba cuts.

    Attributes:
        task: L (16k tokens), XL (32k), XXL (64k) or XXXL (128k), "" for the collection.
        folder: Folder with the published files (context, summary), or with them in ``data``.
        samples: Novels of each task, drawn by the seed; 0 for all.
        new_tokens: Tokens of the reply.
    """

    new_tokens: int = 512
    tasks: ClassVar[tuple[str, ...]] = TASKS

    def _drawn(self, order: Order) -> dict[str, Question]:
        if not self.folder:
            raise BenchmarkError(
                "cnnsum has its novels in the repository CxsGhost/CNNSum (git lfs), which is not loaded by itself.",
                f'cnnsum(folder="...") with {_LAYOUT}',
            )
        file = f"{_FILES[self.task]}.jsonl"
        asked = []
        for path, line, row in rows_of(find(self.folder, [file, f"data/{file}"]), "context, summary"):
            context, summary = (text_of(row, key, path, line).strip() for key in ("context", "summary"))
            if not context or not summary:
                raise bad_line(path, line, f"{'summary' if context else 'context'} is empty")
            prompt = f"请阅读下面这部小说的片段，然后写出它的摘要。只写摘要，不写别的。\n\n{context}\n\n摘要："
            asked.append(Question(prompt, (summary,), summary, self.new_tokens))
        return numbered(asked, self.samples, order)

    def score(self, example: Question, output: str) -> dict[str, float]:
        """ROUGE-L F of the words, the better of several summaries."""
        return {"rouge_l": rouge(output, example.answers, ("rougeL",), cut)["rougeL"]}


def cut(text: str) -> list[str]:
    """Words of a Chinese text.

    Raises:
        BenchmarkError: jieba is not installed.
    """
    jieba = require("jieba", "CNNSum", "lm")
    jieba.setLogLevel(logging.WARNING)
    return [word for word in jieba.lcut(text) if word.strip()]


def twin(folder: Path) -> None:
    """Write a small made-up set: two novels in each length, short ones."""
    folder.mkdir(parents=True, exist_ok=True)
    text = "春天来了，海上的冰化了，船长带着盐和木材出海。他把每一条船的名字都写在日记里。"
    for times, name in enumerate(_FILES.values(), start=2):
        rows = [
            {"context": text * 10 * times, "summary": "船长在春天出海，并写下每一条船的名字。"},
            {"context": f"老人住在灯塔里。{text * 8 * times}", "summary": "老人守着灯塔，船长运盐和木材。"},
        ]
        write_lines(folder / f"{name}.jsonl", rows)
