"""The exception tree: one sentence of fact with the numbers, one hint with what works."""

from __future__ import annotations

import importlib
from typing import Any


class LongspanError(Exception):
    """Any error that longspan raises on purpose.

    Args:
        fact: What is wrong, one sentence, with the numbers.
        hint: The nearest thing that works.
    """

    def __init__(self, fact: str, hint: str = "") -> None:
        super().__init__(f"{fact}\nhint: {hint}" if hint else fact)
        self.fact = fact
        self.hint = hint


class CardError(LongspanError):
    """A component's card is missing, is not a literal, or lacks a field."""


class SpecError(LongspanError):
    """A specification string does not parse, or names an unknown component or parameter."""


class InspectError(LongspanError):
    """A model's geometry cannot be read."""


class PlanError(LongspanError):
    """The methods do not fit the model, the length, or one another."""


class SeamError(LongspanError):
    """A plan cannot be written into this model."""


class StorageError(LongspanError):
    """A checkpoint cannot be written, read, or verified."""


class EncodeError(LongspanError):
    """Texts cannot be turned into vectors as asked."""


class BlankTextError(EncodeError):
    """A text shows nothing, or has no token, so that any vector of it would be made up."""


class BenchmarkError(LongspanError):
    """A benchmark cannot be built or scored as asked."""


class ConvertError(LongspanError):
    """A model cannot be converted, or its distillation cannot go on."""


def require(module: str, needed_for: str, extra: str, kind: type[LongspanError] = BenchmarkError) -> Any:
    """A module of a package that longspan does not install by itself.

    Args:
        module: Its name.
        needed_for: What needs it, the subject of the error's sentence.
        extra: The extra of longspan that installs it.
        kind: The error to raise.

    Raises:
        LongspanError: It is not installed, or something that it needs is not.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = error.name or module.split(".")[0]
        raise kind(f"{needed_for} needs {package}.", f"pip install 'longspan[{extra}]'") from None
