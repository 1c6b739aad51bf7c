"""LooGLE: questions, gaps and summaries over documents of more than 24,000 tokens."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from longspan.benchmarks.collection import NaturalCollection, Order
from longspan.benchmarks.files import bad_line, text_of, write_lines
from longspan.benchmarks.rows import hub_rows, numbered, rows_of
from longspan.benchmarks.tasks import Question
from longspan.benchmarks.text_metrics import rouge

CARD = {
    "title": "LooGLE",
    "source": "arXiv:2311.04939",
    "year": 2023,
    "authors": "Li et al.",
    "task": "answer questions with near or far evidence, fill masked names, and summarise, over one long document",
    "metrics": ("score", "partial"),
    "scope": "high",
    "diffusion": "high",
    "licence": "MIT",
    "claim": "documents of more than 24k tokens from after 2022, some 6,000 questions (abstract)",
    "caution": "word overlap says little of free answers; the paper's main figures are a judge model's. "
    "Short-dependency questions have low scope",
    "aliases": (),
}

TASKS = ("longdep_qa", "shortdep_qa", "shortdep_cloze", "longdep_summarization")
_LAYOUT = "<task>.jsonl: input, qa_pairs (objects with Q and A), output"


@dataclass(frozen=True)
class LooGLE(NaturalCollection):
    """LooGLE (Li et al. 2023) with its automatic metrics.

    ==============================================  ==============================  ===============================
    task                                            score                           partial
    ==============================================  ==============================  ===============================
    longdep_qa, shortdep_qa, longdep_summarization  ROUGE-L F                       ROUGE-1 F
    shortdep_cloze                                  share of masks filled exactly   share with a right word in them
    ==============================================  ==============================  ===============================

    Attributes:
        task: One of the four, "" for the collection.
        folder: Folder with the published files, "" for the hub.
        samples: Questions of each task, drawn by the seed; 0 for all.
    """

    tasks: ClassVar[tuple[str, ...]] = TASKS

    def _drawn(self, order: Order) -> dict[str, Question]:
        if self.folder:
            rows = rows_of(Path(self.folder) / f"{self.task}.jsonl", "input, qa_pairs, output")
        else:
            rows = hub_rows("loogle", "bigainlco/LooGLE", self.task, "test", _LAYOUT)
        asked = [question for path, line, row in rows for question in _questions(self.task, row, path, line)]
        return numbered(asked, self.samples, order)

    def score(self, example: Question, output: str) -> dict[str, float]:
        """ROUGE-L and ROUGE-1, or the masks that are filled exactly and in part."""
        if self.task != "shortdep_cloze":
            found = rouge(output, example.answers, ("rougeL", "rouge1"), _words)
            return {"score": found["rougeL"], "partial": found["rouge1"]}
        right, told = example.facts["masks"], _object(output)
        exact = sum(told.get(mask) == name for mask, name in right.items())
        part = sum(bool(set(str(told.get(mask, "")).split()) & set(name.split())) for mask, name in right.items())
        return {"score": exact / len(right), "partial": part / len(right)}


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _object(text: str) -> dict[str, Any]:
    """The object that a reply holds, in JSON or as Python writes it; empty where there is none."""
    start, end = text.find("{"), text.rfind("}")
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text[start : end + 1])
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, dict):
            return found
    return {}


def _pairs(row: dict[str, Any], path: Path, line: int) -> Iterator[tuple[str, Any]]:
    """Questions and answers of a row: a list, that list as text, or one pair in columns of its own."""
    if "question" in row:
        yield text_of(row, "question", path, line), row.get("answer")
        return
    pairs = row.get("qa_pairs")
    if isinstance(pairs, str):
        try:
            pairs = ast.literal_eval(pairs)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            pairs = None
    if not isinstance(pairs, list) or not pairs:
        raise bad_line(path, line, "qa_pairs is not a list of objects with Q and A")
    for pair in pairs:
        if not isinstance(pair, dict):
            raise bad_line(path, line, "a pair is not an object with Q and A")
        yield text_of(pair, "Q", path, line), pair.get("A")


def _questions(task: str, row: dict[str, Any], path: Path, line: int) -> Iterator[Question]:
    document = text_of(row, "input" if "input" in row else "context", path, line)
    if task == "longdep_summarization":
        summary = text_of(row, "output" if "output" in row else "answer", path, line)
        _check(summary, path, line)
        prompt = f"Summarise the paper in one paragraph.\n\nPaper:\n{document}\n\nSummary:"
        yield Question(prompt, (summary,), summary, 512)
        return
    for question, answer in _pairs(row, path, line):
        if task == "shortdep_cloze":
            masks = _object(answer) if isinstance(answer, str) else answer
            if not isinstance(masks, dict) or not masks or not all(str(name).strip() for name in masks.values()):
                raise bad_line(path, line, "the answer is not an object of masks and names")
            masks = {str(mask): str(name) for mask, name in masks.items()}
            gold = json.dumps(masks, ensure_ascii=False)
            prompt = (
                f"Document:\n{document}\n\nNames in this text from the document are masked: {question}\nTell the "
                f'name behind each mask as a JSON object, such as {{"<mask-0>": "name"}}, and nothing else.\nAnswer:'
            )
            yield Question(prompt, tuple(masks.values()), gold, 256, facts={"masks": masks})
            continue
        answer = str(answer) if isinstance(answer, int | float) else answer
        _check(answer, path, line)
        prompt = f"Answer the question from the document.\n\nDocument:\n{document}\n\nQuestion: {question}\nAnswer:"
        yield Question(prompt, (answer,), answer, 256)


def _check(answer: Any, path: Path, line: int) -> None:
    if not isinstance(answer, str) or not _words(answer):
        raise bad_line(path, line, "the answer is not a text with words")


def twin(folder: Path) -> None:
    """Write a small made-up set: a town's chronicle."""
    folder.mkdir(parents=True, exist_ok=True)
    text = "In spring the ice broke and Captain Moreau sailed to Port Belgo with salt and timber. " * 60
    questions = [
        {"Q": "Who sailed to Port Belgo?", "A": "Captain Moreau with salt and timber", "S": [text[:86]]},
        {"Q": "When did he sail?", "A": "in spring, when the ice broke", "S": [text[:86]]},
    ]
    masked = {"Q": "<mask-0> sailed to <mask-1>.", "A": {"<mask-0>": "Captain Moreau", "<mask-1>": "Port Belgo"}}
    row = {"input": text, "title": "Chronicle", "output": "none"}
    for task in ("longdep_qa", "shortdep_qa"):
        write_lines(folder / f"{task}.jsonl", [{**row, "qa_pairs": questions}])
    write_lines(folder / "shortdep_cloze.jsonl", [{**row, "qa_pairs": [masked]}])
    summary = {**row, "qa_pairs": "none", "output": "A captain trades salt and timber with a port each spring."}
    write_lines(folder / "longdep_summarization.jsonl", [summary])
