"""The exception tree: one sentence of fact with the numbers, one hint with what works."""

from __future__ import annotations

import importlib
import re
from typing import Any

_FACT, _HINT, _WORD = 480, 800, 240
"""Characters of a fact, of a hint, which may list all that is known, and of what stands between two spaces."""
_LONG = re.compile(r"\S{241,}")  # more than _WORD; written out, so that its time can be tried


class LongspanError(Exception):
    """Any error that longspan raises on purpose.

    What does not print is escaped, and what is long is cut in its middle: facts and hints quote what users and
    files gave, and that may be of any length.

    Args:
        fact: What is wrong, one sentence, with the numbers.
        hint: The nearest thing that works.
    """

    def __init__(self, fact: str, hint: str = "") -> None:
        self.fact = _cut(fact, _FACT)
        self.hint = _cut(hint, _HINT)
        super().__init__(self.fact, self.hint)

    def __str__(self) -> str:
        return f"{self.fact}\nhint: {self.hint}" if self.hint else self.fact


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


def shown(value: object) -> str:
    """A value as an error quotes it, whatever it is."""
    try:
        return repr(value)
    except ValueError:  # a number of thousands of digits
        return f"a {type(value).__name__}"


def one_line(error: BaseException) -> str:
    """What another library's error says, as one line: a line that ends with a colon goes on with the next one."""
    told = ""
    for line in filter(None, map(str.strip, str(error).splitlines())):
        told = f"{told} {line}".strip()
        if not line.endswith(":"):
            break
    return told or type(error).__name__


def is_failure(error: BaseException) -> bool:
    """Whether something went wrong, rather than that somebody stops the program.

    A panic of a library in Rust, such as tokenizers, is no ``Exception``.
    """
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


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


def _cut(text: str, most: int) -> str:
    """One line of text that prints, and is not longer than it is of use."""
    if len(text) > 2 * most:  # before anything takes time in proportion
        text = _middle_out(text, most)
    text = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
    text = _LONG.sub(lambda found: _middle_out(found[0], _WORD), text)
    return _middle_out(text, most) if len(text) > most else text


def _middle_out(text: str, most: int) -> str:
    told = f" [... {len(text) - most:,} characters ...] "
    return f"{text[: 2 * most // 3]}{told}{text[-most // 3 :]}"
