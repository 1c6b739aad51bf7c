"""What collections share: a task is chosen by its name, and the collection consists of one benchmark for each."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from longspan.benchmarks.haystack import generator, permutation
from longspan.benchmarks.rows import check_natural, check_samples
from longspan.benchmarks.tasks import Count, Question, Questions, name_of, usual_count
from longspan.errors import BenchmarkError

Order = Callable[[int], list[int]]
"""A number to a random order of so many."""


@dataclass(frozen=True)
class Collection:
    """Several tasks, named like the file of its class.

    Attributes:
        task: One of ``tasks``, "" for the collection.
        folder: Folder with the data.
        tasks: The names of the tasks.
    """

    task: str = ""
    folder: str = ""
    tasks: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        """Check the task.

        Raises:
            BenchmarkError: It is unknown; the nearest names are told.
        """
        if self.task and self.task not in self.tasks:
            near = difflib.get_close_matches(self.task, self.tasks, n=3, cutoff=0.3) or self.tasks
            raise BenchmarkError(f"{name_of(self)} has no task {self.task!r}.", f"nearest: {', '.join(near)}")

    def parts(self) -> tuple[Any, ...]:
        """One benchmark for each task; a task is its own only part."""
        return (self,) if self.task else tuple(replace(self, task=task) for task in self._here())

    def _here(self) -> Sequence[str]:
        """The tasks that the collection consists of."""
        return self.tasks

    def _check_chosen(self) -> None:
        if not self.task:
            raise BenchmarkError(
                f"{name_of(self)} is a collection of {len(self.tasks)} tasks.",
                f"task= one of {', '.join(self.tasks)}",
            )


@dataclass(frozen=True)
class NaturalCollection(Collection, ABC):
    """Tasks of questions about texts that have lengths of their own.

    Attributes:
        samples: Questions of each task, drawn by the seed; 0 for all.
    """

    samples: int = 0
    natural: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the task and the count."""
        super().__post_init__()
        check_samples(name_of(self), self.samples)

    def examples(self, length: int | None, seed: int, count: Count = usual_count) -> Questions:
        """Build the set of one task.

        Args:
            length: None: the texts have the lengths they have.
            seed: Draws the questions where there are fewer than all.
            count: Not needed.

        Raises:
            BenchmarkError: No task or a length is given, or the data are missing or damaged.
        """
        self._check_chosen()
        check_natural(name_of(self), length)
        name = f"{name_of(self)}_{self.task}"
        rng = generator(name, seed)
        return Questions(name, None, self._drawn(lambda number: permutation(number, rng)))

    @abstractmethod
    def _drawn(self, order: Order) -> dict[str, Question]:
        """Id to question of the task, ``samples`` of them, the first in that order."""
