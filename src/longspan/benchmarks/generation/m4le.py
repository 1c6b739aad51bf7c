"""M4LE: short tasks made long by putting many of them into one prompt."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import ClassVar

from longspan.benchmarks.collection import Collection
from longspan.benchmarks.files import write_lines
from longspan.benchmarks.haystack import generator, permutation
from longspan.benchmarks.labelled import Item, read_items
from longspan.benchmarks.rows import check_samples, fill, place, room_for
from longspan.benchmarks.tasks import Count, Question, Questions, usual_count
from longspan.benchmarks.text_metrics import first_line
from longspan.errors import BenchmarkError

CARD = {
    "title": "M4LE",
    "source": "arXiv:2310.19240",
    "year": 2023,
    "authors": "Kwan et al.",
    "task": "five abilities over many short texts in one prompt: one or several named by id or by meaning, or all",
    "metrics": ("accuracy", "f1"),
    "scope": "middle",
    "diffusion": "middle",
    "licence": "yours: any labelled file; the paper's 36 tasks are MIT over data of their own",
    "claim": "LLaMA2-7B falls from 0.39 at 1k words to 0.07 at 8k, relative to GPT-3.5-Turbo-16K at 1k",
    "caution": "made from your file by the paper's recipe: compare models on it, not with the paper",
    "aliases": ("lengthen",),
}

TASKS = ("explicit_single", "semantic_single", "explicit_multiple", "semantic_multiple", "global")
_LAYOUT = "items.jsonl: text, label, and where there are any question and answer"
_NAMED = 3  # passages that explicit_multiple asks for
_MEMBERS = 5  # most passages of the class that semantic_multiple asks for


@dataclass(frozen=True)
class M4LE(Collection):
    """Short labelled texts lengthened (Kwan et al. 2023, section 3), from any labelled file.

    Every passage of a prompt gets a random id of six hexadecimal digits.

    =================  ==============================================  ================================
    task               asks                                            right answer
    =================  ==============================================  ================================
    explicit_single    the class of the passage with a given id        its label
    semantic_single    the line's own question, or without one the id  its answer, or the id
                       of the only passage of a given class
    explicit_multiple  the classes of three given ids                  three labels in that order
    semantic_multiple  the ids of the two to five of a given class      those ids in any order
    global             how many passages are of a given class          a number
    =================  ==============================================  ================================

    Unlike the paper there is no example in front; the form of the answer is told in words. In single tasks the
    right passage moves through the prompt from question to question.

    Attributes:
        task: One of the five abilities, "" for the collection.
        folder: Folder with items.jsonl: text, label, and optionally question and answer.
        depths: Places of the right passage in single tasks, at least 1.
        samples: Questions of each task, at least 1.
        new_tokens: Tokens of the reply; an id takes up to eight.
    """

    depths: int = 5
    samples: int = 50
    new_tokens: int = 64
    tasks: ClassVar[tuple[str, ...]] = TASKS

    def __post_init__(self) -> None:
        """Check the task and the counts."""
        super().__post_init__()
        check_samples("m4le", self.samples)
        if self.samples < 1 or self.depths < 1:
            raise BenchmarkError(f"m4le has no {self.samples} questions at {self.depths} depths.", "1 or more of both")

    def examples(self, length: int | None, seed: int, count: Count = usual_count) -> Questions:
        """Build the set of one task.

        Args:
            length: Tokens of prompt and reply.
            seed: Draws the passages, their order, their ids and what is asked for.
            count: The model's tokenizer.

        Raises:
            BenchmarkError: No task is named, the folder is missing or damaged, or has too few passages.
        """
        self._check_chosen()
        room = room_for("m4le", length, self.new_tokens)
        if not self.folder:
            raise BenchmarkError("m4le needs labelled texts.", f'm4le(folder="...") with {_LAYOUT}')
        items = read_items("m4le", Path(self.folder) / "items.jsonl")
        name = f"m4le_{self.task}"
        questions = {}
        for i in range(self.samples):
            rng = generator(f"{name} {i}", seed, length)
            build = _lengthened(self.task, [items[j] for j in permutation(len(items), rng)], rng, i, self.depths)
            if not build.others:
                raise BenchmarkError(f"{name} has {build.most} passages to choose from.", f"more lines in {_LAYOUT}")
            question = build.question(fill(name, build.prompt, room, count, build.least, build.most), self.new_tokens)
            if count(question.gold) > self.new_tokens:
                raise BenchmarkError(
                    f"The right answer of {name} at length {length} has {count(question.gold)} tokens, the reply "
                    f"{self.new_tokens}.",
                    f"new_tokens={2 * count(question.gold)}",
                )
            questions[f"q{i:04d}"] = question
        return Questions(name, length, questions)

    def score(self, example: Question, output: str) -> dict[str, float]:
        """Accuracy: all of it is right; F1: of the items of a list that both have, in any order."""
        right = [_bare(part) for part in example.answers]
        line = first_line(output)
        # A single answer may hold a semicolon of its own.
        told = [_bare(part) for part in (line.split(";") if len(right) > 1 else [line])] if line else []
        ordered = self.task != "semantic_multiple"
        same = told == right if ordered else sorted(told) == sorted(right)
        shared = sum(min(told.count(part), right.count(part)) for part in set(right))
        return {"accuracy": float(same), "f1": 2 * shared / (len(told) + len(right)) if shared else 0.0}


def _bare(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .\"'")


@dataclass(frozen=True)
class _Lengthened:
    """Prompts of one question with a growing number of passages.

    Attributes:
        right: The passages asked for.
        others: The rest, in the order in which they are added.
        ids: An id for each passage, the right ones' first.
        keys: A random number for each; passages stand in their order where ``at`` is None.
        at: Question and number of depths, where the right passage moves through the prompt.
        labels: The classes.
        asks: The question.
        answers: The right answers; empty for the number of passages of ``counted``.
        counted: A class.
    """

    right: list[Item]
    others: list[Item]
    ids: list[str]
    keys: list[float]
    at: tuple[int, int] | None
    labels: list[str]
    asks: str
    answers: tuple[str, ...]
    counted: str = ""

    @property
    def least(self) -> int:
        return len(self.right) + 1

    @property
    def most(self) -> int:
        return len(self.right) + len(self.others)

    def passages(self, units: int) -> list[tuple[str, Item]]:
        """So many passages with their ids, the right ones among them."""
        first = len(self.right)
        right = list(zip(self.ids, self.right, strict=False))
        spare = [i % len(self.others) for i in range(units - first)]
        others = [(self.ids[first + i], self.others[i]) for i in spare]
        if self.at is not None:
            index = place(*self.at, units)
            return others[:index] + right + others[index:]
        mixed = list(zip(self.keys, range(units), right + others, strict=False))
        return [passage for _, _, passage in sorted(mixed, key=lambda entry: entry[:2])]

    def prompt(self, units: int) -> str:
        told = "\n".join(f"Passage {key}: {item.text}" for key, item in self.passages(units))
        return (
            f"Below are passages, each with an id. Each is of one of the classes: {'; '.join(self.labels)}."
            f"\n\n{told}\n\nQuestion: {self.asks}\nAnswer:"
        )

    def question(self, units: int, new_tokens: int) -> Question:
        prompt, passages = self.prompt(units), self.passages(units)
        answers = self.answers or (str(sum(item.label == self.counted for _, item in passages)),)
        depth = prompt.index(f"\nPassage {self.ids[0]}: ") / len(prompt) if self.at is not None else None
        facts = {"passages": units}
        return Question(prompt, answers, "; ".join(answers), new_tokens, ("\n",), depth=depth, facts=facts)


def _lengthened(task: str, items: list[Item], rng: Random, number: int, depths: int) -> _Lengthened:
    """The prompts of question ``number`` over items in a drawn order."""
    labels = sorted({item.label for item in items})
    ids = list(dict.fromkeys(f"{int(rng.random() * 16**6):06x}" for _ in range(2 * len(items) + 16)))[: len(items)]
    keys = [rng.random() for _ in items]
    first = items[0]
    if task in ("explicit_single", "semantic_single"):
        right, others, at = [first], items[1:], (number, depths)
        if task == "explicit_single":
            asks, answer = f"What is the class of passage {ids[0]}? Tell only the class.", first.label
        elif first.question:
            asks, answer = f"{first.question} Tell only the answer.", first.answer
        else:
            others = [item for item in others if item.label != first.label]
            asks, answer = f"Which passage is of the class {first.label}? Tell only its id.", ids[0]
        return _Lengthened(right, others, ids, keys, at, labels, asks, (answer,))
    if task == "global":
        asks = f"How many of the passages are of the class {first.label}? Tell only the number."
        return _Lengthened([first], items[1:], ids, keys, None, labels, asks, (), first.label)
    if task == "explicit_multiple":
        right, others = items[:_NAMED], items[_NAMED:]
        named = ", ".join(ids[: len(right)])
        asks = f"What are the classes of passages {named}? Tell one class for each, in this order, with ; in between."
        return _Lengthened(right, others, ids, keys, None, labels, asks, tuple(item.label for item in right))
    sizes = Counter(item.label for item in items)
    frequent = [item.label for item in items if sizes[item.label] > 1]
    if not frequent:
        raise BenchmarkError("m4le has no class with 2 passages to ask for.", "more lines of one class in items.jsonl")
    most = 2 + int(rng.random() * (_MEMBERS - 1))
    right = [item for item in items if item.label == frequent[0]][:most]
    others = [item for item in items if item.label != frequent[0]]
    asks = f"Which passages are of the class {frequent[0]}? Tell all their ids, with ; in between."
    return _Lengthened(right, others, ids, keys, None, labels, asks, tuple(ids[: len(right)]))


def twin(folder: Path) -> None:
    """Write a small made-up set: notes of a ship's log."""
    folder.mkdir(parents=True, exist_ok=True)
    notes = {
        "weather": "Wind of force {n} from the north, a grey sky and rain until noon, then the clouds broke up.",
        "trade": "Sold {n} barrels of salted fish at the market and bought rope, tar and two new sails for it.",
        "crew": "The cook and {n} sailors went ashore to see their families and came back in good spirits.",
        "repair": "Mended {n} planks of the deck, oiled the winches and painted the name on the bow again.",
    }
    rows = []
    for i in range(600):
        label = sorted(notes)[i * 7 % 11 % 4]
        row = {"text": f"Day {i + 1}, harbour {i // 9}. {notes[label].format(n=2 + i % 7)}", "label": label}
        if i % 2:
            row |= {"question": f"At which harbour did the ship lie on day {i + 1}?", "answer": f"harbour {i // 9}"}
        rows.append(row)
    write_lines(folder / "items.jsonl", rows)
