"""Collapse: do the vectors of long texts crowd together?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from longspan.benchmarks.files import write_lines
from longspan.benchmarks.retrieval.fairytaleqa import FairytaleQA
from longspan.benchmarks.tasks import Count, Labelled, usual_count
from longspan.benchmarks.vectors._rows import read_texts, rows_of, unit
from longspan.errors import BenchmarkError

CARD = {
    "title": "Length-induced embedding collapse",
    "source": "arXiv:2410.24200",
    "year": 2024,
    "authors": "Zhou et al.",
    "task": "look how close the vectors of different texts stand, by how much of each was read",
    "metrics": ("mean_cosine",),
    "lower": ("mean_cosine",),
    "scope": "low",
    "diffusion": "low",
    "licence": "public domain tales (Project Gutenberg), as cut for FairytaleQA (Apache-2.0)",
    "claim": "vectors of longer texts cluster; TempScale, made against it, gains 1.10 % on LongEmbed and 0.94 % on "
    "MTEB (abstract)",
    "caution": "a diagnostic without a right answer: lower is better spread, not better found; texts of one kind are "
    "truly alike, and more of each shows it; compare only the same texts; -1..1",
    "aliases": ("length_collapse",),
}


@dataclass(frozen=True)
class Collapse:
    """Mean pairwise cosine of the same texts, read to a given length (Zhou et al. 2024).

    mean_cosine of text i = sum over j != i of cos(i, j) / (texts - 1). The longest texts there are, so that at each
    length the same texts are read, and each of them has that many tokens.

    Attributes:
        texts: How many, the longest first. With more of them the greatest length is shorter: of the 60 tales
            shipped, 30 have 2,400 tokens, 10 have 3,300.
        folder: "" for the tales, else a folder with corpus.jsonl (id, text), as a retrieval set has it.
    """

    texts: int = 30
    folder: str = ""
    judged: ClassVar[bool] = False  # a diagnostic: no output is the right one

    def __post_init__(self) -> None:
        """Check the count."""
        if self.texts < 2:
            raise BenchmarkError(f"collapse compares pairs of texts, texts={self.texts}.", "texts=2 or more")

    def examples(self, length: int | None, seed: int, count: Count = usual_count) -> Labelled:
        """Choose the texts.

        Args:
            length: How much of each is read [tokens].
            seed: Without effect; nothing is drawn.
            count: The model's tokens in a text.

        Raises:
            BenchmarkError: The length is missing or greater than a text, or there are too few texts.

        Example:
            >>> Collapse(texts=10).examples(512, seed=0).length
            512
        """
        found = _corpus(self.folder)
        if len(found) < self.texts:
            raise BenchmarkError(f"collapse has {len(found)} texts here, not {self.texts}.", f"texts={len(found)}")
        # Characters order the texts: the choice must not depend on the tokenizer of a model.
        kept = sorted(found, key=lambda key: (-len(found[key]), key))[: self.texts]
        shortest = min(count(found[key]) for key in kept)
        if length is None or not 1 <= length <= shortest:
            raise BenchmarkError(
                f"collapse has no {self.texts} texts of length {length}: the shortest has {shortest} tokens.",
                f"a length of 1 to {shortest}, fewer texts, or a folder of longer ones",
            )
        return Labelled("collapse", length, {key: found[key] for key in sorted(kept)})

    def score(self, example: Labelled, output: Any) -> dict[str, list[float]]:
        """Compare every text with every other one.

        Args:
            example: The set.
            output: Vectors [texts, dimension].

        Returns:
            ``mean_cosine``: of each text to the others, -1..1, lower is better spread.

        Raises:
            BenchmarkError: The vectors do not belong to the texts, or one of them is zero.
        """
        rows = unit(rows_of(example, output))
        if zero := int((~rows.any(axis=1)).sum()):
            raise BenchmarkError(f"{zero} of {len(rows)} vectors are zero and have no cosine.", "encode every text")
        # The sum over all texts holds the text itself, whose cosine is 1.
        means = (rows @ rows.sum(axis=0) - 1) / (len(rows) - 1)
        return {"mean_cosine": [float(mean) for mean in means]}


def twin(folder: Path) -> None:
    """Write 40 made-up texts of 4,200 words, each about things of its own, as corpus.jsonl."""
    kinds, places = ("bread", "boats", "stars", "bees", "clocks", "wool", "maps", "bells"), "abcde"
    rows = [
        {"id": f"{kind}_{place}", "text": " ".join([f"Here {kind} of town {place} are shown."] * 600)}
        for kind in kinds
        for place in places
    ]
    folder.mkdir(parents=True, exist_ok=True)
    write_lines(folder / "corpus.jsonl", rows)


def _corpus(folder: str) -> dict[str, str]:
    if not folder:
        return FairytaleQA().examples(None, 0).documents
    return {key: row[0] for key, row in read_texts(Path(folder) / "corpus.jsonl", "text").items()}
