"""LongBench: 21 tasks over real long texts, English and Chinese, with lm-eval's prompts and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from longspan.benchmarks import harness
from longspan.benchmarks.collection import NaturalCollection, Order
from longspan.benchmarks.files import bad_line, text_of, write_lines
from longspan.benchmarks.rows import rows_of
from longspan.benchmarks.tasks import Question
from longspan.errors import BenchmarkError

CARD = {
    "title": "LongBench",
    "source": "arXiv:2308.14508",
    "year": 2023,
    "authors": "Bai et al.",
    "task": "answer, summarise, classify, count, retrieve and complete code over one or several long documents",
    "metrics": ("score",),
    "scope": "middle",
    "diffusion": "middle",
    "licence": "MIT (code); each source's own (data)",
    "claim": "21 tasks, 4,750 samples; GPT-3.5-Turbo-16k leads the open models, and still falls with length (abstract)",
    "caution": "mean 6,711 English words: a window of 16k holds nearly all; lm-eval cuts longer prompts from the "
    "left, LongBench itself in the middle",
    "aliases": ("longbench_v1",),
}

TASKS = (
    "2wikimqa",
    "dureader",
    "gov_report",
    "hotpotqa",
    "lcc",
    "lsht",
    "multi_news",
    "multifieldqa_en",
    "multifieldqa_zh",
    "musique",
    "narrativeqa",
    "passage_count",
    "passage_retrieval_en",
    "passage_retrieval_zh",
    "qasper",
    "qmsum",
    "repobench-p",
    "samsum",
    "trec",
    "triviaqa",
    "vcsum",
)


@dataclass(frozen=True)
class LongBench(NaturalCollection):
    """LongBench v1 (Bai et al. 2023) as lm-eval has it: ``longbench_*``.

    The score is the task's own: token F1, ROUGE-L F, share of named classes or numbers, or edit similarity of code.
    A gold reply gets 1 but for two kinds of rows of the published data: code whose right line has a comment (the
    metric drops such lines), and classes whose name holds another's.

    Attributes:
        task: One of the 21, "" for the collection.
        folder: Folder with <task>.jsonl as published (input, context, answers, all_classes ...), "" for the hub.
        samples: Questions of each task, drawn by the seed; 0 for all.
    """

    tasks: ClassVar[tuple[str, ...]] = TASKS

    def _drawn(self, order: Order) -> dict[str, Question]:
        source = self._source()
        if source.path:
            _check(source.path)
        return harness.questions(source, self.samples, order)

    def score(self, example: Question, output: str) -> dict[str, float]:
        """The task's own metric."""
        return {"score": harness.score(self._source(), example, output)}

    def _here(self) -> Sequence[str]:
        here = [t for t in TASKS if not self.folder or (Path(self.folder) / f"{t}.jsonl").is_file()]
        if not here:
            raise BenchmarkError(f"{self.folder} has no file of LongBench.", f"{TASKS[0]}.jsonl ... {TASKS[-1]}.jsonl")
        return here

    def _source(self) -> harness.Source:
        # The published files call the question "input"; lm-eval's copy on the hub calls it "question".
        return harness.Source(f"longbench_{self.task}", self.folder, self.task, (("input", "question"),))


def _check(path: Path) -> None:
    """Check the columns that prompts and metrics read: templates take a missing one for an empty text."""
    for _, line, row in rows_of(path, "input, context, answers"):
        for key in ("input", "context"):
            text_of(row, key, path, line)
        answers = row.get("answers")
        if not isinstance(answers, list) or not answers or not all(isinstance(a, str) and a.strip() for a in answers):
            raise bad_line(path, line, "answers is not a list of texts")


_GOLD = {
    "classes": ("Food", "City"),
    "count": ("3", "5"),
    "retrieval_en": ("Paragraph 2", "Paragraph 14"),
    "retrieval_zh": ("段落2", "段落14"),
    "code": ("    return total / count", "    return sorted(names)"),
    "zh": ("灯塔建于一八七〇年", "船长叫王海"),
    "text": ("the lighthouse was built of red stone", "Captain Moreau kept the log"),
}


def twin(folder: Path) -> None:
    """Write a small made-up set: two rows of each task."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {
        "trec": "classes",
        "lsht": "classes",
        "passage_count": "count",
        "passage_retrieval_en": "retrieval_en",
        "passage_retrieval_zh": "retrieval_zh",
        "lcc": "code",
        "repobench-p": "code",
        "dureader": "zh",
        "multifieldqa_zh": "zh",
        "vcsum": "zh",
    }
    for task in TASKS:
        kind = kinds.get(task, "text")
        rows = [
            {
                "input": f"Question {i} of {task}?",
                "context": f"Line {i}. " + "The harbour lay still in the morning. " * (40 + i),
                "answers": [gold],
                "length": 300,
                "dataset": task,
                "language": "zh" if kind.endswith("zh") else "en",
                "all_classes": list(_GOLD["classes"]) if kind == "classes" else None,
                "_id": f"{task}-{i}",
            }
            for i, gold in enumerate(_GOLD[kind])
        ]
        write_lines(folder / f"{task}.jsonl", rows)
