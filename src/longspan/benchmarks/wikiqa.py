"""Giraffe's WikiQA: a question to a Wikipedia page whose answer stands in it word for word.

The sentence that holds the answer is moved to a place of its own, and so may the question be, in the beginning (the
first 10 %), the bulk or the end (the last 10 %) of the document (Pal et al. 2023, arXiv:2308.10882).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import ClassVar

from longspan.benchmarks.files import bad_line, text_of, write_lines
from longspan.benchmarks.haystack import generator, permutation, pieces
from longspan.benchmarks.rows import check_samples, draw, fill, hub_rows, room_for, rows_of
from longspan.benchmarks.tasks import Count, Question, Questions, name_of, usual_count
from longspan.benchmarks.text_metrics import presence
from longspan.errors import BenchmarkError

PLACES = ("first", "bulk", "last")
_SPLITS = {2048: "2k", 4096: "4k", 8192: "8k", 16384: "16k"}
_LAYOUT = "documents.jsonl: document, question, answer (which stands in the document)"
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[\"'(]*[A-Z0-9])")

Fact = tuple[str, str, str]
"""Document, question, answer."""


@dataclass(frozen=True)
class WikiQA:
    """A set of WikiQA, named like the file of its class.

    Attributes:
        folder: Folder with documents.jsonl, "" for the hub.
        question: Where the question stands: first, bulk or last.
        answer: Where the answer stands: first, bulk, last, or any for each in turn.
        samples: Questions, drawn by the seed; 0 for all.
        new_tokens: Tokens of the reply.
        repository: The data set on the hub.
    """

    folder: str = ""
    question: str = "last"
    answer: str = "any"
    samples: int = 50
    new_tokens: int = 32
    repository: ClassVar[str]

    def __post_init__(self) -> None:
        """Check the places and the counts."""
        name = name_of(self)
        check_samples(name, self.samples)
        if self.question not in PLACES or self.answer not in (*PLACES, "any"):
            raise BenchmarkError(
                f"{name} has no places question={self.question!r}, answer={self.answer!r}.",
                f"question: {', '.join(PLACES)}; answer: these or any",
            )
        if self.new_tokens < 1:
            raise BenchmarkError(f"{name} has replies of {self.new_tokens} tokens.", "new_tokens=32")

    def examples(self, length: int | None, seed: int, count: Count = usual_count) -> Questions:
        """Build the set.

        Args:
            length: Tokens of prompt and reply. Documents that are too short for it are left out.
            seed: Draws the questions, what is altered, and the places.
            count: The model's tokenizer.

        Raises:
            BenchmarkError: The data are missing or damaged, or no document is long enough.
        """
        name = name_of(self)
        room = room_for(name, length, self.new_tokens)
        if not self.folder:
            return self._published(length, seed)
        facts = []
        for i, fact in enumerate(self._facts()):
            altered = self._altered(fact, generator(f"{name} {i}", seed))
            if altered and altered[2] in altered[0]:
                facts.append(altered)
        if not facts:
            raise BenchmarkError(f"{self.folder} has no question for {name}.", f"{name} reads {_LAYOUT}")
        drawn = draw(facts, self.samples, permutation(len(facts), generator(name, seed)))
        questions, short = {}, None
        for i, fact in enumerate(drawn):
            rng = generator(f"{name} {i} places", seed, length)
            where = self.answer if self.answer != "any" else PLACES[i % 3]
            build = _Prompt.of(fact, _depth(where, rng), self._question_depth(rng))
            try:
                units = fill(name, build, room, count, 0, len(build.words))
            except BenchmarkError as error:
                short = error  # a document that is too short for this length is no question of it
                continue
            prompt = build(units)
            depth = prompt.index(build.evidence) / len(prompt)
            questions[f"q{i:04d}"] = Question(prompt, (fact[2],), fact[2], self.new_tokens, depth=depth)
        if not questions:
            raise short or BenchmarkError(f"{name} has no question.", _LAYOUT)
        return Questions(name, length, questions)

    def score(self, example: Question, output: str) -> dict[str, float]:
        """1 where the answer is a substring of the reply."""
        return {"presence_accuracy": presence(output, example.answers)}

    def _altered(self, fact: Fact, rng: Random) -> Fact | None:
        """What is done to a fact before; None leaves it out."""
        return fact

    def _question_depth(self, rng: Random) -> float | None:
        return None if self.question == "last" else _depth(self.question, rng)

    def _facts(self) -> list[Fact]:
        facts = []
        for path, line, row in rows_of(Path(self.folder) / "documents.jsonl", _LAYOUT):
            document, question, answer = (text_of(row, key, path, line) for key in ("document", "question", "answer"))
            if not answer.strip() or answer not in document:
                raise bad_line(path, line, f"the answer {answer[:60]!r} does not stand in the document")
            facts.append((document, question, answer))
        return facts

    def _published(self, length: int | None, seed: int) -> Questions:
        """The hub's own prompts: conversations of a question and an answer, in four lengths."""
        name = name_of(self)
        if length not in _SPLITS:
            raise BenchmarkError(
                f"{name} has no prompts of length {length} on the hub.",
                f"one of {', '.join(map(str, _SPLITS))}, or a folder with {_LAYOUT}",
            )
        rows = hub_rows(name, self.repository, None, _SPLITS[length], _LAYOUT)
        drawn = draw(rows, self.samples, permutation(len(rows), generator(name, seed)))
        questions = {}
        for i, (path, line, row) in enumerate(drawn):
            turns = row.get("conversations")
            if not isinstance(turns, list) or len(turns) < 2:
                raise bad_line(path, line, "conversations has no question and answer")
            prompt, answer = (text_of(turn, "value", path, line) for turn in turns[:2])
            questions[f"q{i:04d}"] = Question(prompt, (answer,), answer, self.new_tokens)
        return Questions(name, length, questions)


@dataclass(frozen=True)
class _Prompt:
    """Prompts of a fact with a growing part of its document."""

    words: Sequence[str]
    evidence: str
    question: str
    depth: float
    question_depth: float | None

    @classmethod
    def of(cls, fact: Fact, depth: float, question_depth: float | None) -> _Prompt:
        document, question, answer = fact
        before, sentence, after = _around(document, answer)
        return cls(pieces(f"{before} {after}".strip()), sentence, question, depth, question_depth)

    def __call__(self, units: int) -> str:
        words = [self.words[i % len(self.words)] for i in range(units)] if self.words else [""] * units
        asked = f"\n\nQuestion: {self.question}\n\n"
        # The later of the two goes in first, so that the earlier one's place stays what it is.
        inserts = [(int(self.depth * units), f" {self.evidence} ")]
        if self.question_depth is not None:
            inserts.append((int(self.question_depth * units), asked))
        for at, text in sorted(inserts, reverse=True):
            words.insert(at, text)
        document = "".join(words).strip()
        last = asked.strip() + "\n" if self.question_depth is None else ""
        return (
            "Answer the question from the document, in the words of the document and with nothing else."
            f"\n\nDocument:\n{document}\n\n{last}Answer:"
        )


def _around(document: str, answer: str) -> tuple[str, str, str]:
    """The text before the sentence that holds the answer, that sentence, and the text after it."""
    start = document.index(answer)
    ends = [match for match in _SENTENCE.finditer(document) if not start < match.end() < start + len(answer)]
    left = max((match.end() for match in ends if match.end() <= start), default=0)
    right = min((match.start() for match in ends if match.start() >= start + len(answer)), default=len(document))
    return document[:left].rstrip(), document[left:right].strip(), document[right:].lstrip()


def _depth(where: str, rng: Random) -> float:
    low, high = {"first": (0.0, 0.1), "bulk": (0.1, 0.9), "last": (0.9, 1.0)}[where]
    return low + (high - low) * rng.random()


def write_twin(folder: Path) -> None:
    """Write a small made-up set: chronicles of towns."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(9):
        town = ("Arden", "Bexley", "Corfe", "Dunmore", "Elstow", "Frome", "Garth", "Hythe", "Ilmen")[i]
        lines = [
            f"In the year {1300 + i + j} the town of {town} counted {900 + 7 * j + i} people and {40 + j} mills, and "
            f"its council met on day {j % 28 + 1} to settle the price of grain."
            for j in range(420)
        ]
        lines.insert(200, f"The great bell of {town} was cast by Master Odo and weighs {2000 + 137 * i} pounds.")
        question, answer = f"how many pounds does the great bell of {town} weigh", str(2000 + 137 * i)
        answer = f"{answer} pounds"
        rows.append({"document": " ".join(lines), "question": question, "answer": answer})
    write_lines(folder / "documents.jsonl", rows)
