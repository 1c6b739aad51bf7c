"""Needle threading: values of UUIDs in a JSON object, told at once or through threads of keys."""

from __future__ import annotations

import difflib
import random
from dataclasses import dataclass, fields
from functools import partial
from itertools import pairwise
from typing import Any

from longspan.benchmarks.generation._draws import fresh, uuid
from longspan.benchmarks.generation._grow import Make, check_questions, endless, grow, scatter, share
from longspan.benchmarks.generation._replies import first_uuids
from longspan.benchmarks.tasks import Count, Question, Questions, usual_count
from longspan.errors import BenchmarkError

CARD = {
    "title": "Needle Threading",
    "source": "arXiv:2411.05000",
    "year": 2024,
    "authors": "Roberts et al.",
    "task": "tell values in a JSON object of UUIDs: of one key, of many, of marked keys, at the ends of threads",
    "metrics": ("acc",),
    "scope": "middle",
    "diffusion": "high",
    "licence": "generated; own wording of the questions but the first",
    "claim": "many of 17 models follow several threads at once without loss, forward better than backward, at context "
    "limits well below the supported ones (abstract and section 4)",
    "caution": "exact matching of random digits: no language is understood; a UUID costs 20 to 36 tokens",
    "aliases": ("threading",),
}

# The parameters that a task has.
_USES = {
    "single": ("depths",),
    "multiple": ("needles",),
    "conditional": ("needles", "character"),
    "thread": ("hops", "direction"),
    "multi_thread": ("hops", "direction", "threads"),
    "branching": ("hops", "direction", "branches"),
}
_DIRECTIONS = ("forward", "backward", "random")
_CHAIN = (
    "However, that value might equal another key in the JSON object, whose value might equal another key again, and so "
    "on. "
)


@dataclass(frozen=True)
class NeedleThreading:
    """Roberts et al. 2024, section 3: a haystack of UUID pairs, '{"key": "value",', one to a line, and a question.

    ===============  ====================================================================================
    ``task``         what is asked for
    ===============  ====================================================================================
    single           the value of a key
    multiple         the values of several keys
    conditional      the values of all keys that contain a character no UUID has
    thread           the end of a thread: each value is the next key
    multi_thread     the ends of several threads
    branching        the end of the longest branch: a key stands with several values, one of them a key
    ===============  ====================================================================================

    The published haystacks are of 1k to 630k tokens and the question of ``single`` is theirs; that a branch is a pair
    with the same key is our reading. A direction says how a thread's pairs follow one another in the haystack.

    Attributes:
        task: One of these, "" for the collection of all.
        questions: Prompts at each length.
        depths: single: 0 for uniformly random places, k for k equally filled depths.
        needles: multiple, conditional: keys that are asked for.
        character: conditional: what their keys contain.
        hops: Pairs of a thread.
        direction: forward, backward or random.
        threads: multi_thread: threads that are asked for.
        branches: branching: values of a key that is not the last.
    """

    task: str = ""
    questions: int = 50
    depths: int = 0
    needles: int = 10
    character: str = "*"
    hops: int = 5
    direction: str = "forward"
    threads: int = 3
    branches: int = 2

    def __post_init__(self) -> None:
        """Check the task, and that it has the parameters given."""
        if self.task and self.task not in _USES:
            close = difflib.get_close_matches(self.task, _USES, n=1, cutoff=0.4)
            nearest = f"did you mean {close[0]}? " if close else ""
            raise BenchmarkError(f"needle_threading has no task {self.task!r}.", f"{nearest}known: {', '.join(_USES)}")
        check_questions("needle_threading", self.questions, self.depths)
        used = ("task", "questions", *_USES.get(self.task, [f.name for f in fields(self)]))
        for field in fields(self):
            if field.name not in used and getattr(self, field.name) != field.default:
                raise BenchmarkError(
                    f"needle_threading's task {self.task} has no {field.name}.", f"it has {', '.join(used[1:])}"
                )
        if not (
            1 <= self.needles <= 100
            and 1 <= self.hops <= 100
            and 1 <= self.threads <= 100
            and 1 <= self.branches <= 100
        ):
            raise BenchmarkError(
                f"needle_threading has no needles={self.needles}, hops={self.hops}, threads={self.threads}, "
                f"branches={self.branches}.",
                "needles, hops, threads and branches from 1 to 100",
            )
        if self.task == "branching" and (self.hops < 2 or self.branches < 2):
            raise BenchmarkError(
                f"hops={self.hops} and branches={self.branches} make no branch.", "hops=2 and branches=2, or more"
            )
        if self.direction not in _DIRECTIONS:
            raise BenchmarkError(f"There is no direction {self.direction!r}.", f"known: {', '.join(_DIRECTIONS)}")
        if (
            len(self.character) != 1
            or self.character in '0123456789abcdefABCDEF-"\\'
            or not self.character.isprintable()
        ):
            raise BenchmarkError(f"{self.character!r} cannot mark a key.", "a character that no UUID has, such as *")

    def parts(self) -> tuple[Any, ...]:
        """The benchmark of each task, with the parameters it has."""
        return tuple(
            NeedleThreading(task, **{name: getattr(self, name) for name in ("questions", *uses)})
            for task, uses in _USES.items()
        )

    def examples(self, length: int | None, seed: int, count: Count = usual_count) -> Questions:
        """Build the set.

        Args:
            length: Tokens of a prompt and its longest reply together.
            seed: Same seed, same bytes.
            count: Tokens of a text.

        Raises:
            BenchmarkError: This is the collection, or the length is missing or too short.
        """
        if not self.task:
            raise BenchmarkError("needle_threading is a collection.", f"task= one of {', '.join(_USES)}")
        name = f"needle_threading_{self.task}"
        return grow(name, length, seed, count, self.questions, self._draw, self.depths)

    def score(self, example: Question, output: str) -> dict[str, float]:
        """Share of the right values among the first so many UUIDs of the reply; for one, the first must be right."""
        told = first_uuids(output, len(example.answers))
        return {"acc": sum(answer in told for answer in example.answers) / len(example.answers)}

    def _draw(self, rng: random.Random, aim: float) -> Make:
        draw = partial(fresh, lambda _: uuid(rng), set())
        threads = {"multiple": self.needles, "conditional": self.needles, "multi_thread": self.threads}.get(
            self.task, 1
        )
        hops = self.hops if "hops" in _USES[self.task] else 1
        # A thread of n pairs has n + 1 UUIDs: keys, each the value before it, and the end.
        chains = [[draw() for _ in range(hops + 1)] for _ in range(threads)]
        needles: list[str] = []
        aims: list[float] = []
        for chain in chains:
            if self.task == "conditional":
                place = int(rng.random() * 8)
                chain[0] = chain[0][:place] + self.character + chain[0][place + 1 :]
            places = [rng.random() for _ in chain[1:]]
            if not aims and hops == 1:
                places = [aim]
            aims += places if self.direction == "random" else sorted(places, reverse=self.direction == "backward")
            needles += [_pair(key, value) for key, value in pairwise(chain)]
        if self.task == "branching":
            for key in chains[0][: hops - 1]:
                needles += [_pair(key, draw()) for _ in range(self.branches - 1)]
                aims += [rng.random() for _ in range(self.branches - 1)]
        asked, answers = self._asked([chain[0] for chain in chains]), tuple(chain[-1] for chain in chains)
        first = endless(lambda: _pair(draw(), draw()))

        def make(pairs: int) -> Question:
            haystack = ",\n".join(scatter(first(pairs), needles, aims))
            return Question(
                f"{{{haystack}}}\n{asked}",
                answers,
                ", ".join(answers),
                new_tokens=50 + 50 * len(answers),  # 100 for one value, as published
                depth=share(min(aims), pairs),
            )

        return make

    def _asked(self, keys: list[str]) -> str:
        listed = ", ".join(f'"{key}"' for key in keys)
        first, last = {
            "single": ("Extract the value corresponding to the specified key in the JSON object.", "value"),
            "multiple": ("Extract the values corresponding to the specified keys in the JSON object.", "values"),
            "conditional": (
                f'Extract the values corresponding to the keys that contain the character "{self.character}" in the '
                "JSON object.",
                "values",
            ),
            "thread": (
                f"The specified key corresponds to a value in the JSON object. {_CHAIN}Extract the final value of this "
                "chain.",
                "final value",
            ),
            "multi_thread": (
                "The specified keys each correspond to a value in the JSON object. "
                f"{_CHAIN}Extract the final value of each chain.",
                "final values",
            ),
            "branching": (
                "The specified key corresponds to several values in the JSON object. However, one of these values "
                "might equal another key in the JSON object, which might correspond to several values again, and so "
                "on. Extract the final value of the longest chain.",
                "final value",
            ),
        }[self.task]
        shown = "" if self.task == "conditional" else f" Key{'s' if len(keys) > 1 else ''}: {listed}\n"
        return f"{first}{shown} Corresponding {last}:"


def _pair(key: str, value: str) -> str:
    return f'"{key}": "{value}"'
