"""longspan gives a pretrained transformer a longer context window, and proves what was gained.

Verbs: inspect, plan, draw, extend, convert, encode, evaluate, compare, report, save, verify, load. Nothing heavy is
imported until a verb is used.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "BenchmarkError": "errors",
    "BlankTextError": "errors",
    "CardError": "errors",
    "ConvertError": "errors",
    "EncodeError": "errors",
    "Encoder": "encoding.run",
    "Geometry": "geometry",
    "InspectError": "errors",
    "LongspanError": "errors",
    "Plan": "planning",
    "PlanError": "errors",
    "Recipe": "training.run",
    "Score": "evaluation.score",
    "SeamError": "errors",
    "SpecError": "errors",
    "StorageError": "errors",
    "compare": "evaluation.compare",
    "convert": "conversion.convert",
    "draw": "drawing.picture",
    "embedder": "encoding.embedder",
    "encode": "encoding.run",
    "evaluate": "evaluation.run",
    "extend": "extension",
    "extended": "extension",
    "inspect": "inspection",
    "load": "storage.load",
    "plan": "planning",
    "plan_of": "extension",
    "report": "evaluation.report",
    "restore": "extension",
    "save": "storage.save",
    "verify": "storage.verify",
}

__all__ = [*sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'longspan' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"longspan.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
