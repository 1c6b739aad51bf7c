"""LongEmbed: two synthetic and four real tasks of finding a long document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from longspan.benchmarks.collection import Collection
from longspan.benchmarks.files import from_folder, to_folder
from longspan.benchmarks.metrics import score_ranking
from longspan.benchmarks.retrieval.needle import Needle
from longspan.benchmarks.retrieval.passkey import Passkey
from longspan.benchmarks.rows import check_natural
from longspan.benchmarks.tasks import Retrieval
from longspan.errors import BenchmarkError, one_line, require

CARD = {
    "title": "LongEmbed",
    "source": "arXiv:2404.12096",
    "year": 2024,
    "authors": "Zhu et al.",
    "task": "find the book, meeting, episode or article that answers a question or fits a summary",
    "metrics": ("ndcg_at_10", "acc_at_1"),
    "scope": "middle",
    "diffusion": "middle",
    "licence": "not stated; the data are downloaded or read from a folder, never shipped",
    "claim": "mean of six tasks: E5-Base (512) 41.0, E5-RoPE-Base with SelfExtend (4k) 60.8, E5-Mistral with NTK (32k) "
    "75.3 (Table 2)",
    "caution": "BM25 has a mean of 90.9: show it beside every dense score; names of people and places give documents "
    "away",
    "aliases": ("lemb",),
}

_LAYOUT = "corpus.jsonl, queries.jsonl and qrels.jsonl (id and text, id and text, query-id, corpus-id and score)"


@dataclass(frozen=True)
class LongEmbed(Collection):
    """LongEmbed's tasks (Zhu et al. 2024, section 3 and Table 1); its score is the mean of the six tasks' means.

    Passkey and needle are ``Passkey()`` and ``Needle()``: generated at any length, the needles of our own. The
    four real tasks come from the hub, as mteb loads them, or from a folder.

    Attributes:
        task: narrativeqa, qmsum, wikimqa or summscreenfd; "" for the collection.
        folder: "" for the hub, else a folder in LongEmbed's layout, or one that holds such a folder for each task,
            named like it.
        tasks: The four.
        mteb: Task to its name in mteb, the synthetic ones included.
    """

    natural: ClassVar[bool] = True  # the texts have a length of their own
    tasks: ClassVar[tuple[str, ...]] = ("narrativeqa", "qmsum", "wikimqa", "summscreenfd")
    mteb: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "passkey": "LEMBPasskeyRetrieval",
            "needle": "LEMBNeedleRetrieval",
            "narrativeqa": "LEMBNarrativeQARetrieval",
            "qmsum": "LEMBQMSumRetrieval",
            "wikimqa": "LEMBWikimQARetrieval",
            "summscreenfd": "LEMBSummScreenFDRetrieval",
        }
    )

    def __post_init__(self) -> None:
        """Check the task."""
        if self.task in ("passkey", "needle"):
            raise BenchmarkError(f"longembed's {self.task} is generated.", f"the benchmark {self.task} itself")
        super().__post_init__()

    def parts(self) -> tuple[Any, ...]:
        """One benchmark for each task; a task is its own only part."""
        return super().parts() if self.task else (Passkey(), Needle(), *super().parts())

    def examples(self, length: int | None, seed: int) -> Retrieval:
        """Load a task.

        Args:
            length: None: the documents have the lengths they have.
            seed: Without effect; nothing is drawn.

        Raises:
            BenchmarkError: No task is chosen, a length is given, the hub cannot be reached or the folder is damaged.
        """
        self._check_chosen()
        check_natural(f"longembed {self.task}", length)
        if not self.folder:
            return _from_hub(self.task)
        inner = Path(self.folder) / self.task
        return from_folder(self.task, inner if inner.is_dir() else self.folder)

    def score(self, example: Sequence[str], output: Sequence[str]) -> dict[str, float]:
        """Score a ranking of document ids (output) against the ids of the right ones (example)."""
        return score_ranking(example, output)


def twin(folder: Path) -> None:
    """Write a made-up set of two documents for each real task."""
    for task in LongEmbed.tasks:
        documents = {f"d{i}": f"A {task} document about {subject}." for i, subject in enumerate(("tin", "wool"))}
        queries = {"q0": "Which one is about tin?", "q1": "Which one is about wool?"}
        to_folder(Retrieval(task, None, documents, queries, {"q0": ("d0",), "q1": ("d1",)}), folder / task)


def _from_hub(task: str) -> Retrieval:
    name = LongEmbed.mteb[task]
    mteb = require("mteb", f"longembed {task} from the hub", "mteb")
    try:
        loaded = mteb.get_task(name)
        loaded.load_data()
        loaded.convert_v1_dataset_format_to_v2(num_proc=None)  # the LEMB tasks load mteb's older layout
        (data,) = loaded.dataset["default"].values()  # one split: test, or validation for summscreenfd
        documents = {row["id"]: row["text"] for row in data["corpus"]}
        queries = {row["id"]: row["text"] for row in data["queries"]}
        judged = sorted(data["relevant_docs"].items())
    except Exception as error:  # the libraries raise dozens of types, each for the same fact
        raise BenchmarkError(
            f"longembed could not load {name} from the hub: {one_line(error)}",
            f'longembed(task={task!r}, folder="...") with {_LAYOUT}',
        ) from error
    right = {query: tuple(key for key, score in found.items() if score > 0) for query, found in judged}
    right = {query: found for query, found in right.items() if found}
    return Retrieval(task, None, dict(sorted(documents.items())), {query: queries[query] for query in right}, right)
