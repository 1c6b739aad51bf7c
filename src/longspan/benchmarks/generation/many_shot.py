"""Many-shot classification: examples of every class until the prompt is full, then one text to classify."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from longspan.benchmarks.files import write_lines
from longspan.benchmarks.haystack import generator, permutation
from longspan.benchmarks.labelled import Item, read_items
from longspan.benchmarks.rows import check_samples, draw, fill, room_for
from longspan.benchmarks.tasks import Count, Question, Questions, usual_count
from longspan.benchmarks.text_metrics import first_line
from longspan.errors import BenchmarkError

CARD = {
    "title": "Many-shot classification (LongICLBench, earlier LIConBench)",
    "source": "arXiv:2404.02060",
    "year": 2024,
    "authors": "Li et al.",
    "task": "classify a text after a prompt full of examples of many classes",
    "metrics": ("accuracy",),
    "scope": "high",
    "diffusion": "low",
    "licence": "yours: any labelled file; the paper's six sets have their own",
    "claim": "28 to 174 classes in 2k to 50k tokens; models do well on few classes and struggle at 174 (abstract)",
    "caution": "a model may know the task from its training: compare with few shots on the same file",
    "aliases": ("longicl", "longiclbench", "liconbench"),
}

_LAYOUT = "train.jsonl and test.jsonl: text, label"


@dataclass(frozen=True)
class ManyShot:
    """In-context learning of many classes (Li et al. 2024, section 3), from any labelled file.

    Examples are taken round robin over the classes: each round holds one example of every class that has any left,
    in an order of its own, and the last round is cut where the length is reached.

    Attributes:
        folder: Folder with train.jsonl and test.jsonl: text, label.
        names: Whether the classes are told before the examples.
        samples: Texts to classify, drawn by the seed; 0 for all of test.jsonl (500 as published).
        new_tokens: Tokens of the reply, enough for the longest label.
    """

    folder: str = ""
    names: bool = True
    samples: int = 50
    new_tokens: int = 32

    def __post_init__(self) -> None:
        """Check the counts."""
        check_samples("many_shot", self.samples)

    def examples(self, length: int | None, seed: int, count: Count = usual_count) -> Questions:
        """Build the set.

        Args:
            length: Tokens of prompt and reply.
            seed: Draws the texts to classify, the examples and their order.
            count: The model's tokenizer.

        Raises:
            BenchmarkError: The folder is missing or damaged, or has too few examples for the length.
        """
        room = room_for("many_shot", length, self.new_tokens)
        if not self.folder:
            raise BenchmarkError("many_shot needs labelled texts.", f'many_shot(folder="...") with {_LAYOUT}')
        train, test = (read_items("many_shot", Path(self.folder) / f"{part}.jsonl") for part in ("train", "test"))
        labels = sorted({item.label for item in train})
        for item in test:
            if item.label not in labels:
                raise BenchmarkError(
                    f"test.jsonl has the label {item.label!r}, of which train.jsonl has no example.",
                    "remove those lines, or add examples",
                )
        longest = max(labels, key=lambda label: (count(label), label))
        if count(longest) > self.new_tokens:
            raise BenchmarkError(
                f"The label {longest[:40]!r} has {count(longest)} tokens, the reply {self.new_tokens}.",
                f"many_shot(new_tokens={count(longest) + 1})",
            )
        shots = round_robin(train, labels, seed)
        asked = draw(test, self.samples, permutation(len(test), generator("many_shot", seed)))
        head = "Classify the text."
        if self.names:
            head += f" The classes are: {', '.join(labels)}."
        questions = {}
        for i, item in enumerate(asked):
            build = _Prompt(head, shots, item.text)
            units = fill("many_shot", build, room, count, 1, len(shots))
            facts = {"shots": units, "labels": len(labels)}
            questions[f"q{i:04d}"] = Question(
                build(units), (item.label,), item.label, self.new_tokens, ("\n",), facts=facts
            )
        return Questions("many_shot", length, questions)

    def score(self, example: Question, output: str) -> dict[str, float]:
        """1 where the reply's first line is the label, whatever the case and the full stop."""
        told, right = (text.strip(" .\"'").casefold() for text in (first_line(output), example.answers[0]))
        return {"accuracy": float(told == right)}


@dataclass(frozen=True)
class _Prompt:
    """Prompts of a text with a growing number of examples."""

    head: str
    shots: Sequence[Item]
    text: str

    def __call__(self, units: int) -> str:
        told = [self.shots[i % len(self.shots)] for i in range(units)]
        examples = "".join(f"Text: {item.text}\nClass: {item.label}\n\n" for item in told)
        return f"{self.head}\n\n{examples}Text: {self.text}\nClass:"


def round_robin(items: Sequence[Item], labels: Sequence[str], seed: int) -> list[Item]:
    """All items, in rounds of one for each class that has any left."""
    rng = generator("many_shot shots", seed)
    left = {label: [item for item in items if item.label == label] for label in labels}
    for label, members in left.items():
        left[label] = [members[i] for i in permutation(len(members), rng)]
    shots = []
    while any(left.values()):
        shots += [left[labels[i]].pop() for i in permutation(len(labels), rng) if left[labels[i]]]
    return shots


def twin(folder: Path) -> None:
    """Write a small made-up set: who says what to a shop."""
    folder.mkdir(parents=True, exist_ok=True)
    things = ("kettle", "lamp", "coat", "radio", "clock", "bicycle", "sofa", "carpet", "mirror", "drill")
    wishes = {
        "return": "I would like to send back the {} because it did not look at all as it did in the pictures.",
        "delivery": "Could you tell me on which day of next week the {} that I ordered will be brought to us?",
        "repair": "After only {n} days the {} stopped working and now makes a noise that wakes the neighbours.",
        "price": "In another shop I saw the same {} for {n} crowns less, so can you offer it for that as well?",
        "praise": "The {} is wonderful, my whole family uses it every day and we have told {n} friends about it.",
    }
    rows = []
    for i in range(800):
        label = sorted(wishes)[i % len(wishes)]
        text = f"Order {1000 + i}: " + wishes[label].format(things[i // 5 % 10], n=2 + i // 50)
        rows.append({"text": text, "label": label})
    write_lines(folder / "train.jsonl", rows[20:])
    write_lines(folder / "test.jsonl", rows[:20])
