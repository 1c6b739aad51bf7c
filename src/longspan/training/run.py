"""A distillation: transformers' Trainer, the loss, and when to stop."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from tqdm import tqdm

from longspan.errors import ConvertError
from longspan.jsons import parse
from longspan.logs import without_bars
from longspan.storage import weights
from longspan.training.lessons import Lessons
from longspan.training.teacher import Teacher

COSINE = "eval_cosine_"
"""What a checkpoint calls a held-out cosine, in front of the length."""


@dataclass(frozen=True)
class Recipe:
    """How a student is distilled.

    Attributes:
        steps: Optimizer steps at most.
        budget: Tokens of a step.
        learning_rate: Peak of the rate, which rises over a twentieth of the steps and falls as a cosine to 0.
        until: Stop when the held-out cosine reaches it at every length, None for all the steps.
        check_every: Steps between two measurements, each followed by a checkpoint.
        seed: What is read, in which order.
        to: Longest text to read in one forward [tokens]; within the window where None.
        train_words: Whether word vectors are trained too.
    """

    steps: int = 2000
    budget: int = 2048
    learning_rate: float = 3e-4
    until: float | None = None
    check_every: int = 100
    seed: int = 0
    to: int | None = None
    train_words: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "budget", "check_every"):
            if getattr(self, name) < 1:
                raise ConvertError(f"{name}={getattr(self, name)} is less than one.", f"give {name} of 1 or more")
        if not 0 <= self.seed < 2**32:
            raise ConvertError(f"seed={self.seed} seeds no generator.", "give a seed from 0 to 4294967295")
        if not 0 < self.learning_rate < 1:
            raise ConvertError(f"A learning rate of {self.learning_rate} will not do.", "try 2e-4")
        if self.until is not None and not 0 < self.until < 1:
            raise ConvertError(f"No cosine reaches {self.until}.", "give a target below 1, such as 0.98")


@dataclass(frozen=True)
class Trained:
    """What a distillation came to.

    Attributes:
        steps: Steps that were made, those before an interruption included.
        cosine: Held-out cosine by length in tokens.
    """

    steps: int
    cosine: dict[int, float]


def distil(
    student: Any,
    teacher: Teacher,
    lessons: Lessons,
    agreement: Callable[[Any], Mapping[int, float]],
    recipe: Recipe,
    folder: Path,
    *,
    progress: bool = True,
) -> Trained:
    """Train a student to give its teacher's token states and vectors.

    Goes on from the last whole checkpoint in ``folder``; on a CPU with as many threads, the weights come out as they
    would have without the interruption.

    Args:
        student: A transformers encoder; trained in place, and in evaluation mode afterwards.
        teacher: What it is to resemble.
        lessons: What to read.
        agreement: Held-out cosine of a student by length in tokens.
        recipe: How.
        folder: Where checkpoints are kept.
        progress: Whether to show a bar and the measurements on stderr.

    Returns:
        The steps, and the held-out cosines at the end.

    Raises:
        ConvertError: The loss is not a number; checkpoints stay.
    """
    from longspan.training.trainer import Distiller

    checkpoint = last_whole(folder)
    state = checkpoint and _state(checkpoint)
    if checkpoint and state and (state["global_step"] >= recipe.steps or reached(recipe.until, _measured(state))):
        # It was interrupted behind the last step. The Trainer would make one more before it looks at the target.
        load_weights(student, checkpoint)
        steps, cosine = int(state["global_step"]), agreement(student.eval())
    else:
        student.requires_grad_(True)
        student.get_input_embeddings().requires_grad_(recipe.train_words)
        # disable=None: no bar in a log file, which the measurements are for.
        bar = tqdm(total=recipe.steps, desc="distil", unit="step", disable=None if progress else True, file=sys.stderr)
        with bar, without_dropout(student), without_bars():
            tell = (lambda line: bar.write(line, file=sys.stderr)) if progress else (lambda line: None)
            trainer = Distiller(student, teacher, lessons, agreement, recipe, folder, bar, tell)
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        steps, cosine = trainer.state.global_step, trainer.measured
    student.eval().requires_grad_(True)
    return Trained(steps, dict(cosine))


def reached(until: float | None, cosines: Iterable[float]) -> bool:
    """Whether the least of the held-out cosines is the target or above it."""
    return until is not None and min(cosines, default=0.0) >= until


def in_a_row(cosines: Mapping[int, float]) -> str:
    """Cosines by length as a line of text."""
    return "  ".join(f"{length}: {cosine:.4f}" for length, cosine in cosines.items())


def load_weights(student: Any, checkpoint: Path) -> None:
    """Give a student the weights of a checkpoint.

    Raises:
        ConvertError: They cannot be read.
    """
    try:
        with without_bars():
            stored, info = type(student).from_pretrained(checkpoint, output_loading_info=True)
        weights.complete(stored, info, str(checkpoint))
        student.load_state_dict(stored.state_dict())
    except Exception as error:  # safetensors and transformers each raise their own kinds
        raise ConvertError(
            f"The checkpoint {checkpoint} cannot be read: {error}", "remove it to go on from the one before"
        ) from error


def last_whole(folder: Path) -> Path | None:
    """The last checkpoint of which every file was written; the Trainer writes its state after all others."""
    whole = [(state["global_step"], path) for path in folder.glob("checkpoint-*") if (state := _state(path))]
    return max(whole)[1] if whole else None


def _state(checkpoint: Path) -> dict[str, Any] | None:
    """What the Trainer wrote of itself; None where that file is missing or was cut off."""
    try:
        # The Trainer writes NaN where a loss has become one.
        state = parse((checkpoint / "trainer_state.json").read_bytes(), finite=False)
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) and isinstance(state.get("global_step"), int) else None


def _measured(state: Mapping[str, Any]) -> list[float]:
    """The held-out cosines at the step of a checkpoint."""
    return [
        value
        for entry in state.get("log_history", [])
        if entry.get("step") == state["global_step"]
        for name, value in entry.items()
        if name.startswith(COSINE)
    ]


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """A model that is read and not trained: evaluation mode, no gradients; afterwards it is as before."""
    modes = [(module, module.training) for module in model.modules()]
    gradients = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, wanted in gradients:
            parameter.requires_grad_(wanted)


@contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """A student is to repeat states, which noise in its own would hide."""
    kept: list[tuple[Any, str, Any]] = [(m, "p", m.p) for m in model.modules() if isinstance(m, nn.Dropout)]
    kept += [(m, "attention_dropout", m.attention_dropout) for m in model.modules() if hasattr(m, "attention_dropout")]
    for module, name, _ in kept:
        setattr(module, name, 0.0)
    try:
        yield
    finally:
        for module, name, value in kept:
            setattr(module, name, value)
