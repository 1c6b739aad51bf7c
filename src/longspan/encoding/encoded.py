"""What an encoding gives: vectors, the text each stands for, and an account of what was read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from longspan.encoding.tokens import Tokenised
from longspan.errors import EncodeError
from longspan.reading import Reading

_NAMED = 10  # places of further texts that an error names


@dataclass(frozen=True)
class Encoded:
    """Vectors of texts, and what they have read.

    A strategy of one vector gives each text one; others give several, in reading order. A text that
    could not be encoded has none.

    Attributes:
        vectors: float32 ``[vectors, dimension]``, in the order of the texts.
        owner: Which text each vector belongs to, int64 ``[vectors]``, ascending.
        spans: Start and end of what each vector stands for [characters of its text], int64 ``[vectors, 2]``;
            -1 where the tokenizer does not tell.
        given: Tokens of each text, special ones and prompt not counted; 0 where there is an error.
        used: Tokens of each text that a window has read.
        windows: Forward passes each text took part in.
        errors: Place of each text that could not be encoded, and why.
    """

    vectors: np.ndarray
    owner: np.ndarray
    spans: np.ndarray
    given: list[int]
    used: list[int]
    windows: list[int]
    errors: dict[int, EncodeError] = field(default_factory=dict)

    @property
    def dropped(self) -> list[int]:
        """Tokens of each text that no window has read."""
        return [given - used for given, used in zip(self.given, self.used, strict=True)]

    def overflow(self) -> str:
        """One line on what was dropped, "" when nothing was."""
        return overflow(self.given, self.used)

    def scores(self, queries: np.ndarray, top: int = 1) -> np.ndarray:
        """How well each text answers each query: the mean of its ``top`` best vectors' cosines.

        ``top=1`` is MaxP (Dai and Callan 2019); a text of one vector has its plain cosine.

        Args:
            queries: ``[queries, dimension]``.
            top: How many of a text's vectors count; a text of fewer counts them all.

        Returns:
            float32 ``[queries, texts]``; -inf for a text without a vector.
        """
        similar = unit(queries) @ unit(self.vectors).T
        found = np.full((len(queries), len(self.given)), -np.inf, dtype=np.float32)
        bounds = np.searchsorted(self.owner, np.arange(len(self.given) + 1))
        for text, (start, end) in enumerate(pairwise(bounds.tolist())):
            if end > start:
                best = np.sort(similar[:, start:end], axis=1)[:, -top:]
                found[:, text] = best.mean(axis=1)
        return found


def collect(
    count: int,
    texts: Mapping[int, Tokenised],
    readings: Mapping[int, Reading],
    vectors: Sequence[np.ndarray],
    errors: dict[int, EncodeError],
    dimension: int,
) -> Encoded:
    """Put together what was read of each text; one whose vectors are not finite is an error.

    Args:
        count: How many texts there are.
        texts: Place of a text to the text, where it could be tokenised.
        readings: Place to how it was read, where it was.
        vectors: Vectors of those that were read, in that order.
        errors: Place to why it could not be read.
        dimension: Columns of the vectors.
    """
    stacked = np.concatenate([np.zeros((0, dimension), np.float32), *vectors])
    if not np.isfinite(stacked).all():
        held = dict(zip(readings, vectors, strict=True))
        whole = {place: one for place, one in held.items() if np.isfinite(one).all()}
        lost = {place: _overflown(one) for place, one in held.items() if place not in whole}
        kept = {place: readings[place] for place in whole}
        return collect(count, texts, kept, [*whole.values()], {**errors, **lost}, dimension)
    spans = [texts[place].text.characters(span) for place, reading in readings.items() for span in reading.spans]
    return Encoded(
        vectors=stacked,
        owner=np.repeat(np.array(list(readings), dtype=np.int64), [len(one) for one in vectors]),
        spans=np.array(spans, dtype=np.int64).reshape(-1, 2),
        given=[texts[place].text.tokens if place in readings else 0 for place in range(count)],
        used=[readings[place].used if place in readings else 0 for place in range(count)],
        windows=[len(readings[place].windows) if place in readings else 0 for place in range(count)],
        errors=errors,
    )


def _overflown(vectors: np.ndarray) -> EncodeError:
    wrong = int((~np.isfinite(vectors)).sum())
    return EncodeError(
        f"{wrong:,} of the {vectors.size:,} numbers that the model makes of it are not finite.",
        "use float32 or bfloat16, whose range is wider than float16's; or look for such numbers in the model's weights",
    )


def interleave(some: Encoded, others: Encoded, places: Sequence[int]) -> Encoded:
    """Put texts that were encoded apart back in their places.

    Args:
        some: All texts, without vectors at ``places``.
        others: The texts at ``places``, in that order.
        places: Where they belong.
    """
    owner = np.concatenate([some.owner, np.asarray(places, dtype=np.int64)[others.owner]])
    order = np.argsort(owner, kind="stable")
    given, used, windows = list(some.given), list(some.used), list(some.windows)
    for place, *counts in zip(places, others.given, others.used, others.windows, strict=True):
        given[place], used[place], windows[place] = counts
    return Encoded(
        np.concatenate([some.vectors, others.vectors])[order],
        owner[order],
        np.concatenate([some.spans, others.spans])[order],
        given,
        used,
        windows,
        {**some.errors, **{places[place]: error for place, error in others.errors.items()}},
    )


def overflow(given: list[int], used: list[int]) -> str:
    """One line on the tokens that were dropped, "" when none were.

    Args:
        given: Tokens of each text.
        used: Tokens of each text that were read.
    """
    cut = [(whole, read) for whole, read in zip(given, used, strict=True) if read < whole]
    if not cut:
        return ""
    share = 1 - sum(read for _, read in cut) / sum(whole for whole, _ in cut)
    return f"{len(cut)} of {len(given)} inputs lost {share:.0%} of their tokens."


def room_for(tokens: int) -> int:
    """A length to extend to for a text of so many tokens: a power of two leaves room for the next one."""
    return int(2 ** math.ceil(math.log2(tokens)))


def remedy(model: str, tokens: int) -> str:
    """The command that extends a model so far that it reads so many tokens."""
    to = room_for(tokens)
    return f"extend to {to} with: longspan extend {model} --to {to} --out {Path(model).name}-{to}"


def named(errors: dict[int, EncodeError], texts: int) -> EncodeError:
    """One error for those of texts, by place: of the kind of the first, which it tells, with the places of all."""
    places = sorted(errors)
    first = errors[places[0]]
    others = ""
    if len(places) > 1:
        told = ", ".join(map(str, places[1 : 1 + _NAMED])) + (", ..." if len(places) > 1 + _NAMED else "")
        others = f" ({len(places)} of {texts} texts cannot be encoded; the others are {told})"
    return type(first)(f"Text {places[0]}: {first.fact}{others}", f"{first.hint}; or pass on_error='keep'")


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1, ``[rows, dimension]``; a zero vector stays zero."""
    scaled: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return scaled
