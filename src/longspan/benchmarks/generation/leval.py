"""L-Eval: 20 sub-tasks over long documents, closed-ended ones by exact match, open-ended ones by words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from longspan.benchmarks.collection import NaturalCollection, Order
from longspan.benchmarks.files import bad_line, text_of, write_lines
from longspan.benchmarks.generation._replies import integer
from longspan.benchmarks.rows import find, hub_rows, numbered, rows_of
from longspan.benchmarks.tasks import Question
from longspan.benchmarks.text_metrics import first_line, rouge_mean, token_f1

CARD = {
    "title": "L-Eval",
    "source": "arXiv:2307.11088",
    "year": 2023,
    "authors": "An et al.",
    "task": "exams, questions and summaries over one long document",
    "metrics": ("score",),
    "scope": "middle",
    "diffusion": "middle",
    "licence": "GPL-3.0 (code and annotations); each source's own (documents)",
    "claim": "20 sub-tasks, 508 documents, over 2,000 questions of 3k to 200k tokens (abstract)",
    "caution": "word overlap punishes long replies: the paper tells models how many words to write, and trusts a "
    "judge more; gsm100 tests examples in the prompt, not reading",
    "aliases": (),
}

_LETTERS = ("coursera", "quality", "tpo")
_CLOSED = (*_LETTERS, "codeU", "gsm100", "sci_fi", "topic_retrieval_longchat")
_F1 = (
    "financial_qa",
    "legal_contract_qa",
    "multidoc_qa",
    "narrative_qa",
    "natural_question",
    "scientific_qa",
)
_ROUGE = (
    "gov_report_summ",
    "meeting_summ",
    "news_summ",
    "paper_assistant",
    "patent_summ",
    "review_summ",
    "tv_show_summ",
)
TASKS = (*_CLOSED, *_F1, *_ROUGE)
_ANSWER = re.compile(r"[Tt]he answer is")
_FIGURE = re.compile(r"-?\d[\d,]*")
_LAYOUT = "<task>.jsonl: input, instructions, outputs (also in Closed-ended-tasks and Open-ended-tasks)"
_HOW = {
    **dict.fromkeys(_LETTERS, ("Answer with the letters of all right options and nothing else.", 32)),
    "codeU": ("Answer with the final output of the code and nothing else.", 64),
    "gsm100": ("Solve the last problem as the examples do, and end with: The answer is", 512),
    "sci_fi": ("Answer in the form: True or False by the story [fact: True or False by real knowledge].", 32),
    "topic_retrieval_longchat": ("Answer with the topic and nothing else.", 64),
    **dict.fromkeys(_F1, ("Answer in as few words as possible.", 128)),
    **dict.fromkeys(_ROUGE, ("Write as the instruction says.", 512)),
}


@dataclass(frozen=True)
class LEval(NaturalCollection):
    """L-Eval (An et al. 2023) with its automatic metrics, decided by the sub-task.

    ========================================  =========================================================
    sub-task                                  score
    ========================================  =========================================================
    coursera, quality, tpo                    1 for the right letters, 0.25 for a part of several
    codeU, gsm100, topic_retrieval_longchat   1 for the right output, number or topic
    sci_fi                                    mean over the judgements: by the story and by the facts
    ..._qa, natural_question                  token F1
    ..._summ, paper_assistant                 geometric mean of ROUGE-1, ROUGE-2 and ROUGE-L
    ========================================  =========================================================

    An unreadable reply gets 0; the published script guesses A. The paper's own summary score is the mean of each
    ROUGE over all replies before the geometric mean is taken, ours is taken reply by reply.

    Attributes:
        task: One of the 20, "" for the collection.
        folder: Folder with the published files, "" for the hub.
        samples: Questions of each task, drawn by the seed; 0 for all.
    """

    tasks: ClassVar[tuple[str, ...]] = TASKS

    def _drawn(self, order: Order) -> dict[str, Question]:
        if self.folder:
            rows = rows_of(self._path(self.task), "input, instructions, outputs")
        else:
            rows = hub_rows("leval", "L4NLP/LEval", self.task, "test", _LAYOUT)
        asked = [question for path, line, row in rows for question in _questions(self.task, row, path, line)]
        return numbered(asked, self.samples, order)

    def score(self, example: Question, output: str) -> dict[str, float]:
        """The sub-task's metric."""
        if self.task in _F1:
            return {"score": token_f1(output, example.answers)}
        if self.task in _ROUGE:
            return {"score": rouge_mean(output, example.answers)}
        return {"score": judge(self.task, output, example.answers[0])}

    def _here(self) -> Sequence[str]:
        """Those that have a file in the folder, or all where none has."""
        return [t for t in TASKS if not self.folder or self._path(t).is_file()] or TASKS

    def _path(self, task: str) -> Path:
        homes = ("", "Closed-ended-tasks/", "Open-ended-tasks/")
        return find(self.folder, [f"{home}{task}.jsonl" for home in homes])


def judge(task: str, reply: str, right: str) -> float:
    """The closed-ended metric of a sub-task [0..1].

    Args:
        task: A closed-ended sub-task.
        reply: What was told.
        right: What is right, as published.
    """
    if task in _LETTERS:
        told, letters = set(_letters(reply, task == "coursera")), set(_options(right))
        return 1.0 if told and told == letters else 0.25 if told and told < letters else 0.0
    if task == "gsm100":
        return float(_number(reply) is not None and _number(reply) == _number(right))
    if task == "sci_fi":
        # Some of the published answers have the first judgement alone.
        pairs = [pair for pair in zip(_judgements(reply), _judgements(right), strict=True) if pair[1]]
        return sum(told == wanted for told, wanted in pairs) / max(1, len(pairs))
    if task == "codeU":
        told_words, wanted_words = _code(reply).split(), _code(right).split()
        return float(bool(wanted_words) and " ".join(wanted_words) in " ".join(told_words[-len(wanted_words) - 3 :]))
    squeezed = ["".join(text.lower().split()) for text in (right, first_line(reply))]
    return float(squeezed[0] in squeezed[1])


def _options(right: str) -> str:
    """The right letters: those of the first word."""
    return "".join(sorted(set(re.findall("[A-D]", (right.split() or [""])[0]))))


def _letters(text: str, several: bool) -> str:
    start = re.match(r"\W*([A-D](?:(?:[\s,&]|and\b)*[A-D])*)(?![A-Za-z])", text)
    found = re.sub(r"[^A-D]", "", start[1]) if start else "".join(re.findall(r"\b[A-D]\b", text))
    return found if several else found[:1]


def _number(text: str) -> int | None:
    """The number after "The answer is", else the last one, without decimals, as published."""
    said = _said(text) or next(iter(re.findall(r"(?<![\d.])-?\d[\d,]*", text)[-1:]), None)
    return integer(said.replace(",", "")) if said else None


def _said(text: str) -> str | None:
    """The last number that is the first one behind "The answer is"."""
    last, at = None, 0
    while (found := _ANSWER.search(text, at)) and (number := _FIGURE.search(text, found.end())):
        last, at = number[0], number.end()
    return last


def _judgements(text: str) -> tuple[str, str]:
    story, _, fact = text.lower().partition("[fact:")
    words = [re.search(r"\b(true|false)\b", part) for part in (story, fact)]
    return tuple(word[1] if word else "" for word in words)  # type: ignore[return-value]


def _code(text: str) -> str:
    bare = re.sub(r"[,'\"\\]", "", " ".join(text.split())).replace(".0", "")
    return re.sub(r"(?<=[\[\]]) (?=[\[\]])", "", bare)


def _questions(task: str, row: dict[str, Any], path: Path, line: int) -> list[Question]:
    document = text_of(row, "input", path, line)
    asks, outputs = (row.get(key) for key in ("instructions", "outputs"))
    if not isinstance(asks, list) or not isinstance(outputs, list) or len(asks) != len(outputs) or not asks:
        raise bad_line(path, line, "instructions and outputs are not lists of the same length")
    how, new_tokens = _HOW[task]
    questions = []
    for ask, right in zip(asks, outputs, strict=True):
        if not isinstance(ask, str) or not isinstance(right, str) or not right.strip():
            raise bad_line(path, line, "an instruction or output is not a text")
        gold = _options(right) if task in _LETTERS else right
        if task in _CLOSED and judge(task, gold, right) != 1:
            raise bad_line(path, line, f"the output {right[:40]!r} is not an answer of {task}")
        prompt = f"{how}\n\nDocument:\n{document}\n\nInstruction: {ask}\nAnswer:"
        questions.append(Question(prompt, (right,), gold, new_tokens))
    return questions


def twin(folder: Path) -> None:
    """Write a small made-up set: one document of each task with two questions."""
    folder.mkdir(parents=True, exist_ok=True)
    outputs = {
        "coursera": ["ABD", "C"],
        "quality": ["B", "D"],
        "tpo": ["A", "C"],
        "codeU": ["[1, 2]", "harbour"],
        "gsm100": ["He sold 14 fish. The answer is 14", "The answer is 1,250"],
        "sci_fi": ["True [fact: False]", "False [fact: False]"],
        "topic_retrieval_longchat": ["The history of lighthouses", "The art of sailing"],
    }
    text = "The keeper of the lighthouse wrote down each ship that passed. " * 60
    for task in TASKS:
        told = outputs.get(task, ["The keeper wrote down each ship", "A lighthouse of red stone on a rock"])
        row = {"instructions": [f"Question {i} of {task}?" for i in range(2)], "outputs": told, "input": text}
        write_lines(folder / f"{task}.jsonl", [{**row, "source": "made up", "evaluation": "exam"}])
