"""BM25: keyword search, which reads the whole of every document and which a dense model has to beat."""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Any

import numpy as np

from longspan.benchmarks.tasks import Retrieval
from longspan.evaluation.measurement import Found, Outcome, Read
from longspan.evaluation.ranking import best_ten

_WORD = r"(?u)\b\w+\b"


class BM25:
    """BM25 (Robertson and Walker 1994) by bm25s: k1 = 1.5, b = 0.75, lower-cased words, no stemming, no stop words."""

    label = "bm25"
    answers = (Retrieval,)

    def __init__(self) -> None:
        import bm25s

        self._library: Any = bm25s
        self.facts = {
            "model": "bm25",
            "revision": version("bm25s"),
            "device": "cpu",
            "engine": "bm25s",
            "strategy": "bm25",
            "plan": "",
            "identity": "",
            "window": 0,
        }

    def answer(self, examples: Retrieval, title: str) -> Outcome:
        """The best ten documents of each query."""
        found = self.search(examples, title)
        return Outcome(best_ten(examples, found.scores), found.seconds, found.read)

    def search(self, examples: Retrieval, title: str) -> Found:
        """The score of each document for each query; ``title`` is unused, nothing takes long."""
        start = time.perf_counter()
        documents = self._words(list(examples.documents.values()))
        queries = self._words(list(examples.queries.values()))
        index = self._library.BM25(k1=1.5, b=0.75)
        index.index(documents, show_progress=False)
        scores = np.stack([index.get_scores(query) for query in queries])
        characters = sum(map(len, examples.documents.values())) / len(documents)
        return Found(scores, time.perf_counter() - start, Read(len(documents), 0, characters, None))

    def _words(self, texts: list[str]) -> list[list[str]]:
        found: list[list[str]] = self._library.tokenize(
            texts, token_pattern=_WORD, stopwords=None, return_ids=False, show_progress=False
        )
        return found
