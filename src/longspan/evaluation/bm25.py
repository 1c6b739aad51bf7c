"""BM25: keyword search, which reads the whole of every document and which a dense model has to beat."""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Any

import numpy as np

from longspan.benchmarks.retrieval import Retrieval
from longspan.errors import BenchmarkError
from longspan.evaluation.ranking import best_ten

_WORD = r"(?u)\b\w+\b"


class BM25:
    """BM25 (Robertson and Walker 1994) by bm25s: k1 = 1.5, b = 0.75, lower-cased words, no stemming, no stop words.

    Raises:
        BenchmarkError: bm25s is not installed.
    """

    label = "bm25"

    def __init__(self) -> None:
        try:
            import bm25s
        except ImportError:
            raise BenchmarkError("Keyword search needs bm25s.", "pip install 'longspan[bm25]'") from None
        self._library: Any = bm25s
        self.facts = {
            "model": "bm25",
            "revision": version("bm25s"),
            "device": "cpu",
            "engine": "bm25s",
            "strategy": "bm25",
            "plan": "",
            "window": 0,
        }

    def rank(self, examples: Retrieval, title: str) -> tuple[dict[str, list[str]], float]:
        """The best ten documents of each query, and the time that took [s]."""
        start = time.perf_counter()
        documents = self._words(list(examples.documents.values()))
        queries = self._words(list(examples.queries.values()))
        index = self._library.BM25(k1=1.5, b=0.75)
        index.index(documents, show_progress=False)
        scores = np.stack([index.get_scores(query) for query in queries])
        return best_ten(examples, scores), time.perf_counter() - start

    def _words(self, texts: list[str]) -> list[list[str]]:
        found: list[list[str]] = self._library.tokenize(
            texts, token_pattern=_WORD, stopwords=None, return_ids=False, show_progress=False
        )
        return found
