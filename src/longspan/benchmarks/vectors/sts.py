"""STS: do cosines rank pairs of sentences as people do?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from longspan.benchmarks.files import bad_line, read_lines, text_of, write_lines
from longspan.benchmarks.tasks import Labelled
from longspan.benchmarks.vectors._rows import rows_of, unit, whole
from longspan.errors import BenchmarkError

CARD = {
    "title": "Semantic Textual Similarity",
    "source": "arXiv:1908.10084",
    "year": 2019,
    "authors": "Reimers and Gurevych",
    "task": "rank pairs of sentences by how alike they are in meaning",
    "metrics": ("spearman",),
    "scope": "low",
    "diffusion": "low",
    "licence": "CC0; own sentences and grades",
    "claim": "Spearman correlation on the STS benchmark, without training on it: SBERT-NLI-base 77.03, "
    "averaged GloVe embeddings 58.02 (Table 1)",
    "caution": "the 60 shipped pairs are few, easy and graded by one hand: they show damage to short inputs, and are "
    "no substitute for a published set, which goes into a folder; -1..1",
    "aliases": ("semantic_textual_similarity",),
}

_SHIPPED = Path(__file__).parents[1] / "data" / "sts_pairs.jsonl"


@dataclass(frozen=True)
class STS:
    """Spearman correlation of cosines with human grades (Reimers and Gurevych 2019, section 4.1).

    spearman = Pearson correlation of the ranks, where equal values share the mean of their ranks. A guard: sentence
    pairs are far inside the trained window, so an extension has nothing to win here, only something to lose.

    Attributes:
        folder: "" for the shipped pairs, graded from 0 (unrelated) to 5 (the same meaning), else a folder with
            pairs.jsonl (first, second, score); any scale will do.
    """

    folder: str = ""
    natural: ClassVar[bool] = True  # the texts have a length of their own

    def examples(self, length: int | None, seed: int) -> Labelled:
        """Read the pairs.

        Args:
            length: None: the texts are short and read whole.
            seed: Without effect; nothing is drawn.

        Raises:
            BenchmarkError: A length is given, the file is damaged, or all pairs are graded alike.

        Example:
            >>> len(STS().examples(None, seed=0).pairs)
            60
        """
        whole("sts", length)
        path = Path(self.folder) / "pairs.jsonl" if self.folder else _SHIPPED
        texts: dict[str, str] = {}
        pairs: list[tuple[str, str, float]] = []
        for line, row in read_lines(path):
            grade = row.get("score")
            if isinstance(grade, bool) or not isinstance(grade, int | float) or not math.isfinite(grade):
                raise bad_line(path, line, "score is not a number")
            keys = (f"p{len(pairs):05d}a", f"p{len(pairs):05d}b")
            texts |= {key: text_of(row, side, path, line) for key, side in zip(keys, ("first", "second"), strict=True)}
            pairs.append((*keys, float(grade)))
        if len({grade for _, _, grade in pairs}) < 2:
            raise BenchmarkError(
                f"{path} has {len(pairs)} pairs of a single grade: nothing can be ranked.",
                "each line is an object with first, second and score; two scores must differ",
            )
        return Labelled("sts", None, texts, pairs=tuple(pairs))

    def score(self, example: Labelled, output: Any) -> dict[str, list[float]]:
        """Correlate the cosines of the pairs with their grades.

        Args:
            example: The set.
            output: Vectors [texts, dimension].

        Returns:
            ``spearman``: one value, -1..1; 0 where all cosines are equal.

        Raises:
            BenchmarkError: The vectors do not belong to the texts.
        """
        rows = unit(rows_of(example, output))
        place = {key: i for i, key in enumerate(example.texts)}
        first = rows[[place[key] for key, _, _ in example.pairs]]
        second = rows[[place[key] for _, key, _ in example.pairs]]
        cosines = (first * second).sum(axis=1)
        # Rounding must not break ties: pairs of identical vectors are equally alike.
        return {"spearman": [_spearman(cosines.round(12), np.array([grade for _, _, grade in example.pairs]))]}


def twin(folder: Path) -> None:
    """Write 12 pairs, four of each grade 0, 1 and 2, as pairs.jsonl."""
    things = ("lamp", "river", "violin", "bakery")
    rows = [
        {"first": f"The {thing} is old.", "second": second, "score": grade}
        for thing, other in zip(things, (*things[1:], things[0]), strict=True)
        for grade, second in ((2, f"It is an old {thing}."), (1, f"The {thing} is new."), (0, f"We saw a {other}."))
    ]
    folder.mkdir(parents=True, exist_ok=True)
    write_lines(folder / "pairs.jsonl", rows)


def _spearman(first: Any, second: Any) -> float:
    a, b = (_ranks(values) for values in (first, second))
    a, b = a - a.mean(), b - b.mean()
    spread = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / spread if spread else 0.0


def _ranks(values: Any) -> Any:
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    return (last - (sizes - 1) / 2)[group]
