"""Where a text is cut into chunks: every so many tokens, at sentences, at headings, or where the caller says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

from longspan.errors import EncodeError
from longspan.reading import Span, Text
from longspan.texts import blank

Chunks = Literal["tokens", "sentences", "headings", "spans"]

_SIZES = {"tokens": 128, "sentences": 5}
# Marks, what closes them, and a gap; the marks of Chinese and Japanese need no gap. A run of marks is tried from its
# first one only: where no gap follows it, none follows its rest, and to try each would take the square of its length.
# ruff: noqa: RUF001
_SENTENCE_END = re.compile(r"(?:(?<![.!?])[.!?]+[\"'”’)\]]*(?=\s)|[。！？]+[」』”’]*|\n\s*\n)\s*")
_HEADING = re.compile(r"^ {0,3}(?:#{1,6}(?:\s|$)|(?P<fence>```|~~~))", re.MULTILINE)


def check_size(name: str, chunks: Chunks, size: int | None) -> None:
    """Check the size of chunks.

    Raises:
        EncodeError: It is below 1, or would have no effect.
    """
    if size is not None and size < 1:
        raise EncodeError(f"{name} has no chunks of {size} {chunks}.", f"{name}(chunks={chunks!r}, size=5)")
    if size is not None and chunks == "spans":
        raise EncodeError(f"size={size} has no effect on the spans of the caller.", f"{name}(chunks='spans')")


def chunk(text: Text, end: int, chunks: Chunks, size: int | None) -> list[Span]:
    """Cut the first ``end`` tokens of a text.

    Args:
        text: The text.
        end: Tokens that are read.
        chunks: Where to cut.
        size: Tokens or sentences of a chunk; of a section, tokens at most.

    Returns:
        Spans of tokens in order; they cover all that is read, unless they are the caller's. An empty text
        has one empty chunk.

    Raises:
        EncodeError: Spans of the caller are missing, or one is out of range, overlaps, or holds no token.
    """
    if chunks == "spans":
        return _given(text, end)
    if chunks == "tokens" or end == 0:
        return _cut(0, end, size or _SIZES["tokens"])
    if chunks == "sentences":
        starts = [0, *(match.end() for match in _SENTENCE_END.finditer(text.text))][:: size or _SIZES["sentences"]]
    else:
        starts = [0, *_headings(text.text)]
    firsts = sorted({min(text.token_at(start), end) for start in starts} | {0, end})
    spans = list(pairwise(firsts))
    if chunks == "headings" and size:
        return [part for start, stop in spans for part in _cut(start, stop, size)]
    return spans


def _cut(start: int, end: int, size: int) -> list[Span]:
    return [(at, min(at + size, end)) for at in range(start, end, size)] or [(start, end)]


def _headings(text: str) -> Iterator[int]:
    fence = ""
    for match in _HEADING.finditer(text):
        if found := match["fence"]:  # a line that begins with # inside a fence is code
            fence = "" if fence == found else fence or found
        elif not fence:
            yield match.start()


def _given(text: Text, end: int) -> list[Span]:
    if text.given is None:
        raise EncodeError("Chunks by spans need the spans of each text.", "pass spans=[[(0, 120), (120, 260)], ...]")
    length, spans, before = len(text.text), [], 0
    for place, (start, stop) in enumerate(text.given):
        if not 0 <= start < stop <= length:
            raise EncodeError(
                f"Span {place} ({start}, {stop}) is out of range in a text of {length} characters.",
                "give start < end within the text",
            )
        if start < before:
            raise EncodeError(
                f"Span {place} ({start}, {stop}) overlaps the one before it, which ends at {before}.",
                "give spans in order, each beginning where or after the last one ends",
            )
        first, last = text.token_at(start), text.token_at(stop)
        if last > end:
            raise EncodeError(
                f"Span {place} ({start}, {stop}) lies beyond the {end} tokens that are read.",
                "use long_late, or extend the model",
            )
        if first == last or blank(text.text[start:stop]):
            raise EncodeError(f"Span {place} ({start}, {stop}) holds no token.", "leave out spans of white space")
        spans.append((first, last))
        before = stop
    if not spans:
        raise EncodeError("The list of spans is empty.", "give at least one span, such as (0, len(text))")
    return spans
