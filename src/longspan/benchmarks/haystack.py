"""Hiding a needle: the random source, the word budget and the places that synthetic sets share."""

from __future__ import annotations

import gzip
import random
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from longspan.benchmarks.tasks import Retrieval
from longspan.errors import BenchmarkError

_NEEDLE_WORDS = 25  # LongEmbed's allowance for the needle, taken off the word budget at every length
_PROSE = Path(__file__).parent / "data" / "haystack.txt.gz"
_SENTENCE_END = re.compile(r"[.!?][\"')\]]*$")
_ABBREVIATION = re.compile(r"[\"'(\[]*([A-Z]|Mr|Mrs|Dr|St)\.$")


def check_counts(name: str, documents: int, queries: int, depths: int, most: int) -> None:
    """Check the size of a synthetic set.

    Args:
        name: The benchmark's name.
        documents: How many documents.
        queries: How many of them are asked for; more than there are means all of them.
        depths: How many depths the needles are spread over, 0 for random places.
        most: How many documents the benchmark can make.

    Raises:
        BenchmarkError: A number is out of range, or the depths would get unequal numbers of queries.
    """
    if not 1 <= documents <= most:
        raise BenchmarkError(f"{name} has 1 to {most} documents, got {documents}.", f"{name}(documents={most})")
    if queries < 1:
        raise BenchmarkError(f"{name} needs at least 1 query, got {queries}.", f"{name}(queries={documents})")
    asked = min(queries, documents)
    if depths < 0 or depths > asked:
        raise BenchmarkError(f"{name} has {asked} queries, depths={depths}.", f"depths=0 for random, 1 to {asked}")
    if depths and asked % depths:
        raise BenchmarkError(
            f"{asked} queries do not fill {depths} depths equally.",
            f"queries={asked - asked % depths} for {depths} depths",
        )


def generator(name: str, seed: int, length: int | None = None) -> random.Random:
    """A random source for one benchmark, seed and, where given, length [tokens].

    A text seed is hashed with SHA-512, so it does not depend on the process or platform.
    Callers draw with ``random()`` alone, the one sequence Python promises to keep.
    """
    return random.Random(f"{name} {seed} {length}")  # noqa: S311 a benchmark must repeat, not be secret


def permutation(count: int, rng: random.Random) -> list[int]:
    """The numbers 0 to count - 1 in random order."""
    return sorted(range(count), key=[rng.random() for _ in range(count)].__getitem__)


def budget(name: str, length: int | None, most: int | None = None) -> int:
    """Words of haystack in a document: floor(0.75 length) - 25 (a token is taken as 0.75 word).

    Args:
        name: The benchmark's name.
        length: Nominal length [tokens].
        most: Words there are to take from, None for any number.

    Raises:
        BenchmarkError: The length is missing, leaves no room for a word, or is too long.
    """
    # The lengths that give 1 and ``most`` words.
    shortest = -(-4 * (_NEEDLE_WORDS + 1) // 3)
    longest = None if most is None else (4 * (most + _NEEDLE_WORDS) + 3) // 3
    if length is None or length < shortest or (longest is not None and length > longest):
        known = f"a length of {shortest} or more" if longest is None else f"a length of {shortest} to {longest}"
        raise BenchmarkError(f"{name} has no documents of length {length}.", known)
    return length * 3 // 4 - _NEEDLE_WORDS


def hide(
    name: str,
    length: int | None,
    needles: Sequence[tuple[str, str]],
    words: Sequence[str],
    queries: int,
    depths: int,
    rng: random.Random,
) -> Retrieval:
    """Hide one needle in each document (Zhu et al. 2024, arXiv:2404.12096, Figure 7).

    document = haystack before + newline + needle + newline + haystack after, where the needle
    stands where a sentence of the haystack starts.

    Args:
        name: The benchmark's name.
        length: Nominal length [tokens].
        needles: Evidence and question, one pair a document.
        words: The haystack, each word with the white space after it, as many as ``budget`` allows.
        queries: The first so many documents are asked for.
        depths: 0 draws the place uniformly among the sentence starts; k > 0 puts document i's
            needle at the sentence start nearest to depth ((i mod k) + 0.5) / k.
        rng: Draws the places.

    Returns:
        The set; ``depth`` is the share of haystack words before the needle, or with ``depths``
        the depth aimed at, which is less than half a step away from it.

    Raises:
        BenchmarkError: The haystack has too few sentences for the depths.
    """
    starts = sentence_starts(words)
    documents, depth = {}, {}
    for i, (evidence, _) in enumerate(needles):
        if depths:
            aim = (i % depths + 0.5) / depths
            start = min(starts, key=lambda s: abs(s / len(words) - aim))
            if abs(start / len(words) - aim) >= 0.5 / depths:
                raise BenchmarkError(
                    f"{name} at length {length} has no sentence start within half a step of depth {aim:.3f}.",
                    f"fewer than {depths} depths, or a greater length",
                )
        else:
            start = starts[int(rng.random() * len(starts))]
            aim = start / len(words)
        before, after = "".join(words[:start]).rstrip(), "".join(words[start:]).rstrip()
        documents[f"d{i:04d}"] = "\n".join(part for part in (before, evidence, after) if part)
        depth[f"q{i:04d}"] = aim
    asked = {f"q{i:04d}": question for i, (_, question) in enumerate(needles[:queries])}
    return Retrieval(name, length, documents, asked, {q: (f"d{q[1:]}",) for q in asked}, {q: depth[q] for q in asked})


def pieces(text: str) -> list[str]:
    """Words of a text, each with the white space after it."""
    return re.findall(r"\S+\s*", text)


@cache
def prose() -> tuple[str, ...]:
    """Words of the shipped haystack (Grant, Personal Memoirs, 1885), each with the white space after it."""
    return tuple(pieces(gzip.decompress(_PROSE.read_bytes()).decode()))


def sentence_starts(words: Sequence[str]) -> list[int]:
    """Indices of the words before which a needle may stand: the first, and those after the end of a sentence."""
    return [i for i in range(len(words)) if i == 0 or _ends(words[i - 1])]


def _ends(word: str) -> bool:
    word = word.rstrip()
    return bool(_SENTENCE_END.search(word)) and not _ABBREVIATION.match(word)
