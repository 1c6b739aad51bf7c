"""What encoding refuses: of a text, a prompt, a token, an option."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from longspan.errors import BlankTextError, EncodeError, shown
from longspan.texts import blank
from longspan.values import whole

OnOverflow = Literal["error", "warn", "truncate", "chunk", "extend"]
OnError = Literal["raise", "keep"]

LEAVE_OUT = "leave it out: any vector of it would be made up"


def refusal(text: Any) -> EncodeError | None:
    """Why a text cannot be encoded, None when it can."""
    if not isinstance(text, str):
        return EncodeError(f"It is a {type(text).__name__}, not a string.", "pass a list of strings")
    if blank(text):
        told = f"It has {len(text)} characters, none of them visible." if text else "It is empty."
        return BlankTextError(told, LEAVE_OUT)
    if told := _surrogate(text):
        return EncodeError(f"{told}.", "read the text with errors='replace'")
    return None


def _surrogate(text: str) -> str:
    """What is no character in a text, "" where all are."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"Character {error.start} is a lone surrogate, U+{ord(text[error.start]):04X}, which no text holds"
    return ""


def check_prompt(prompt: Any) -> None:
    """Check that a prompt is a text.

    Raises:
        EncodeError: It is none.
    """
    if not isinstance(prompt, str):
        raise EncodeError(f"The prompt is a {type(prompt).__name__}, not a string.", 'pass prompt="query: "')
    if told := _surrogate(prompt):
        raise EncodeError(f"The prompt cannot be read: {told}.", "read it with errors='replace'")


def check_rows(ids: Sequence[int], rows: int | None) -> None:
    """Check that a model has a row for each token.

    Args:
        ids: Token ids.
        rows: Of the model's embedding of words, None where there is no such table.

    Raises:
        EncodeError: It has none for one.
    """
    if rows is not None and (highest := max(ids, default=0)) >= rows:
        raise EncodeError(
            f"Its token {highest} has no row in the model's embedding of {rows} words.",
            "call resize_token_embeddings after tokens are added, and train the new rows",
        )


def check_call(on_error: Any, progress: Any) -> None:
    """Check what a call of an encoder is given beside texts.

    Raises:
        EncodeError: It is none of the choices, or no title.
    """
    if not isinstance(progress, str):
        raise EncodeError(f"progress={progress!r} is no title.", 'pass progress="reading", or "" for no bar')
    if on_error not in get_args(OnError):
        raise EncodeError(f"There is no on_error={on_error!r}.", f"use {' or '.join(get_args(OnError))}")


def check_options(on_overflow: Any, **numbers: Any) -> dict[str, int]:
    """Check the options of an encoder.

    Args:
        on_overflow: One of ``OnOverflow``.
        **numbers: batch_tokens, layers and dims; None where one is left out.

    Returns:
        Those that are given, as int.

    Raises:
        EncodeError: An option is none.
    """
    if on_overflow not in get_args(OnOverflow):
        raise EncodeError(f"There is no on_overflow={on_overflow!r}.", f"use {', '.join(get_args(OnOverflow))}")
    given = {name: value for name, value in numbers.items() if value is not None}
    found = {name: whole(value, name, EncodeError, "give one, or leave it out") for name, value in given.items()}
    if found.get("batch_tokens", 1) < 1:
        raise EncodeError(f"A batch cannot cost {shown(numbers['batch_tokens'])} tokens.", "use at least 1")
    return found
