"""Short labelled texts, the raw material of prompts that are long because they hold many of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longspan.benchmarks.files import bad_line, text_of
from longspan.benchmarks.rows import rows_of
from longspan.errors import BenchmarkError


@dataclass(frozen=True)
class Item:
    """A short text and its class.

    Attributes:
        text: The text, on one line.
        label: Its class, on one line.
        question: A question that this text answers, "" where there is none.
        answer: The answer to it.
    """

    text: str
    label: str
    question: str = ""
    answer: str = ""


def read_items(name: str, path: Path) -> list[Item]:
    """Items of a JSON-lines file.

    A line has ``text`` and ``label``, and may have ``question`` and ``answer``. White space is made single, so that
    an item stays on one line of a prompt.

    Args:
        name: The benchmark that reads it.
        path: The file.

    Raises:
        BenchmarkError: The file is missing or empty, a line is damaged, or all labels are the same.
    """
    items = [_item(path, line, row) for path, line, row in rows_of(path, "text and label")]
    labels = {item.label for item in items}
    if len(labels) < 2:  # a class needs another to be told from
        raise BenchmarkError(f"{path} has {len(labels)} label, {name} needs 2 or more.", "lines of other classes")
    return items


def _item(path: Path, line: int, row: dict[str, Any]) -> Item:
    text, label = (" ".join(text_of(row, key, path, line).split()) for key in ("text", "label"))
    if not text or not label:
        raise bad_line(path, line, f"{'label' if text else 'text'} is empty")
    if ("question" in row) != ("answer" in row):
        raise bad_line(path, line, "question and answer do not stand together")
    question, answer = (
        " ".join(text_of(row, key, path, line).split()) if key in row else "" for key in ("question", "answer")
    )
    if bool(question) != bool(answer):
        raise bad_line(path, line, "question or answer is empty")
    return Item(text, label, question, answer)
