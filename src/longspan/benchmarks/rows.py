"""Rows of language-model benchmarks: from a folder of JSON lines, or from the hub."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from longspan.benchmarks.files import read_lines
from longspan.benchmarks.fit import fit
from longspan.benchmarks.tasks import Count, Question
from longspan.errors import BenchmarkError, one_line, require

Row = tuple[Path, int, dict[str, Any]]
"""Where a row stands (file and line) and what it says."""


def rows_of(path: Path, layout: str) -> list[Row]:
    """Rows of a JSON-lines file.

    Args:
        path: The file.
        layout: What a line holds, for the hint where there is none.

    Raises:
        BenchmarkError: The file cannot be read, a line is not a JSON object, or there is no line.
    """
    rows = [(path, line, row) for line, row in read_lines(path)]
    if not rows:
        raise BenchmarkError(f"{path} is empty.", f"each line is an object with {layout}")
    return rows


def hub_rows(name: str, repository: str, config: str | None, split: str, layout: str) -> list[Row]:
    """Rows of a data set on the hub.

    Args:
        name: The benchmark's name.
        repository: The data set's id.
        config: Its configuration, None for the only one.
        split: Its split.
        layout: What a folder would have to hold, for the hint.

    Raises:
        BenchmarkError: The hub cannot be reached, or the data set is not there.
    """
    datasets = require("datasets", f"{name} from the hub", "lm")
    try:
        found = datasets.load_dataset(repository, config, split=split)
    except Exception as error:  # noqa: BLE001 the library raises dozens of types, each for the same fact
        raise BenchmarkError(
            f"{name} could not load {repository} from the hub: {one_line(error)}", f'{name}(folder="...") with {layout}'
        ) from None
    return [(Path(repository), i, dict(row)) for i, row in enumerate(found, start=1)]


def find(folder: str, names: Sequence[str]) -> Path:
    """The first of these files that is there, else the first, for the error that it is not."""
    paths = [Path(folder) / name for name in names]
    return next((path for path in paths if path.is_file()), paths[0])


def draw(rows: Sequence[Any], samples: int, order: Sequence[int]) -> list[Any]:
    """So many rows in a drawn order, all as they stand for 0 or where there are no more than that."""
    return list(rows) if not samples or samples >= len(rows) else [rows[i] for i in sorted(order[:samples])]


def numbered(asked: Sequence[Question], samples: int, order: Callable[[int], Sequence[int]]) -> dict[str, Question]:
    """Drawn questions, each by its number among all."""
    return {f"q{i:04d}": question for i, question in draw(list(enumerate(asked)), samples, order(len(asked)))}


def check_samples(name: str, samples: int) -> None:
    """Check a number of questions, 0 for all there are.

    Raises:
        BenchmarkError: It is negative.
    """
    if samples < 0:
        raise BenchmarkError(f"{name} has no {samples} questions.", f"{name}(samples=0) takes all there are")


def check_natural(name: str, length: int | None) -> None:
    """Check that no length is asked for.

    Raises:
        BenchmarkError: One is.
    """
    if length is not None:
        raise BenchmarkError(f"{name} has whole documents, not documents of {length} tokens.", "length=None")


def room_for(name: str, length: int | None, new_tokens: int) -> int:
    """Tokens that a prompt of a set may have.

    Raises:
        BenchmarkError: There is no length, or the reply alone fills it.
    """
    if length is None or length <= new_tokens:
        raise BenchmarkError(f"{name} has no prompts of length {length}.", f"a length of more than {new_tokens} tokens")
    return length - new_tokens


def fill(name: str, build: Callable[[int], str], room: int, count: Count, least: int, most: int) -> int:
    """``fit`` for units that may run out; ``build`` takes them from the beginning again where they do.

    Raises:
        BenchmarkError: Fewer than ``least`` fit, or all there are do not fill the room.
    """
    units = fit(build, room, count, least)
    if units > most:
        longest = count(build(most))
        raise BenchmarkError(
            f"{name} has {most} pieces of text here, which make a prompt of {longest} tokens, not {room}.",
            f"a length that is {room - longest} tokens less, or more text in the folder",
        )
    return units


def place(i: int, depths: int, units: int) -> int:
    """Index of question i's evidence among units, spread evenly: floor((i mod depths) (units - 1) / (depths - 1))."""
    return (i % depths) * (units - 1) // (depths - 1) if depths > 1 else 0
