"""The Trainer of a distillation; apart, since transformers' Trainer takes seconds to import."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import SequentialSampler
from tqdm import tqdm
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from longspan.errors import ConvertError
from longspan.training.lessons import Lessons
from longspan.training.run import COSINE, Recipe, in_a_row, load_weights, reached
from longspan.training.teacher import Teacher


class Distiller(Trainer):
    """Transformers' Trainer with a teacher.

    Args:
        student: What is trained.
        teacher: What it is to resemble.
        lessons: A batch at each step.
        agreement: Held-out cosine of a student by length in tokens.
        recipe: How.
        folder: Where checkpoints are kept.
        bar: Counts the steps.
        tell: Takes a line at each measurement.
    """

    def __init__(
        self,
        student: Any,
        teacher: Teacher,
        lessons: Lessons,
        agreement: Callable[[Any], Mapping[int, float]],
        recipe: Recipe,
        folder: Path,
        bar: tqdm,
        tell: Callable[[str], None],
    ) -> None:
        device = next(student.parameters()).device
        arguments = TrainingArguments(
            str(folder),
            max_steps=recipe.steps,
            per_device_train_batch_size=1,
            learning_rate=recipe.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=recipe.steps // 20,
            adam_beta2=0.98,
            weight_decay=0.0,
            # On a CPU without matrix units bfloat16 is slower than float32.
            bf16=device.type == "cuda" and torch.cuda.is_bf16_supported(),
            use_cpu=device.type == "cpu",
            dataloader_pin_memory=device.type == "cuda",  # elsewhere torch warns
            eval_strategy="steps",
            eval_steps=recipe.check_every,
            save_steps=recipe.check_every,
            save_total_limit=2,
            logging_steps=10,
            disable_tqdm=True,
            report_to=[],
            seed=recipe.seed,
            remove_unused_columns=False,
        )
        # With several GPUs the Trainer would hand one batch to each and halve the steps.
        arguments._n_gpu = min(1, arguments.n_gpu)
        self.teacher, self.lessons, self.agreement = teacher, lessons, agreement
        self.measured: Mapping[int, float] = {}
        """The last held-out cosines; there are some of the last step, whatever ``check_every`` is."""
        super().__init__(
            student,
            arguments,
            data_collator=lambda batches: batches[0],
            train_dataset=lessons,
            eval_dataset=lessons,
        )
        self.remove_callback(PrinterCallback)  # it prints to stdout, which is for data
        self.add_callback(_Watch(recipe, bar, tell))

    def _get_train_sampler(self, *_: Any, **__: Any) -> Any:
        """Steps in their order; what a step reads is drawn by the lessons."""
        return SequentialSampler(range(len(self.lessons)))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, *_: Any, **__: Any) -> None:
        # Theirs reads tensors by name, and JinaEmbeddingsV3Model is written under the names of its first release.
        load_weights(self.model, Path(resume_from_checkpoint))

    def compute_loss(self, model: Any, inputs: dict[str, Tensor], *_: Any, **__: Any) -> Tensor:
        """The distillation loss of one batch.

        Raises:
            ConvertError: It is not a number.
        """
        loss = self.teacher.loss(model, inputs)
        if not torch.isfinite(loss):
            raise self._lost(f"The loss is {loss.item()} at step {self.state.global_step + 1}.")
        return loss

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Held-out cosine by length.

        Raises:
            ConvertError: One is not a number: the last step spoilt the student, which must not become a checkpoint.
        """
        student: Any = self.model
        found = self.agreement(student.eval())
        if not all(isfinite(cosine) for cosine in found.values()):
            raise self._lost(f"The student's vectors are not numbers after step {self.state.global_step}.")
        self.measured = found
        metrics = {f"{COSINE}{length}": cosine for length, cosine in found.items()}
        self.log(dict(metrics))  # which adds the epoch to what it gets
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _lost(self, fact: str) -> ConvertError:
        return ConvertError(
            fact,
            f"give a lower learning rate than {self.args.learning_rate:g} and remove {self.args.output_dir}, which "
            "keeps the last sound checkpoints of this one",
        )


class _Watch(TrainerCallback):
    """What is shown, and the stop at the target."""

    def __init__(self, recipe: Recipe, bar: tqdm, tell: Callable[[str], None]) -> None:
        self.recipe, self.bar, self.tell = recipe, bar, tell

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar.n = self.bar.initial = state.global_step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar.update()

    def on_log(self, args: Any, state: Any, control: Any, **told: Any) -> None:
        if "loss" in told["logs"]:
            self.bar.set_postfix(loss=f"{told['logs']['loss']:.3f}")

    def on_evaluate(self, args: Any, state: Any, control: Any, **told: Any) -> None:
        metrics: dict[str, float] = told["metrics"]
        row = in_a_row({int(name.removeprefix(COSINE)): value for name, value in metrics.items()})
        self.tell(f"step {state.global_step}, held-out cosine  {row}")
        control.should_training_stop |= reached(self.recipe.until, metrics.values())
