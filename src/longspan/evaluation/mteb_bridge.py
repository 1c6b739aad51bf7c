"""mteb, outwards: a model and a way to read as an mteb encoder, and results written by mteb itself."""

from __future__ import annotations

import hashlib
import heapq
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from longspan import __version__, spec
from longspan.benchmarks.tasks import Retrieval
from longspan.encoding.encoded import unit
from longspan.encoding.run import Encoder
from longspan.encoding.strategy import as_strategy
from longspan.errors import BenchmarkError
from longspan.evaluation.cache import VectorCache
from longspan.evaluation.measurement import model_facts, planned
from longspan.evaluation.mteb_tasks import earlier, in_a_name, name_of, require_mteb, task_of, texts_of
from longspan.evaluation.run import collect
from longspan.evaluation.search import Dense
from longspan.extension import plan_of
from longspan.identity import identity
from longspan.planning import Plan
from longspan.reading import Strategy
from longspan.texts import listed

_SLICE = 20_000  # documents scored at once: [queries, documents] has to fit the memory


class MtebEncoder:
    """A model and a way to read long documents, as mteb takes them.

    It has both of mteb's protocols. Retrieval goes through ``index`` and ``search``, which score a document by
    its best vectors as ``evaluate`` does; every other task through ``encode``, one vector a text. Vectors of
    retrieval have the keys that ``evaluate`` gives them, so that one cache file serves both.

    mteb takes a SentenceTransformer as it is, too, an extended one included, but files its results under the
    original's name and revision, and then takes the one's results for the other's.

    Args:
        model: A SentenceTransformer, extended or not; its prompts "query" and "document" are used.
        strategy: How documents are read, as for ``longspan.encode``.
        cache: Vectors that are known; None for a cache in memory.
        plan: What to extend a twin of the model by, which encodes then; None for the model as it is.
        name: Of the original model, "organisation/model"; None for what its configuration says.
        **options: Those of ``Encoder``, without prompt.

    Raises:
        BenchmarkError: mteb is not installed, or an option does not fit.
        EncodeError: The model does not pool token states, or an option does not fit.
        InspectError: The model holds something that cannot be told apart.

    Example:
        >>> mteb.evaluate(MtebEncoder(extend(model, 4096, "tile")), mteb.get_tasks(["LEMBQMSumRetrieval"]))
    """

    def __init__(
        self,
        model: Any,
        strategy: str | Strategy | None = None,
        cache: VectorCache | None = None,
        *,
        plan: Plan | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        require_mteb()
        if name is not None and not re.fullmatch(r"[^/\s]+/[^/\s]+", name):
            raise BenchmarkError(f"{name!r} is no name for mteb.", "name='organisation/model'")
        self.model = model
        self.strategy = as_strategy(strategy)
        self.plan = plan
        self.cache = cache or VectorCache()
        self._asked = options
        self.options = {**options, "on_overflow": "truncate"}
        self._corpus: tuple[list[str], list[str]] = ([], [])
        self._name = name
        self._made_of = ""
        self._take()

    def _take(self) -> None:
        """Look at the model again once it was changed."""
        if (now := identity(self.model)) == self._made_of:
            return
        self._reader = planned(self.model, self.plan)
        self._dense = Dense(self._reader, self.strategy, None, self._asked, self.cache)
        self._filed = self._meta(Encoder(self._reader, self.strategy, **self.options), self._name)
        self._made_of = now

    @property
    def mteb_model_meta(self) -> Any:
        """What mteb files the results under; another revision once the model was changed."""
        self._take()
        return self._filed

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any = None,
        hf_split: str = "",
        hf_subset: str = "",
        prompt_type: Any = None,
        **kwargs: Any,
    ) -> np.ndarray:
        """One vector of each text, float32 ``[texts, dimension]``; zeros, and a warning, for one that shows nothing.

        Args:
            inputs: Batches with the key "text".
            task_metadata: Unused, as ``hf_split`` and ``hf_subset``.
            hf_split: Unused.
            hf_subset: Unused.
            prompt_type: query, document or None.
            **kwargs: mteb's batch size and the like: batches are made by their tokens here.

        Raises:
            BenchmarkError: The strategy makes several vectors of a text.
        """
        texts = [text for batch in inputs for text in listed(batch["text"], kind=BenchmarkError)]
        kind = getattr(prompt_type, "value", prompt_type)
        strategy = None if kind == "query" else self.strategy  # a query is read by one window, as in evaluate
        self._take()
        encoder = Encoder(self._reader, strategy, prompt=self.model.prompts.get(kind), **self.options)
        found, _ = self.cache.encode(encoder, texts)
        if len(set(found.owner.tolist())) != len(found.owner) or getattr(strategy, "makes", "") == "spans":
            raise BenchmarkError(
                f"{spec.short([self.strategy])} makes several vectors of a text, which only retrieval can score.",
                "use truncate, extend or chunk_mean",
            )
        vectors = np.zeros((len(texts), encoder.dimension), np.float32)
        vectors[found.owner] = found.vectors
        if missing := len(texts) - len(found.owner):
            warnings.warn(f"{missing} of {len(texts)} texts show nothing to read; their vectors are 0", stacklevel=2)
        return vectors

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines, a tensor ``[rows of the one, rows of the other]``."""
        import torch

        return torch.from_numpy(_unit(embeddings1) @ _unit(embeddings2).T)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines of rows that stand side by side, a tensor ``[rows]``."""
        import torch

        return torch.from_numpy((_unit(embeddings1) * _unit(embeddings2)).sum(axis=1))

    def index(self, corpus: Any, *, task_metadata: Any, num_proc: int | None = None, **kwargs: Any) -> None:
        """Keep the documents; they are encoded when they are asked for."""
        self._corpus = list(corpus["id"]), texts_of(corpus, task_metadata, "document", num_proc)

    def search(
        self,
        queries: Any,
        *,
        task_metadata: Any,
        top_k: int,
        top_ranked: Any = None,
        num_proc: int | None = None,
        **kwargs: Any,
    ) -> dict[str, dict[str, float]]:
        """The best documents of each query, with their scores.

        Args:
            queries: mteb's queries.
            task_metadata: What the task is.
            top_k: How many documents of each query.
            top_ranked: Query id to the ids of the only documents to score, None for all.
            num_proc: Processes that prepare the texts.
            **kwargs: Unused.
        """
        asked = dict(zip(queries["id"], texts_of(queries, task_metadata, "query", num_proc), strict=True))
        best: dict[str, list[tuple[float, str]]] = {query: [] for query in asked}
        names, texts = self._corpus
        self._take()
        for start in range(0, len(names), _SLICE):
            part = names[start : start + _SLICE]
            documents = dict(zip(part, texts[start : start + _SLICE], strict=True))
            scores = self._dense.search(Retrieval(task_metadata.name, None, documents, asked, {}), "").scores
            for query, row in zip(asked, scores.tolist(), strict=True):
                among = None if top_ranked is None else set(top_ranked.get(query, ()))
                found = [
                    (score, one)
                    for score, one in zip(row, part, strict=True)
                    if (among is None or one in among) and score > -np.inf  # a blank document is never found
                ]
                best[query] = heapq.nlargest(top_k, best[query] + found)
        return {query: {one: score for score, one in found} for query, found in best.items()}

    def _meta(self, encoder: Encoder, name: str | None) -> Any:
        """What mteb knows of the model.

        mteb takes old results for new ones where name and revision are equal, so that all that vectors depend
        on is in them: the method, its factor and the window in the name, a digest of the rest in the revision.
        """
        from mteb.models.model_meta import ModelMeta, ScoringFunction

        made = plan_of(self._reader)
        facts = model_facts(self.model, encoder.engine)
        base = name or name_of(facts["model"])
        reading = self._dense.facts["strategy"]
        method = f"{spec.short(made.methods) or 'none'} x{made.factor:g}" if made else ""
        parts = [base, in_a_name(method), "" if reading == "extend" else in_a_name(reading), str(encoder.window)]
        told = {key: value for key, value in encoder.describe().items() if key not in ("model", "revision", "versions")}
        told |= {"window": encoder.window, "device": encoder.head.device.type, "longspan": __version__}
        digest = hashlib.sha256(repr(sorted(told.items())).encode()).hexdigest()[:12]
        kwargs = {"method": spec.short(made.methods) or "none", "factor": made.factor} if made else {}
        return ModelMeta.create_empty(
            overwrites={
                "name": "-".join(part for part in parts if part),
                "revision": f"{facts['revision'] or 'local'}-{digest}",
                "languages": [],
                "n_parameters": sum(weight.numel() for weight in self._reader.parameters()),
                "max_tokens": encoder.window,
                "embed_dim": encoder.dimension,
                "framework": ["Sentence Transformers", "PyTorch"],
                "similarity_fn_name": ScoringFunction.COSINE,
                "use_instructions": any(self.model.prompts.values()),
                "adapted_from": base,
                "experiment_kwargs": {
                    **kwargs,
                    "window": encoder.window,
                    "strategy": reading,
                    "engine": encoder.engine,
                    "longspan": __version__,
                },
            }
        )


def write_mteb(
    model: Any,
    benchmarks: str | Sequence[Any],
    lengths: Sequence[int],
    folder: Path,
    *,
    strategy: str | Strategy | None = None,
    cache: Path | VectorCache | None = None,
    plan: Plan | None = None,
    name: str | None = None,
    seed: int = 0,
    data: Path | None = None,
    **options: Any,
) -> list[Path]:
    """Measure a model through mteb, which writes its own result files.

    LongEmbed's tasks are mteb's own, fed with the sets of this package; other sets become tasks of their own. The
    revision of the data in the file says what they are: generated sets are not the published ones.

    Args:
        model: A SentenceTransformer, extended or not.
        benchmarks: A specification ("passkey + longembed(task='qmsum', folder='...')") or benchmark objects.
        lengths: Tokens per document, a split ``test_N`` each; a benchmark of real texts takes them as they come.
        folder: Where ``results/`` goes. What it holds for the same model, reading and data is not measured again;
            mteb has one file for a task, so that another seed, or other parameters, replace what stands there.
        strategy: How documents are read.
        cache: Vectors that are known, or the file of them, which ``evaluate`` may share.
        plan: What to extend a twin of the model by, which is measured then; None for the model as it is.
        name: Of the original model, "organisation/model".
        seed: Seed of the benchmarks.
        data: A folder with a folder for each set that is not shipped, named like the set.
        **options: Those of ``Encoder``, without prompt.

    Returns:
        The result files, one for each task.

    Raises:
        BenchmarkError: mteb is not installed, a benchmark is not one of documents, or it cannot be built.
    """
    mteb = require_mteb()
    tasks = [task_of(benchmark, lengths, seed) for benchmark in collect(benchmarks, data, seed)]
    known = cache if isinstance(cache, VectorCache) else VectorCache(cache)
    encoder = MtebEncoder(model, strategy, known, plan=plan, name=name, **options)
    results = mteb.ResultCache(folder)
    meta = encoder.mteb_model_meta
    for task in tasks:
        old = earlier(results, task.metadata.name, meta)
        # Where no split is missing mteb does not look at the revision of the data.
        same = old is None or old.dataset_revision == task.metadata.revision
        kept = "only-missing" if same else "always"
        mteb.evaluate(encoder, task, cache=results, overwrite_strategy=kept, co2_tracker=False, show_progress_bar=False)
    return [results.get_task_result_path(task.metadata.name, meta) for task in tasks]


def _unit(vectors: Any) -> np.ndarray:
    return unit(np.atleast_2d(np.asarray(vectors, dtype=np.float32)))
