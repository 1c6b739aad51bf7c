"""Probe: can a linear classifier still read from short texts what it could before?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from longspan.benchmarks.files import write_lines
from longspan.benchmarks.haystack import generator, permutation
from longspan.benchmarks.retrieval.fairytaleqa import FairytaleQA
from longspan.benchmarks.tasks import Labelled
from longspan.benchmarks.vectors._rows import read_texts, rows_of, whole
from longspan.errors import BenchmarkError

CARD = {
    "title": "Linear probe of short texts",
    "source": "arXiv:2411.17661",
    "year": 2024,
    "authors": "L3Cube",
    "task": "tell by a linear classifier on the vectors whether the words of a sentence stand in their order",
    "metrics": ("accuracy",),
    "scope": "low",
    "diffusion": "low",
    "licence": "sentences: public domain (Project Gutenberg), cut from the tales of FairytaleQA (Apache-2.0)",
    "claim": "contextual vectors are ahead of averaged word embeddings, which lose more by compression to 300 "
    "dimensions (three Marathi classification tasks)",
    "caution": "a guard of short inputs, not a test of length; chance is 0.5, not 0; of labels that are topics "
    "a table of words tells as much, so own labels should need order or composition",
    "aliases": ("linear_probe",),
}

_TEXTS = 800
_WORDS = range(8, 21)  # of a sentence: enough for an order, far inside any window


@dataclass(frozen=True)
class Probe:
    """Logistic regression on the vectors of labelled short texts, cross-validated.

    The protocol of "BERT or FastText?" (arXiv:2411.17661): vectors of an unchanged model, optionally compressed by
    SVD, multinomial logistic regression, k folds. Features are standardised on the training folds, so that neither
    the classifier nor its penalty depends on the scale of the vectors. A topical label is told as well by a table of
    words, which an extension cannot damage; the shipped label is therefore the order of the words: 800 sentences of
    fairy tales, lower case and without marks, half of them shuffled. No sentence is there both ways, so a bag of
    words knows nothing.

    Attributes:
        folder: "" for the shipped sentences, else a folder with texts.jsonl (id, text, label).
        components: Dimensions the vectors are compressed to by a truncated SVD, 0 for none.
        folds: Parts of the cross-validation; each holds its share of every class.
    """

    folder: str = ""
    components: int = 0
    folds: int = 5
    natural: ClassVar[bool] = True  # the texts have a length of their own

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.components < 0:
            raise BenchmarkError(f"probe cannot keep {self.components} dimensions.", "components=0 keeps all of them")
        if self.folds < 2:
            raise BenchmarkError(f"probe cannot cross-validate with folds={self.folds}.", "folds=2 or more")

    def examples(self, length: int | None, seed: int) -> Labelled:
        """Build the set.

        Args:
            length: None: the texts are short and read whole.
            seed: Draws the sentences and their order; without effect on a folder.

        Raises:
            BenchmarkError: A length is given, the folder is damaged, or a class has too few texts for the folds.

        Example:
            >>> sorted(set(Probe().examples(None, seed=0).labels.values()))
            ['in order', 'shuffled']
        """
        whole("probe", length)
        made = _from_folder(Path(self.folder)) if self.folder else _shuffled(seed)
        sizes = {label: list(made.labels.values()).count(label) for label in sorted(set(made.labels.values()))}
        if len(sizes) < 2:
            raise BenchmarkError(f"probe needs 2 classes, every text is {next(iter(sizes))!r}.", "label the texts")
        rarest = min(sizes, key=lambda label: sizes[label])
        if sizes[rarest] < self.folds:
            raise BenchmarkError(
                f"The class {rarest!r} has {sizes[rarest]} texts, too few for {self.folds} folds.",
                f"at least {self.folds} texts of each class, or fewer folds",
            )
        return made

    def score(self, example: Labelled, output: Any) -> dict[str, list[float]]:
        """Classify each text by a model fitted on the other folds.

        Args:
            example: The set.
            output: Vectors [texts, dimension].

        Returns:
            ``accuracy``: 1 or 0 for each text.

        Raises:
            BenchmarkError: The vectors do not belong to the texts, or have too few dimensions to be compressed.
        """
        from sklearn.decomposition import TruncatedSVD  # type: ignore[import-untyped,unused-ignore]
        from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped,unused-ignore]
        from sklearn.model_selection import (  # type: ignore[import-untyped,unused-ignore]
            StratifiedKFold,
            cross_val_predict,
        )
        from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped,unused-ignore]
        from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped,unused-ignore]

        rows = rows_of(example, output)
        # The smallest training part bounds the rank as the dimension does.
        rank = min(rows.shape[1], len(rows) - -(-len(rows) // self.folds))
        if self.components >= rank:
            raise BenchmarkError(
                f"components={self.components} compress nothing: {rows.shape[1]} dimensions, {len(rows)} texts.",
                f"components=1 to {rank - 1}, or 0 for no compression" if rank > 1 else "components=0",
            )
        labels = np.array([example.labels[key] for key in example.texts])
        steps = [TruncatedSVD(self.components, random_state=0)] if self.components else []
        model = make_pipeline(*steps, StandardScaler(), LogisticRegression(max_iter=2000))
        # The folds are a part of the protocol: always the same, so that two models are compared text by text.
        folds = StratifiedKFold(self.folds, shuffle=True, random_state=0)
        told = cross_val_predict(model, rows, labels, cv=folds)
        return {"accuracy": [float(hit) for hit in told == labels]}


def twin(folder: Path) -> None:
    """Write 40 short texts of two classes, told apart by the order of two names, as texts.jsonl."""
    names = ("Ada", "Bruno", "Clara", "David", "Edith")
    pairs = [(a, b) for a in names for b in names if a != b]
    texts = [(f"{a} {verb} {b}.", "forward" if a < b else "back") for a, b in pairs for verb in ("greeted", "saw")]
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"id": f"t{i:04d}", "text": text, "label": label} for i, (text, label) in enumerate(texts)]
    write_lines(folder / "texts.jsonl", rows)


def _from_folder(folder: Path) -> Labelled:
    rows = read_texts(folder / "texts.jsonl", "text", "label")
    return Labelled("probe", None, {key: row[0] for key, row in rows.items()}, {key: r[1] for key, r in rows.items()})


def _shuffled(seed: int) -> Labelled:
    rng = generator("probe", seed)
    drawn = [_sentences()[i].split() for i in permutation(len(_sentences()), rng)[:_TEXTS]]
    texts, labels = {}, {}
    for i, words in enumerate(drawn):
        order = list(words)
        while i % 2 and order == words:  # a shuffle may leave every word where it was
            order = [words[place] for place in permutation(len(words), rng)]
        texts[f"t{i:04d}"] = " ".join(order)
        labels[f"t{i:04d}"] = "shuffled" if i % 2 else "in order"
    return Labelled("probe", None, texts, labels)


@cache
def _sentences() -> tuple[str, ...]:
    # Capitals and marks would tell where a sentence began, shuffled or not.
    tales = FairytaleQA().examples(None, 0).documents.values()
    found = (re.findall(r"[a-z]+(?:'[a-z]+)*", s.lower()) for tale in tales for s in re.split(r"(?<=[.!?])\s+", tale))
    kept = {tuple(sorted(words)): words for words in found if len(words) in _WORDS and len(set(words)) > 1}
    return tuple(" ".join(words) for words in kept.values())
