"""Windows through the engine, token states to vectors."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import cast

import numpy as np
import torch
from torch import Tensor

from longspan.encoding import batches
from longspan.encoding.engines import Engine
from longspan.encoding.pooling import Head
from longspan.encoding.tokens import Frame, Row, Tokenised
from longspan.errors import EncodeError
from longspan.reading import Merging, Reading, Span, Strategy, Window


def vectors(
    engine: Engine,
    head: Head,
    frame: Frame,
    strategy: Strategy,
    texts: Sequence[Tokenised],
    readings: Sequence[Reading],
    budget: int,
    dims: int | None,
    done: Callable[[int], object],
) -> list[np.ndarray]:
    """The vectors of each text.

    Args:
        engine: Gives token states.
        head: Makes vectors of them.
        frame: What stands around every window.
        strategy: How windows become vectors.
        texts: What is read.
        readings: How each text is read.
        budget: What a batch may cost [tokens].
        dims: First dimensions that are kept, None for all.
        done: Told how many tokens a batch had.

    Returns:
        For each text, float32 ``[its vectors, dimension]``.
    """
    rows, owner = [], []
    for place, (text, reading) in enumerate(zip(texts, readings, strict=True)):
        rows += [frame.wrap(text.ids[window.start : window.end], text.prompt) for window in reading.windows]
        owner += [(place, number) for number in range(len(reading.windows))]
    pool = _Spans(head, texts, readings) if strategy.makes == "spans" else _Windows(head)
    same = _same(rows)

    def forward(batch: list[int]) -> Tensor:
        return engine.states([rows[same[place][0]].ids for place in batch])

    def handle(batch: list[int], states: Tensor) -> None:
        for turn in range(max(len(same[place]) for place in batch)):
            held = [i for i, place in enumerate(batch) if turn < len(same[place])]
            these = [same[batch[i]][turn] for i in held]
            mine = states[held] if turn else states
            pool.take(mine, [rows[row] for row in these], [owner[row] for row in these])
            done(sum(len(rows[row].ids) for row in these))

    with torch.inference_mode():
        batches.run(forward, handle, [len(rows[alike[0]].ids) for alike in same], budget, head.width)
        found = [pool.of(place, len(reading.windows))[:, :dims] for place, reading in enumerate(readings)]
    if strategy.makes == "merged":
        merging = cast("Merging", strategy)
        found = [merging.merge(one)[None] for one in found]
    return [head.normalise(one) for one in found]


def _same(rows: Sequence[Row]) -> list[list[int]]:
    """Rows with the same tokens, which are read once: a corpus repeats itself, a synthetic one most of all."""
    alike: dict[tuple[int, ...], list[int]] = {}
    for number, row in enumerate(rows):
        alike.setdefault(tuple(row.ids), []).append(number)  # one frame and prompt stand around all of them
    return list(alike.values())


class _Windows:
    """Collects the model's own vector of every window."""

    def __init__(self, head: Head) -> None:
        self.head = head
        self.vectors: dict[tuple[int, int], np.ndarray] = {}

    def take(self, states: Tensor, rows: list[Row], owner: list[tuple[int, int]]) -> None:
        """Pool a batch of states ``[rows, tokens, width]``."""
        pooled = self.head.pool(states, rows).float().cpu().numpy()
        self.vectors |= dict(zip(owner, pooled, strict=True))

    def of(self, text: int, windows: int) -> np.ndarray:
        """Vectors of a text's windows ``[windows, dimension]``."""
        return np.stack([self.vectors.pop((text, number)) for number in range(windows)])


class _Spans:
    """Sums token states over spans, window by window, so that no text's states are held as a whole."""

    def __init__(self, head: Head, texts: Sequence[Tokenised], readings: Sequence[Reading]) -> None:
        self.head = head
        self.texts = texts
        self.readings = readings
        self.order = [_Order(reading.spans) for reading in readings]
        self.sums: dict[int, Tensor] = {}
        self.counts = {place: torch.zeros(len(reading.spans), 1) for place, reading in enumerate(readings)}

    def take(self, states: Tensor, rows: list[Row], owner: list[tuple[int, int]]) -> None:
        """Add a batch of states ``[rows, tokens, width]``."""
        states = self.head.states(states)
        for one, row, (text, number) in zip(states, rows, owner, strict=True):
            sums = self.sums.setdefault(text, torch.zeros(len(self.counts[text]), one.shape[-1]))
            for span, first, last in self._pieces(text, self.readings[text].windows[number], row):
                sums[span] += one[first:last].sum(0).float().cpu()
                self.counts[text][span] += last - first

    def of(self, text: int, windows: int) -> np.ndarray:
        """Vectors of a text's spans ``[spans, dimension]``."""
        counts = self.counts.pop(text)
        if not counts.all():
            span = self.readings[text].spans[int(counts.argmin())]
            raise EncodeError(
                f"No window keeps a token of the span {span}.", "let the strategy's windows cover its spans"
            )
        pooled = self.sums.pop(text) / counts
        vectors: np.ndarray = self.head.project(pooled.to(self.head.device)).float().cpu().numpy()
        return vectors

    def _pieces(self, text: int, window: Window, row: Row) -> list[tuple[int, int, int]]:
        """Which span each state of a row counts for: (span, first, last) in places of the row."""
        shift, pieces = row.content - window.start, []
        for span, (start, end) in self.order[text].near(window):
            if max(start, window.keep) >= min(end, window.end):
                continue
            first, last = max(start, window.keep) + shift, min(end, window.end) + shift
            # The first span takes in what stands in front of the text, the last one what stands behind.
            if start == window.start == 0:
                first = row.pooled[0] if self.head.pooling.include_prompt else max(row.pooled[0], row.prompt)
            if end == window.end == self.readings[text].used:
                last = row.pooled[1]
            if self.head.mode == "lasttoken":
                first = last - 1 if end <= window.end else last
            if first < last:
                pieces.append((span, first, last))
        return pieces


class _Order:
    """Spans by their start, so that a window need not look at all of them: a book has thousands of both.

    Spans may overlap and stand in any order, as a strategy of one's own may give them.
    """

    def __init__(self, spans: Sequence[Span]) -> None:
        self.spans = sorted(enumerate(spans), key=lambda one: one[1])
        self.starts = [start for _, (start, _) in self.spans]
        # The furthest end so far, which grows even where ends do not.
        self.reach = list(accumulate((end for _, (_, end) in self.spans), max))

    def near(self, window: Window) -> Iterator[tuple[int, Span]]:
        """The spans that may hold tokens that a window keeps, each with its number."""
        first, last = bisect_left(self.reach, window.keep), bisect_right(self.starts, window.end)
        return iter(self.spans[first:last])
