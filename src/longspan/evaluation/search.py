"""What is measured on sets of documents and of vectors: a model read by a strategy, and its fusion with keywords."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from longspan import spec
from longspan.benchmarks.tasks import Labelled, Retrieval
from longspan.encoding import tokens
from longspan.encoding.encoded import Encoded, unit
from longspan.encoding.run import Encoder
from longspan.encoding.strategy import as_strategy
from longspan.errors import BenchmarkError, EncodeError
from longspan.evaluation.bm25 import BM25
from longspan.evaluation.cache import VectorCache
from longspan.evaluation.measurement import Found, Outcome, model_facts, planned, read_of
from longspan.evaluation.ranking import best_ten, fuse
from longspan.extension import plan_of
from longspan.planning import Plan
from longspan.reading import Strategy


class Dense:
    """A model, a way to read long documents, and the plan that a twin of it is extended by meanwhile.

    Args:
        model: A SentenceTransformer; it is never changed.
        strategy: How documents are read.
        made: What to extend a twin of the model by to measure it; None to measure the model as it is.
        options: Those of ``Encoder``.
        cache: Vectors that are known.

    Raises:
        BenchmarkError: An option does not fit.
    """

    answers = (Retrieval, Labelled)

    def __init__(
        self,
        model: Any,
        strategy: Strategy,
        made: Plan | None,
        options: dict[str, Any],
        cache: VectorCache,
    ) -> None:
        if "prompt" in options:
            raise BenchmarkError("One prompt does not fit queries and documents.", "set model.prompts instead")
        self.model, self.strategy, self.made = model, strategy, made
        self.options = {**options, "on_overflow": "truncate"}
        self.cache = cache
        plan = made or plan_of(model)
        encoder = Encoder(planned(model, made), strategy, **options)
        window, engine = encoder.window, encoder.engine
        one = strategy.makes == "windows" and strategy.reads == "whole"
        longer = plan is not None and one and window == plan.length
        kind = "extend" if longer else spec.short([_with(strategy, window=None)])  # a Score has its window apart
        self.whole = one
        """Whether a document is one vector of one window."""
        self.facts = {
            **model_facts(model, engine),
            "strategy": kind,
            "plan": (spec.short(plan.methods) or "none") if plan else "",
            "window": window,
        }
        self.label = self.facts["plan"] if longer else kind

    def answer(self, examples: Retrieval | Labelled, title: str) -> Outcome:
        """The best ten documents of each query, or the vector of each text."""
        if isinstance(examples, Retrieval):
            found = self.search(examples, title)
            return Outcome(best_ten(examples, found.scores), found.seconds, found.read)
        texts = self._cut(examples)
        encoded, seconds = self._encoded(planned(self.model, self.made), texts, "query", title)
        _check_read(encoded, list(examples.texts), f"The text {{}} of {examples.name}")
        if len(encoded.vectors) != len(texts):
            raise BenchmarkError(
                f"{examples.name} looks at one vector of each text; {self.label} makes several.",
                "measure it with truncate, extend or chunk_mean",
            )
        return Outcome({"": unit(encoded.vectors)}, seconds, read_of(texts, encoded.given, encoded.used))

    def search(self, examples: Retrieval, title: str) -> Found:
        """The score of each document for each query."""
        documents = list(examples.documents.values())
        # As sentence-transformers' encode_document and encode_query use the prompts.
        model = planned(self.model, self.made)
        read, seconds = self._encoded(model, documents, "document", title)
        queries = Encoder(model, prompt=self.model.prompts.get("query"), **self.options)
        asked, asking = self.cache.encode(queries, list(examples.queries.values()))
        _check_read(asked, list(examples.queries), f"The query {{}} of {examples.name}")
        start = time.perf_counter()
        scores = read.scores(asked.vectors, self.strategy.top)
        seconds += asking + time.perf_counter() - start
        return Found(scores, seconds, read_of(documents, read.given, read.used))

    def _encoded(self, model: Any, texts: list[str], prompt: str, title: str) -> tuple[Encoded, float]:
        strategy: Any = self.strategy
        # One vector of all windows is made of the vectors of the windows, which other strategies have as well.
        apart = strategy.makes == "merged" and not strategy.limit
        reads = as_strategy("chunk_max") if apart else _with(strategy, top=1)
        reads = _with(reads, window=strategy.window, overlap=strategy.overlap) if apart else reads
        encoder = Encoder(model, reads, prompt=self.model.prompts.get(prompt), **self.options)
        found, seconds = self.cache.encode(encoder, texts, title)
        if not apart:
            return found, seconds
        owners, starts = np.unique(found.owner, return_index=True)  # a blank text owns none
        bounds = [*starts.tolist(), len(found.owner)]
        merged = [strategy.merge(found.vectors[start:end])[None] for start, end in pairwise(bounds)]
        return replace(found, vectors=np.concatenate([found.vectors[:0], *merged]), owner=owners), seconds

    def _cut(self, examples: Labelled) -> list[str]:
        texts = list(examples.texts.values())
        if examples.length is None:
            return texts
        read = []
        for one in tokens.tokenise(self.model.tokenizer, texts, "", [None] * len(texts)):
            if isinstance(one, EncodeError):
                raise one
            if one.text.offsets is None:
                raise BenchmarkError(
                    f"{examples.name} is cut at {examples.length} tokens, and this tokenizer tells no token's end.",
                    "use a fast tokenizer",
                )
            read.append(one.text.characters((0, min(one.text.tokens, examples.length)))[1])
        return [text[:end] for text, end in zip(texts, read, strict=True)]


class Hybrid:
    """Keyword search and a dense search, fused by their ranks (Cormack et al. 2009).

    Args:
        keywords: The keyword search.
        dense: The dense one.
    """

    answers = (Retrieval,)

    def __init__(self, keywords: BM25, dense: Dense) -> None:
        self.keywords, self.dense = keywords, dense
        self.facts = {**dense.facts, "strategy": f"bm25 + {dense.facts['strategy']}"}
        self.label = f"bm25 + {dense.label}"

    def answer(self, examples: Retrieval, title: str) -> Outcome:
        """The best ten documents of each query."""
        found = [self.keywords.search(examples, title), self.dense.search(examples, title)]
        ranks = best_ten(examples, fuse([one.scores for one in found]))
        return Outcome(ranks, sum(one.seconds for one in found), found[1].read)


def _check_read(encoded: Encoded, names: list[str], what: str) -> None:
    """Check that each text has a vector."""
    if missing := sorted(set(range(len(names))) - set(encoded.owner.tolist())):
        raise BenchmarkError(
            f"{what.format(repr(names[missing[0]]))} shows nothing that could be read.", "leave it out of the set"
        )


def _with(strategy: Any, **values: Any) -> Any:
    """The strategy with other values of those fields that it has."""
    return replace(strategy, **{name: value for name, value in values.items() if name in vars(strategy)})
