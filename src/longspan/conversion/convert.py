"""convert: an embedding model with learned positions becomes a rotary one."""

from __future__ import annotations

import copy
import shutil
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from longspan.conversion import refusals
from longspan.conversion.agreement import Agreement, Neighbours
from longspan.conversion.architectures import NAMES, rotary_twin
from longspan.conversion.card import conversion_card
from longspan.conversion.initial import initialise
from longspan.conversion.work import keep_options, work_folder
from longspan.encoding.pooling import Head
from longspan.encoding.tokens import frame
from longspan.errors import ConvertError, require
from longspan.identity import CONVERTED_FROM, identity
from longspan.inspection import inspect
from longspan.logs import without_bars
from longspan.seams import anatomy
from longspan.storage.folder import check_target, renamed_when_whole, write_limits
from longspan.storage.load import load
from longspan.texts import listed
from longspan.training.corpus import read_corpus
from longspan.training.lessons import Lessons
from longspan.training.passages import Passages, passages
from longspan.training.run import Recipe, distil, frozen, in_a_row, reached
from longspan.training.teacher import Teacher, whole
from longspan.training.views import check_length, piece_size, views
from longspan.twin import twin

_READ = 50_000_000  # tokens of the corpus at most
_HELD_OUT = 200_000  # tokens
_FIT, _FIT_TOKENS = 16, 256  # passages that the initialisation is measured on, and tokens of each
_CENTRE = 64  # passages whose mean vector is that of texts at large
_ROWS, _LONG_ROWS = 32, 3  # held-out passages of a length, within the window and beyond it
_OCTAVES = tuple(2**k for k in range(4, 24))  # lengths to measure at
_SAME_WORDS = 0.9  # least mean cosine
_SHAPE = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")


@dataclass(frozen=True)
class Converted:
    """What a conversion made.

    Attributes:
        folder: The checkpoint, which stock sentence-transformers loads.
        window: Tokens it was trained to read.
        cosine: Mean cosine to the original on held-out passages, by length in tokens; beyond the original's window,
            to what it makes of a text's chunks (``Teacher.at_length``).
        neighbours: How many other held-out passages have the nearest neighbour that the original gives them.
        before: The cosine before the distillation.
        steps: Of the distillation.
    """

    folder: Path
    window: int
    cosine: dict[int, float]
    neighbours: Neighbours
    before: dict[int, float]
    steps: int

    def describe(self) -> str:
        """The numbers as a table."""
        rows = [f"{'tokens':<24}" + "".join(f"{length:>8}" for length in self.cosine)]
        rows += [
            f"{name:<24}" + "".join(f"{value:>8.3f}" for value in row.values()) for name, row in self.measured.items()
        ]
        return "\n".join([*rows, f"same nearest neighbour: {self.same_neighbour}"])

    @property
    def measured(self) -> dict[str, dict[int, float]]:
        """Each measure by length under the name that readers see."""
        return {"cosine before training": self.before, "cosine": self.cosine}

    @property
    def same_neighbour(self) -> str:
        """The share of neighbours with what it is a share of."""
        found = self.neighbours
        return f"{found.share:.1%} of {found.passages} held-out passages of {found.tokens} tokens"


def convert(
    model: Any,
    corpus: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    recipe: Recipe | None = None,
    start: str | Path | None = None,
    window: int | None = None,
    base: float = 1_000_000.0,
    column: str = "text",
    original: str = "",
    progress: bool = True,
) -> Converted:
    """Give an embedding model with learned positions rotary ones, and train it to give the vectors it gave before.

    A closed-form initialisation (``initialise``) is followed by a distillation on the texts (``distil``). The result
    is transformers' own JinaEmbeddingsV3Model in a sentence-transformers folder. A run that was interrupted goes on
    from its last checkpoint when it is called again.

    Args:
        model: A SentenceTransformer over bert, roberta, xlm-roberta, camembert, distilbert or electra; left as it is.
        corpus: Files or folders of texts, as ``encode`` takes them.
        out: Folder to write; must not exist. Checkpoints are kept beside it until it is written.
        recipe: How long and how to train.
        start: An earlier conversion of the same model, to go on from instead of the initialisation.
        window: Tokens up to which the original is trusted; as many as its table has where None.
        base: Of the rotation; that of ``start`` stays.
        column: Field of the texts.
        original: Text of the original model's README.md, kept below the new one.
        progress: Whether to show bars and held-out cosines on stderr.

    Returns:
        The folder, and how well the model in it agrees with the original.

    Raises:
        ConvertError: The model cannot be converted, the texts cannot be read or are too short for ``recipe.to``,
            ``start`` is no conversion of this model, or the loss is not a number.
        StorageError: The folder exists or cannot be written, or ``start`` cannot be loaded.

    Warns:
        UserWarning: The steps ended before ``recipe.until`` was reached, or there is no held-out text to measure
            agreement at length on.
    """
    recipe, target = recipe or Recipe(), Path(out)
    check_target(target)
    _check_model(model)
    own = identity(model)
    if any(weight.dtype != torch.float32 for weight in model.parameters()):
        # The student learns in float32, and what stands behind the transformer reads both it and the teacher.
        model = copy.deepcopy(model).float()
    geometry = inspect(model, window=window)
    if recipe.to is not None:
        check_length(recipe.to, geometry.window)
    with frozen(model):
        teacher = _teacher(model, geometry.window)
        student = None if start is None else _earlier(teacher, own, start, base)
        paths = [corpus] if isinstance(corpus, (str, Path)) else listed(corpus, "files", ConvertError)
        texts, held_out = read_corpus(paths, model.tokenizer, column=column, limit=_READ).split(_HELD_OUT, recipe.seed)
        read, unseen = (
            passages(part, model.tokenizer, teacher.frame, longest=geometry.window, budget=recipe.budget)
            for part in (texts, held_out)
        )
        draw = np.random.default_rng(recipe.seed)
        fit = read.batch(min(_FIT_TOKENS, read.longest), _FIT, draw).to(teacher.head.device)
        began = "" if student is None else identity(student)
        if student is None:
            first = teacher.frame.before[0] if teacher.frame.before else None
            student = initialise(teacher.model, fit, base=base, first=first)
        beyond = None
        if recipe.to is not None:
            teacher = replace(teacher, centre=_centre(teacher, read.batch(fit.shape[1], _CENTRE, draw)))
            beyond = views(texts, teacher.frame, window=geometry.window, longest=recipe.to, budget=recipe.budget)
        agreement = _agreement(teacher, unseen, geometry.window, recipe)
        before = agreement(student)
        if progress:
            tqdm.write(f"before the first step, held-out cosine  {in_a_row(before)}", file=sys.stderr)

        work = work_folder(target)
        options = {"identity": own[:16], "window": geometry.window, "corpus": texts.digest, "base": base}
        options |= {"start": began[:16], **asdict(recipe)}
        del options["until"]  # where a run stops does not change what it does until then
        keep_options(work, options)
        lessons = Lessons(read, beyond, recipe.steps, recipe.seed)
        done = distil(student, teacher, lessons, agreement, recipe, work, progress=progress)
        longest = recipe.to or geometry.window
        made = Converted(target, longest, done.cosine, agreement.neighbours(student), before, done.steps)
        setattr(student.config, CONVERTED_FROM, own)
        _save(model, student, made, conversion_card(geometry.source, made, original, geometry.window))
    shutil.rmtree(work, ignore_errors=True)
    if recipe.until is not None and not reached(recipe.until, done.cosine.values()):
        warnings.warn(
            f"the held-out cosine is {min(done.cosine.values()):.3f} after {done.steps:,} steps, below the target of "
            f"{recipe.until}; give more steps, or more and more varied texts",
            stacklevel=2,
        )
    return made


def _teacher(model: Any, window: int) -> Teacher:
    head = Head(model)
    around = frame(model.tokenizer, None, mode=head.mode)
    return Teacher(anatomy.transformer(model), head, around, piece_size(window, around))


def _agreement(teacher: Teacher, unseen: Passages, window: int, recipe: Recipe) -> Agreement:
    """What to measure a student by: octaves up to the window and, where it is trained at length, up to that."""
    lengths = [n for n in (*_OCTAVES, window) if n <= unseen.longest] or [unseen.longest]
    within = Agreement.of(teacher, unseen, sorted(set(lengths)), _ROWS, recipe.seed)
    if recipe.to is None:
        return within
    longer = {*(n for n in _OCTAVES if window < n < recipe.to), recipe.to}
    both = within.and_at_length(sorted(longer), _LONG_ROWS)
    if longer.isdisjoint(both.passages):
        warnings.warn(
            f"no held-out text is longer than the window of {window}, so nothing beyond it is measured; "
            "give more long texts",
            stacklevel=3,
        )
    return both


def _earlier(teacher: Teacher, own: str, start: str | Path, base: float) -> Any:
    """The network of an earlier conversion of the model of this identity, to train further."""
    student = anatomy.transformer(load(start, device=str(teacher.head.device), dtype="float32"))
    if getattr(student.config, anatomy.PLAN_KEY, None):
        raise ConvertError(
            f"{start} was extended; training goes on from the positions that it was trained with.",
            "start from the conversion that was extended",
        )
    twin = rotary_twin(teacher.model, base=base).model
    shapes = [
        (config.model_type, *(getattr(config, name, None) for name in _SHAPE))
        for config in (student.config, twin.config)
    ]
    if shapes[0] != shapes[1]:
        raise ConvertError(
            f"{start} is no conversion of this model: {', '.join(map(str, shapes[0]))} against "
            f"{', '.join(map(str, shapes[1]))} ({', '.join(('architecture', *_SHAPE))}).",
            "start from a folder that longspan convert made of it, or from none",
        )
    if getattr(student.config, CONVERTED_FROM, None) not in (own, None) or _other_words(student, twin):
        raise ConvertError(
            f"{start} is a conversion of another model, or of this one before it was changed.",
            "start from a folder that longspan convert made of this very model, or from none",
        )
    return student


def _other_words(student: Any, twin: Any) -> bool:
    """Whether the word embeddings are a conversion's of another model; a conversion keeps them, or trains them little.

    It is what tells where a conversion does not say what it was made of, as those of earlier versions.
    """
    ours, theirs = (one.get_input_embeddings().weight.detach().float() for one in (student, twin))
    return float(torch.cosine_similarity(ours, theirs.to(ours.device), dim=-1).mean()) < _SAME_WORDS


@torch.no_grad()
def _centre(teacher: Teacher, ids: torch.Tensor) -> torch.Tensor:
    """Mean of the teacher's unit vectors of passages ``[dimension]``."""
    parts = torch.split(ids.to(teacher.head.device), _FIT)
    vectors = [teacher.head.pool_whole(teacher.model(**whole(part)).last_hidden_state).float() for part in parts]
    return torch.nn.functional.normalize(torch.cat(vectors), dim=-1).mean(0)


def _check_model(model: Any) -> None:
    """What would otherwise be found out after minutes of reading."""
    if told := anatomy.refusal(model):
        raise ConvertError(*told)
    if not anatomy.is_pipeline(model):
        raise ConvertError(
            f"A {type(model).__name__} makes no vectors to be distilled.", "pass a SentenceTransformer, or its folder"
        )
    refusals.convertible(anatomy.transformer(model), tuple(NAMES))
    head = Head(model)
    if head.sequence:
        raise ConvertError(
            f"{head.sequence} makes vectors of a whole row, which a distillation does not show it.",
            "convert a pipeline without it",
        )
    place = head.device
    if place.type == "cuda" and place.index:
        raise ConvertError(
            f"The model is on {place}, and a distillation runs on the first GPU.",
            f"set CUDA_VISIBLE_DEVICES={place.index} and use cuda",
        )
    require("accelerate", "A distillation", "train", ConvertError)


def _save(model: Any, student: Any, made: Converted, card: str) -> None:
    needed = sum(p.numel() * p.element_size() for p in student.parameters())
    with renamed_when_whole(made.folder, needed) as partial, without_bars():
        student.config.max_position_embeddings = made.window
        converted = twin(model)
        converted[0].model = student
        converted.save(str(partial), create_model_card=False)
        write_limits(partial, made.window)
        (partial / "README.md").write_text(card, encoding="utf-8")
