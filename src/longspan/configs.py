"""What is refused of a configuration before anything of its size is built, and before any code of its folder is due."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from longspan.errors import LongspanError
from longspan.geometry import MAX_LENGTH

_MOST = (
    (re.compile(r"theta|base|token|_id$|version|params"), None),
    (re.compile(r"layer|block|depth"), 1024),
    (re.compile(r"head|expert|group|bucket"), 2**14),
    (re.compile(r"vocab|position|length|seq|ctx|window"), MAX_LENGTH),
    (re.compile(r"dim|hidden|size|width|inner|intermediate|embd|d_model|d_ff|d_kv"), 2**20),
)
"""Most of what a key counts, by the first pattern its name holds; None where it is no size."""


def check_config(settings: Any, source: str, kind: type[LongspanError]) -> None:
    """Refuse a configuration that no model has, or that needs code of its own.

    Args:
        settings: Content of config.json.
        source: Where it was read from.
        kind: The error to raise.

    Raises:
        LongspanError: A size is out of range, or the architecture is not one of transformers.
    """
    if not isinstance(settings, dict):
        raise kind(f"The config.json of {source!r} is no JSON object.", "give a folder with a valid config.json")
    for key, value in _numbers(settings):
        most = next((most for pattern, most in _MOST if pattern.search(key)), None)
        if most is not None and value > most:
            raise kind(f"{source!r} says {key}={value}, and no model has more than {most}.", "correct its config.json")
    architecture = settings.get("model_type")
    if settings.get("auto_map") and not _is_known(architecture):
        raise kind(
            f"{source!r} needs code of its own for its architecture {architecture!r}, and longspan runs no code of a "
            "model's folder.",
            "use a checkpoint of an architecture that transformers has, or load it yourself and pass the model",
        )


def _is_known(architecture: Any) -> bool:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return isinstance(architecture, str) and architecture in CONFIG_MAPPING


def _numbers(settings: Any, key: str = "", depth: int = 8) -> Iterator[tuple[str, int]]:
    if isinstance(settings, dict) and depth:
        for name, value in settings.items():
            yield from _numbers(value, str(name), depth - 1)
    elif isinstance(settings, list) and depth:
        for value in settings:
            yield from _numbers(value, key, depth - 1)
    elif isinstance(settings, int) and not isinstance(settings, bool):
        yield key, settings
