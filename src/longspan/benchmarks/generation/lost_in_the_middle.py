"""Lost in the middle: does the place of the right document among others matter?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longspan.benchmarks.files import bad_line, text_of, write_lines
from longspan.benchmarks.haystack import generator, permutation
from longspan.benchmarks.rows import check_samples, draw, fill, place, room_for, rows_of
from longspan.benchmarks.tasks import Count, Question, Questions, usual_count
from longspan.benchmarks.text_metrics import best_subspan_em, normalise
from longspan.errors import BenchmarkError

CARD = {
    "title": "Lost in the Middle, multi-document question answering",
    "source": "arXiv:2307.03172",
    "year": 2023,
    "authors": "Liu et al.",
    "task": "answer a question from the one document among many that tells it, at a given place",
    "metrics": ("best_subspan_em",),
    "scope": "low",
    "diffusion": "middle",
    "licence": "MIT (code); questions: Natural Questions, passages: Wikipedia, both CC BY-SA 3.0",
    "claim": "GPT-3.5-Turbo: 56.1 without documents, 88.3 with the right one alone (Table 1); in between, a U over "
    "the place of the right one (Figure 1)",
    "caution": "distractors are right passages of other questions, drawn at random: easier than the retrieved ones "
    "of the paper's main figures, which were not released with the oracle file",
    "aliases": ("litm", "multi_document_qa"),
}

_LAYOUT = "questions.jsonl: question, answers (texts), passages (right ones, each with title and text)"


@dataclass(frozen=True)
class LostInTheMiddle:
    """Multi-document question answering (Liu et al. 2023, section 2; random distractors as in their appendix).

    Question i's right document stands at index floor((i mod depths) (n - 1) / (depths - 1)) of n documents: with
    5 depths of 20 at 0, 4, 9, 14, 19, as published. A distractor never holds an answer.

    Attributes:
        folder: Folder with questions.jsonl. The paper's own oracle file, unpacked, can be used: its ``ctxs`` are
            the passages.
        documents: Documents in each prompt; 0 for as many as the length has room for.
        depths: Places of the right document, at least 1.
        samples: Questions, drawn by the seed; 0 for all.
        new_tokens: Tokens of the reply.
    """

    folder: str = ""
    documents: int = 0
    depths: int = 5
    samples: int = 50
    new_tokens: int = 100

    def __post_init__(self) -> None:
        """Check the counts."""
        check_samples("lost_in_the_middle", self.samples)
        if self.documents < 0 or self.depths < 1:
            raise BenchmarkError(
                f"lost_in_the_middle(documents={self.documents}, depths={self.depths}) makes no prompt.",
                "documents=20 and depths=5, as published",
            )

    @property
    def natural(self) -> bool:
        """Whether the number of documents decides the length."""
        return self.documents > 0

    def examples(self, length: int | None, seed: int, count: Count = usual_count) -> Questions:
        """Build the set.

        Args:
            length: Tokens of prompt and reply; None with ``documents``.
            seed: Draws questions, distractors and their order.
            count: The model's tokenizer.

        Raises:
            BenchmarkError: The folder is missing or damaged, has too few passages, or the length does not fit.
        """
        if self.natural and length is not None:
            raise BenchmarkError(
                f"lost_in_the_middle has {self.documents} documents and a length of {length} tokens.",
                "documents=0 with a length, or documents=20 with length=None",
            )
        room = 0 if self.natural else room_for("lost_in_the_middle", length, self.new_tokens)
        known = list(self._questions())
        rng = generator("lost_in_the_middle", seed)
        asked = draw(known, self.samples, permutation(len(known), rng))
        pool = list(dict.fromkeys(passage for _, _, passages in known for passage in passages))
        bare = [f" {normalise(' '.join(passage))} " for passage in pool]
        questions = {}
        for i, (question, answers, right) in enumerate(asked):
            rng = generator("lost_in_the_middle", seed, i)
            wrong = [f" {normalise(answer)} " for answer in answers]
            order = permutation(len(pool), rng)
            free = [pool[j] for j in order if pool[j] not in right and not any(w in bare[j] for w in wrong)]
            most = len(right) + len(free)
            build = _Prompt(question, right, free, i, self.depths)
            least = len(right) + (1 if free else 0)
            units = self.documents or fill("lost_in_the_middle", build, room, count, least, most)
            if not len(right) <= units <= most:
                raise BenchmarkError(
                    f"lost_in_the_middle has {most} documents for the question {question!r}, {units} were asked for.",
                    f"documents={len(right)} to {most}, or more lines in questions.jsonl",
                )
            prompt = build(units)
            depth = prompt.index(_document(right[0])) / len(prompt)
            questions[f"q{i:04d}"] = Question(
                prompt,
                answers,
                " ".join(answers[0].split()),
                self.new_tokens,
                ("\n",),
                depth=depth,
                facts={"documents": units},
            )
        return Questions("lost_in_the_middle", length, questions)

    def score(self, example: Question, output: str) -> dict[str, float]:
        """1 where an answer stands in the reply's first line, both normalised."""
        return {"best_subspan_em": best_subspan_em(output, example.answers)}

    def _questions(self) -> Iterator[tuple[str, tuple[str, ...], tuple[tuple[str, str], ...]]]:
        if not self.folder:
            raise BenchmarkError(
                "lost_in_the_middle has its questions in the paper's repository, not on the hub.",
                f'lost_in_the_middle(folder="...") with {_LAYOUT}',
            )
        for path, line, row in rows_of(Path(self.folder) / "questions.jsonl", _LAYOUT):
            answers = row.get("answers")
            if not isinstance(answers, list) or not answers or not all(isinstance(a, str) for a in answers):
                raise bad_line(path, line, "answers is not a list of texts")
            if not any(normalise(answer) for answer in answers[:1]):
                raise bad_line(path, line, "the first answer has no word")
            yield text_of(row, "question", path, line), tuple(answers), _passages(row, path, line)


@dataclass(frozen=True)
class _Prompt:
    """Prompts of a question with a growing number of documents."""

    question: str
    right: tuple[tuple[str, str], ...]
    others: list[tuple[str, str]]
    number: int
    depths: int

    def __call__(self, units: int) -> str:
        spare = units - len(self.right)
        documents = [self.others[i % len(self.others)] for i in range(spare)] if self.others else []
        at = place(self.number, self.depths, spare + 1)
        documents[at:at] = self.right
        told = "\n".join(f"Document [{i}]{_document(d)}" for i, d in enumerate(documents, start=1))
        return (
            "Answer the question in a few words from the documents below; most of them are about something else."
            f"\n\n{told}\n\nQuestion: {self.question}\nAnswer:"
        )


def _document(passage: tuple[str, str]) -> str:
    return f"(Title: {passage[0]}) {passage[1]}"


def _passages(row: dict[str, Any], path: Path, line: int) -> tuple[tuple[str, str], ...]:
    passages = row.get("passages", row.get("ctxs"))
    if not isinstance(passages, list) or not passages or not all(isinstance(p, dict) for p in passages):
        raise bad_line(path, line, "passages is not a list of objects with title and text")
    return tuple((text_of(p, "title", path, line), text_of(p, "text", path, line)) for p in passages)


def twin(folder: Path) -> None:
    """Write a small made-up set: who keeps which lighthouse."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(240):
        town, keeper = f"Port {_name(i)}", f"{_name(7 * i + 3)} {_name(11 * i + 5)}son"
        text = (
            f"The lighthouse of {town} stands on a rock some {40 + i} metres above the sea and was lit for the first "
            f"time in {1700 + i}. Its lamp was tended by families of the harbour for generations, who wrote down "
            f"every storm and every ship. Today the keeper of {town} is {keeper}, who also paints the boats."
        )
        question = f"who is the keeper of the lighthouse of {town}"
        passages = [{"title": f"Lighthouse of {town}", "text": text}]
        rows.append({"question": question, "answers": [keeper], "passages": passages})
    write_lines(folder / "questions.jsonl", rows)


def _name(i: int) -> str:
    heads, tails = ("Bar", "Del", "Fen", "Gor", "Hal", "Kel", "Mor", "Nar", "Pel", "Ros", "Tam", "Vel", "Win"), "aeiou"
    middle = ("bri", "dal", "go", "lin", "mar", "ne", "ro", "sto", "ti", "va")[i // len(heads) % 10]
    return f"{heads[i % len(heads)]}{middle}{tails[i // 130 % 5]}"
