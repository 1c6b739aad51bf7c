"""Tasks of lm-evaluation-harness as sets of questions: its prompts, its settings, its metrics (package ``lm-eval``).

Only what asks and what judges comes from there; the model is run by longspan, so its window, plan and truncation
are what they are for every other benchmark.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from longspan.benchmarks.files import bad_line
from longspan.benchmarks.rows import draw, rows_of
from longspan.benchmarks.tasks import Question
from longspan.disk import state_of
from longspan.errors import BenchmarkError, one_line, require

_EXTRA = "lm"
_SHOTS_SEED = 1234  # lm-eval's own default for the choice of examples
_UNSET = -1.0  # RULER's value for the lengths that a sample is not of
_NEARLY = 1e-6  # the package ``rouge`` adds 1e-8 to a denominator, so a perfect F is 0.999999995


@dataclass(frozen=True)
class Source:
    """A task of lm-eval and where its data are.

    Attributes:
        task: Its name there.
        folder: Folder with ``<file>.jsonl`` of its rows, "" for the hub or the task's own generator.
        file: Name of that file without its suffix.
        renamed: Column of the file to column of the task, pairs.
        metadata: What a generated task is told, as JSON text.
    """

    task: str
    folder: str = ""
    file: str = ""
    renamed: tuple[tuple[str, str], ...] = ()
    metadata: str = "{}"

    @property
    def path(self) -> Path | None:
        """The file of its rows."""
        return Path(self.folder) / f"{self.file or self.task}.jsonl" if self.folder else None


def questions(source: Source, samples: int, order: Callable[[int], list[int]]) -> dict[str, Question]:
    """Questions of a task, with the examples in front that the task itself prescribes.

    Args:
        source: The task.
        samples: How many, 0 for all.
        order: A random order of so many.

    Returns:
        Id to question. ``gold`` is the task's target; where its metric does not give that 1, neither do we.

    Raises:
        BenchmarkError: lm-eval or the data are missing, or the task neither writes nor chooses a reply.
    """
    task = load(source)
    docs = [dict(doc) for doc in task.eval_docs]
    kept = draw(list(range(len(docs))), samples, order(len(docs)))
    at = 0
    asked = {}
    try:
        with _quiet():
            for at in kept:
                asked[f"q{at:04d}"] = _question(task, source, docs[at])
    except BenchmarkError:
        raise
    except Exception as error:  # noqa: BLE001 templates and metrics of tasks raise anything
        raise BenchmarkError(
            f"The task {source.task} cannot use its row {at + 1}: {_cause(error)}", "correct or remove that row"
        ) from None
    return asked


def score(source: Source, example: Question, output: str) -> float:
    """The task's main metric for a reply [0..1].

    The main metric is the one it calls ``score``, else the first it lists. It is divided by 100 where the gold
    reply gets 100, and taken as 1 where it is so but for rounding.

    Raises:
        BenchmarkError: lm-eval is missing, or the metric is not one of a single reply.
    """
    task = load(source)
    with _quiet():
        value = _value(task, source, example.facts["doc"], output) / float(example.facts["scale"])
    return 1.0 if abs(value - 1) < _NEARLY else value


def load(source: Source) -> Any:
    """The task object, with its data; the same one until its file changes.

    Raises:
        BenchmarkError: lm-eval, a package that the task needs, the task or its data are missing.
    """
    return _load(source, state_of(source.path) if source.path else ())


@lru_cache(maxsize=32)
def _load(source: Source, stamp: tuple[int, ...]) -> Any:
    manager = _manager(_family(source.task))
    if source.task not in manager.all_subtasks:
        manager = _manager("")
    if source.task not in manager.all_subtasks:
        near = [name for name in manager.all_subtasks if name.split("_")[0] == source.task.split("_")[0]]
        raise BenchmarkError(
            f"lm-eval has no task {source.task!r}.", f"one of {', '.join(near[:8])}" if near else "lm-eval ls tasks"
        )
    change: dict[str, Any] = {"task": source.task, "metadata": json.loads(source.metadata)}
    try:
        if source.path:
            change |= _local(source, source.path)
        with _quiet():
            # What TaskManager.load does for a name, which takes no changes to the task's settings.
            task = manager._factory.build(manager.task_index[source.task], overrides=change, registry={})
            task.set_fewshot_seed(_SHOTS_SEED)
    except BenchmarkError:
        raise
    except ImportError as error:
        raise BenchmarkError(
            f"The task {source.task} needs a package: {one_line(error)}", f"pip install 'longspan[{_EXTRA}]'"
        ) from None
    except Exception as error:  # noqa: BLE001 tasks run code of their own, which raises anything
        raise BenchmarkError(
            f"The task {source.task} could not be loaded: {_cause(error)}",
            f"a folder with {source.file or source.task}.jsonl in the task's own columns needs no network",
        ) from None
    return task


@lru_cache(maxsize=32)
def _manager(family: str) -> Any:
    """The index of one folder of lm-eval's tasks, "" for all of them, which takes ten seconds to read."""
    tasks = require("lm_eval.tasks", "This benchmark", _EXTRA)
    return tasks.TaskManager(include_defaults=False, include_path=family) if family else tasks.TaskManager()


def _family(task: str) -> str:
    """The folder whose name begins the task's name, "" where there is none."""
    home = Path(require("lm_eval.tasks", "This benchmark", _EXTRA).__file__).parent
    parts = task.split("_")
    heads = ("_".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((str(home / head) for head in heads if (home / head).is_dir()), "")


@contextmanager
def _quiet() -> Iterator[None]:
    """lm-eval warns of each setting that a task leaves out, and the packages of its tasks of one another."""
    log = logging.getLogger("lm_eval")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)


def _cause(error: Exception) -> str:
    name, told = type(error).__name__, one_line(error)
    return name if told == name else f"{name}: {told}"


def _local(source: Source, path: Path) -> dict[str, Any]:
    """Settings that make a task read its rows from a file; lm-eval calls the function in place of the hub."""
    renamed, rows, columns = dict(source.renamed), [], None
    for _, line, row in rows_of(path, "the task's columns"):
        if row.keys() != (columns := columns or row.keys()):
            raise bad_line(path, line, f"its columns are {', '.join(row)}, those before {', '.join(columns)}")
        rows.append({renamed.get(key, key): row[key] for key in row})
    datasets = require("datasets", f"The task {source.task}", _EXTRA)
    table = datasets.Dataset.from_list(rows)
    splits = ("test", "validation", "train")
    return {"custom_dataset": lambda **_: dict.fromkeys(splits, table), "dataset_kwargs": {}}


def _question(task: Any, source: Source, doc: dict[str, Any]) -> Question:
    kind = task.OUTPUT_TYPE
    if kind not in ("generate_until", "multiple_choice") or getattr(task, "multiple_input", False):
        raise BenchmarkError(
            f"The task {source.task} is of the kind {kind}, with neither a written nor a chosen reply to one prompt.",
            "a task of the kind generate_until or multiple_choice",
        )
    shots = task.config.num_fewshot or 0
    prompt = task.fewshot_context(doc, num_fewshot=shots, gen_prefix=task.doc_to_prefix(doc))
    target = task.doc_to_target(doc)
    if kind == "multiple_choice":
        choices = tuple(f"{task.config.target_delimiter}{choice}" for choice in task.doc_to_choice(doc))
        right = target if isinstance(target, list) else [target]
        at = [i if isinstance(i, int) else task.doc_to_choice(doc).index(i) for i in right]
        answers = tuple(choices[i] for i in at)
        facts = {"doc": doc, "scale": 1.0}
        return Question(prompt, answers, answers[0], choices=choices, facts=facts)
    answers = tuple(map(str, target)) if isinstance(target, list | tuple) else (str(target),)
    settings = task.config.generation_kwargs or {}
    until = settings.get("until") or []
    gold = _gold(task, source, doc, answers)
    return Question(
        prompt,
        answers,
        gold,
        int(settings.get("max_gen_toks", 256)),
        (until,) if isinstance(until, str) else tuple(until),
        facts={"doc": doc, "scale": 100.0 if _value(task, source, doc, gold) > 1 + _NEARLY else 1.0},
    )


def _gold(task: Any, source: Source, doc: dict[str, Any], answers: tuple[str, ...]) -> str:
    """The best of each answer alone and all of them, since a task may want one or all."""
    told = [*answers, ", ".join(answers)]
    return max(told, key=lambda reply: _value(task, source, doc, reply))


def _value(task: Any, source: Source, doc: Mapping[str, Any], reply: str) -> float:
    if task.OUTPUT_TYPE == "multiple_choice":
        choices = [f"{task.config.target_delimiter}{choice}" for choice in task.doc_to_choice(doc)]
        if reply.strip() not in [choice.strip() for choice in choices]:
            return 0.0
        # The one that was chosen is likeliest; what the others have does not matter to accuracy.
        results: list[Any] = [(0.0, True) if choice.strip() == reply.strip() else (-1e4, False) for choice in choices]
    else:
        results = [_filtered(task, doc, reply)]
    found = task.process_results(doc, results)
    numbers = {k: float(v) for k, v in found.items() if isinstance(v, int | float) and float(v) != _UNSET}
    for name in ("score", *task.aggregation(), *numbers):
        if name in numbers:
            return numbers[name]
    raise BenchmarkError(
        f"The task {source.task} has no metric of a single reply, only {', '.join(found) or 'none'}.",
        "run it with lm-eval itself",
    )


def _filtered(task: Any, doc: Mapping[str, Any], reply: str) -> Any:
    """A reply after the task's first filter, such as the part that a pattern finds."""
    instance = require("lm_eval.api.instance", "This benchmark", _EXTRA).Instance(
        request_type="generate_until", doc=doc, arguments=("", {}), idx=0, metadata=(task.task_name, 0, 1)
    )
    instance.resps = [reply]
    chosen = task._filters[0]
    chosen.apply([instance])
    return instance.filtered_resps[chosen.name]
