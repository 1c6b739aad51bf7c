"""Perplexity by position: how well the last tokens of a long passage are predicted."""

from __future__ import annotations

import gzip
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from longspan.benchmarks.files import read_lines, text_of
from longspan.benchmarks.haystack import generator, pieces
from longspan.benchmarks.tasks import Count, Passages, usual_count
from longspan.errors import BenchmarkError

CARD = {
    "title": "Perplexity by position",
    "source": "arXiv:2108.12409",
    "year": 2021,
    "authors": "Press et al.",
    "task": "predict the last tokens of a passage from all that stands before them",
    "metrics": ("nll", "likelihood"),
    "lower": ("nll",),
    "scope": "low",
    "diffusion": "low",
    "licence": "public domain (Grant, Personal Memoirs, 1885)",
    "claim": "the usual first test of an extended window since ALiBi (section 2); no number of its own here",
    "caution": "most tokens are predicted from the few before them: a model may keep its perplexity and still use "
    "nothing that stands far away",
    "aliases": ("ppl", "pg19"),
}

_DATA = Path(__file__).parents[1] / "data"


@dataclass(frozen=True)
class Perplexity:
    """Mean negative log-likelihood of a passage's last tokens, as the passage gets longer (Press et al. 2021).

    ``nll = -mean log p(token | all before it)`` in nats a token, perplexity = exp(nll); ``likelihood`` = 1 /
    perplexity. The passages of every length end at the same places, so the same tokens are predicted with more
    and more before them.

    Attributes:
        passages: How many.
        scored: Tokens of each that are predicted.
        folder: "" for the shipped memoirs, else a folder of .txt, .md and .jsonl files (with "text"), whose texts
            are joined by blank lines in the order of their names.
    """

    passages: int = 16
    scored: int = 256
    folder: str = ""

    def __post_init__(self) -> None:
        """Check the counts."""
        if self.passages < 1 or self.scored < 1:
            raise BenchmarkError(
                f"perplexity of {self.passages} passages and {self.scored} tokens.", "both are 1 or more"
            )

    def examples(self, length: int | None, seed: int, count: Count = usual_count) -> Passages:
        """Build the set.

        Args:
            length: Tokens of a passage.
            seed: Draws where the passages end.
            count: Tokens of a text.

        Raises:
            BenchmarkError: The length is missing or not above ``scored``, or there is too little text.

        Example:
            >>> len(Perplexity(passages=4).examples(1024, seed=0).texts)
            4
        """
        if length is None or length <= self.scored:
            raise BenchmarkError(
                f"perplexity of {self.scored} tokens in a passage of {length}.",
                f"a length of {self.scored + 1} or more",
            )
        words = _words(self.folder)
        # Words that surely have as many tokens: measured on a piece, and half as many again.
        sample = "".join(words[:2000])
        need = math.ceil(1.5 * length * min(len(words), 2000) / max(count(sample), 1)) + 1
        half = len(words) // 2  # passages end in the second half, so that all lengths can end at the same places
        if need > half:
            raise BenchmarkError(
                f"{len(words)} words of text are too few for passages of {length} tokens.",
                f"a length of at most {int(length * half / need)}, or a folder with more text",
            )
        rng = generator("perplexity", seed)
        texts = {}
        for i in range(self.passages):
            end = half + int(rng.random() * (len(words) - half + 1))
            texts[f"p{i:04d}"] = _last(words[end - need : end], length, count)
        return Passages("perplexity", length, self.scored, texts)

    def score(self, example: str, output: Sequence[float]) -> dict[str, float]:
        """Score the log-probabilities (output) of the last tokens of a passage (example)."""
        if not output:
            return {"nll": math.inf, "likelihood": 0.0}
        nll = -sum(output) / len(output)
        return {"nll": nll, "likelihood": math.exp(-nll)}


def _last(words: Sequence[str], length: int, count: Count) -> str:
    """The fewest last words that have ``length`` tokens or more."""
    low, high = 1, len(words)
    while low < high:
        middle = (low + high) // 2
        if count("".join(words[-middle:])) >= length:
            high = middle
        else:
            low = middle + 1
    return "".join(words[-low:])


@cache
def _words(folder: str) -> list[str]:
    if not folder:
        return pieces(gzip.decompress((_DATA / "haystack.txt.gz").read_bytes()).decode())
    texts = []
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix in (".txt", ".md", ".jsonl"))
    for path in paths:
        if path.suffix == ".jsonl":
            texts += [text_of(row, "text", path, line) for line, row in read_lines(path)]
        else:
            texts.append(path.read_text(encoding="utf-8"))
    if not texts:
        raise BenchmarkError(f"{folder} holds no .txt, .md or .jsonl file.", "name a folder of texts")
    return pieces("\n\n".join(texts))
