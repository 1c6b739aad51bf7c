"""The nouns of encoding: a text as strategies see it, the windows they read, the spans their vectors stand for."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

from longspan.errors import EncodeError

Span = tuple[int, int]


class Window(NamedTuple):
    """What one forward pass reads.

    Attributes:
        start: First token of the text that is read.
        end: First token that is not.
        keep: First token whose state counts; those before it only give context.
    """

    start: int
    end: int
    keep: int


@dataclass(frozen=True)
class Reading:
    """How a text is read.

    Attributes:
        windows: What each forward reads, in order; at least one.
        spans: Tokens [start, end) that each vector stands for.
    """

    windows: list[Window]
    spans: list[Span]

    @property
    def used(self) -> int:
        """Tokens read by at least one window."""
        return self.windows[-1].end


@dataclass(frozen=True)
class Text:
    """A text and its tokens.

    Attributes:
        text: The characters.
        tokens: How many tokens it has, special ones and prompt not counted.
        offsets: Start and end of each token [characters of the text], None where the tokenizer does not tell.
        given: Spans of the caller [characters], None where there are none.
    """

    text: str
    tokens: int
    offsets: Sequence[Span] | None
    given: Sequence[Span] | None = None

    def token_at(self, character: int) -> int:
        """The first token that begins at a character or behind it.

        Raises:
            EncodeError: The tokenizer does not tell.
        """
        if self.offsets is None:
            raise EncodeError(
                "This tokenizer does not tell which characters a token stands for.",
                "use a strategy without chunks, such as chunk_max, or a fast tokenizer",
            )
        return bisect_left(self.offsets, character, key=lambda offset: offset[0])

    def characters(self, span: Span) -> Span:
        """The characters that tokens [first, last) stand for; (-1, -1) where the tokenizer does not tell."""
        first, last = span
        if self.offsets is None:
            return (-1, -1)
        return (self.offsets[first][0], self.offsets[last - 1][1]) if last > first else (0, 0)


class Strategy(Protocol):
    """A way to read a text of any length; a pure function of the text and the room in a window.

    Attributes:
        window: Tokens that one forward reads, special ones included; None for what ``reads`` says.
        top: How many of a text's vectors its score is the mean of.
        reads: What a window is when none is given: the whole window of the model, or its native one,
            which it had before it was extended ("whole", "native").
        makes: Each window's own vector ("windows"), one vector of all of them by ``merge`` ("merged"), or one of
            the token states of each span ("spans").
        chunked: Name of the strategy that reads what this one drops, "" where nothing is dropped.
    """

    window: int | None
    top: int
    reads: ClassVar[str]
    makes: ClassVar[str]
    chunked: ClassVar[str]

    def read(self, text: Text, room: int) -> Reading:
        """Windows of at most ``room`` tokens, and the spans of the vectors."""


class Merging(Strategy, Protocol):
    """A strategy that makes one vector of those of a text's windows."""

    def merge(self, vectors: Any) -> Any:
        """Vectors ``[windows, dimension]`` to ``[dimension]``."""


def first_window(tokens: int, room: int) -> list[Window]:
    """One window from the start of a text."""
    return [Window(0, min(tokens, room), 0)]


def full_windows(tokens: int, room: int, overlap: int = 0) -> list[Window]:
    """Windows over a whole text, all full: the last is slid back, as in LongEmbed (Zhu et al. 2024).

    Each keeps the states that no window before it has, so every token is kept once.

    Args:
        tokens: Tokens of the text.
        room: Tokens of a window.
        overlap: Tokens that a window shares with the one before it, at least.

    Raises:
        EncodeError: The overlap leaves no step forward.
    """
    if not 0 <= overlap < room:
        raise EncodeError(
            f"Windows of {room} tokens cannot overlap by {overlap}.",
            f"use an overlap of 0 to {room - 1}",
        )
    last = max(tokens - room, 0)
    starts = (*range(0, last, room - overlap), last)
    ends = [min(start + room, tokens) for start in starts]
    return [Window(start, end, keep) for start, end, keep in zip(starts, ends, (0, *ends), strict=False)]


def check_reading(reading: Reading) -> Reading:
    """Check that no vector would be made of special tokens alone.

    Raises:
        EncodeError: There is no window, or a window or a span holds no token.
    """
    held = [*(window[:2] for window in reading.windows), *reading.spans]
    if not reading.windows or any(end <= start for start, end in held):
        raise EncodeError("The strategy reads it by a window or span that holds no token.", "give each a token or more")
    return reading


def check(name: str, window: int | None, top: int = 1) -> None:
    """Check the fields that strategies share.

    Raises:
        EncodeError: A number is below 1.
    """
    if window is not None and window < 1:
        raise EncodeError(f"{name} has no window of {window} tokens.", f"{name}(window=512)")
    if top < 1:
        raise EncodeError(f"{name} cannot score by the best {top} vectors.", f"{name}(top=1) is the best one")
