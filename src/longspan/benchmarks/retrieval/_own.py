"""The user's own documents: read from their files, cut into sentences, laid out as a haystack."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import NamedTuple

from longspan.benchmarks.files import bad_line, read_lines, text_of, write_lines
from longspan.benchmarks.fit import fit
from longspan.benchmarks.haystack import permutation, pieces
from longspan.benchmarks.tasks import Count
from longspan.errors import BenchmarkError

# What ends a sentence in most scripts, with closing quotes; an initial or a title before the stop is none.
_STOP = re.compile(
    r"(?<!\b[A-Z])(?<!\bMr)(?<!\bMrs)(?<!\bDr)(?<!\bSt)[.!?][\"'\u2019\u201d)\]]*(?=\s)|[\u3002\uff01\uff1f]|\n\s*\n"
)
_KINDS = (".jsonl", ".txt", ".md")


class Sentence(NamedTuple):
    """A sentence of a document: its text, where it stands [characters], and the depth of its beginning [0..1]."""

    document: str
    start: int
    end: int
    text: str
    depth: float


def read(name: str, path: str, least: int) -> dict[str, str]:
    """Read documents from a file or from all files of a folder.

    A ``.jsonl`` file has an object with ``id`` and ``text`` on each line; a ``.txt`` or ``.md`` file is one document,
    its path its id. Of a folder with a ``corpus.jsonl`` (LongEmbed's layout) that file alone is read.

    Args:
        name: The benchmark's name.
        path: The file or folder.
        least: How many documents the benchmark needs.

    Returns:
        Id to text, sorted by id; documents without any text are left out.

    Raises:
        BenchmarkError: A file cannot be read, an id occurs twice, or there are too few documents.
    """
    root = Path(path)
    documents: dict[str, str] = {}
    for file in _files(root):
        if file.suffix.lower() == ".jsonl":
            for line, row in read_lines(file):
                key = text_of(row, "id", file, line)
                if key in documents:
                    raise bad_line(file, line, f"the id {key!r} occurs twice")
                documents[key] = text_of(row, "text", file, line)
        else:
            key = file.relative_to(root).as_posix() if root.is_dir() else file.name
            if key in documents:
                raise BenchmarkError(f"{file}: the id {key!r} occurs twice.", "rename the file or that document")
            documents[key] = _whole(file)
    found = {key: text for key, text in sorted(documents.items()) if text.strip()}
    if len(found) < least:
        raise BenchmarkError(f"{name} needs {least} documents or more, {path} has {len(found)}.", _hint())
    return found


def sentences(key: str, text: str) -> list[Sentence]:
    """The sentences of a document; an empty line ends one, too, a line break does not: it may wrap a line."""
    found, start = [], 0
    for end in [*(stop.end() for stop in _STOP.finditer(text)), len(text)]:
        piece = text[start:end]
        if piece.strip():
            first = start + len(piece) - len(piece.lstrip())
            last = first + len(piece.strip())
            found.append(Sentence(key, first, last, text[first:last], first / len(text)))
        start = end
    return found


def unmistakable(documents: dict[str, str], least: int, most: int) -> dict[str, list[Sentence]]:
    """Each document's sentences of ``least`` to ``most`` characters that stand only once in all documents."""
    cut = {key: sentences(key, text) for key, text in documents.items()}
    times = Counter(" ".join(sentence.text.lower().split()) for found in cut.values() for sentence in found)
    return {
        key: [
            sentence
            for sentence in found
            if least <= len(sentence.text) <= most and times[" ".join(sentence.text.lower().split())] == 1
        ]
        for key, found in cut.items()
    }


def split(documents: dict[str, str], rng: Random) -> tuple[list[str], list[str]]:
    """Ids of one half of the documents, to ask for, and of the other half, to hide them in; both in random order."""
    keys = list(documents)
    order = [keys[i] for i in permutation(len(keys), rng)]
    return order[: len(order) // 2], order[len(order) // 2 :]


class Haystack:
    """Text of documents one after another, as words with the white space after them.

    Args:
        documents: Id to text.
        keys: Which of them, in this order.

    Attributes:
        words: All words.
        starts: Numbers of the words that a sentence begins with.
    """

    def __init__(self, documents: dict[str, str], keys: list[str]) -> None:
        cut = []
        for key in keys:
            *inner, last = sentences(key, documents[key])
            cut += [*(pieces(sentence.text + " ") for sentence in inner), pieces(last.text + "\n")]
        self.words = [word for line in cut for word in line]
        self.starts = [0, *accumulate(len(line) for line in cut[:-1])]

    def fit(self, name: str, build: Callable[[int], str], length: int | None, count: Count, guess: int | None) -> int:
        """Words of haystack that make a document as long as asked for.

        Args:
            name: The benchmark's name.
            build: Number of words to the document.
            length: Tokens the document may have.
            count: Tokens of a text.
            guess: About how many words, where that is known.

        Raises:
            BenchmarkError: The length is missing, shorter than what is hidden, or longer than the haystack.
        """
        least = count(build(0))
        if length is None or length <= least:
            raise BenchmarkError(f"{name} has no documents of length {length}.", f"a length of {least + 1} or more")
        # No word is less than one token, so these many are too many if there are as many.
        all_words = count(build(min(len(self.words), length + 1)))
        if all_words <= length:
            raise BenchmarkError(
                f"{name} has no documents of length {length}: {len(self.words)} words are there to hide something in.",
                f"a length of {least + 1} to {all_words - 1}, or more documents" if all_words > least + 1 else _hint(),
            )
        return fit(build, length, count, guess=guess)


def twin(folder: Path) -> None:
    """Write 40 made-up documents of 41 sentences, in one file; each text starts with a title."""
    trades = ("baker", "miller", "potter", "tanner", "weaver", "cooper", "mason", "smith")
    goods = ("barrels of cider", "rolls of linen", "sacks of barley", "crates of glass", "pots of honey")
    months = ("January", "March", "April", "June", "August", "October", "December")
    rows = []
    for i in range(40):
        town = f"{('North', 'South', 'East', 'West')[i % 4]}{('ham', 'ford', 'wick', 'bury', 'ley')[i // 8]}"
        trade, street = trades[i % 8], 11 + 7 * i
        text = f"The ledger of the {trade} of {town}, house {street}\n\n"
        for j in range(40):
            text += (
                f"On day {j // 7 + 1} of {months[j % 7]} the {trade} of {town} sold {3 + (5 * i + 3 * j) % 89} "
                f"{goods[(i + 3 * j) % 5]} to a traveller who paid {100 + 41 * i + j} coins. "
            )
        rows.append({"id": f"ledger{i:02d}", "text": text.strip()})
    folder.mkdir(parents=True, exist_ok=True)
    write_lines(folder / "corpus.jsonl", rows)


def _files(root: Path) -> list[Path]:
    if root.is_dir():
        corpus = root / "corpus.jsonl"
        return [corpus] if corpus.is_file() else sorted(_walk(root))
    if root.suffix.lower() not in _KINDS:
        raise BenchmarkError(f"{root} is neither a folder nor one of {', '.join(_KINDS)}.", _hint())
    return [root]


def _walk(root: Path) -> Iterator[Path]:
    for file in root.rglob("*"):
        hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
        if file.suffix.lower() in _KINDS and file.is_file() and not hidden:
            yield file


def _whole(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BenchmarkError(f"{file} cannot be read: {error.strerror}.", "give the path of a readable file") from None
    except UnicodeDecodeError as error:
        raise BenchmarkError(f"{file} is not UTF-8 at byte {error.start}.", "save it as UTF-8") from None


def _hint() -> str:
    return "a folder with .txt or .md files, one document each, or a .jsonl file with id and text on each line"
