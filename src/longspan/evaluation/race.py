"""The race of methods: what was measured so far, who is behind by how much, who is out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from longspan import spec
from longspan.errors import LongspanError
from longspan.evaluation.cells import card_of
from longspan.evaluation.run import evaluate
from longspan.evaluation.score import Score
from longspan.evaluation.statistics import Interval, macro
from longspan.geometry import Geometry
from longspan.planning import plan
from longspan.seams import anatomy
from longspan.twin import extended_twin

Cell = tuple[str, str, int | None]
"""A set: benchmark, task and length."""


class Race:
    """What was measured so far, and what it says."""

    def __init__(
        self,
        model: Any,
        to: int,
        geometry: Geometry,
        seed: int,
        known: list[Score],
        keep: Callable[[list[Score]], None],
        own: str,
    ) -> None:
        self.model, self.to, self.geometry, self.seed, self.keep = model, to, geometry, seed, keep
        self.name = str(anatomy.transformer(model).config._name_or_path)
        # A file of scores may hold those of other models, or of what had this name before; keyword search is nobody's.
        mine = {(self.name, own), ("bm25", "")}
        self.known = [one for one in known if (one.model, one.identity) in mine and one.seed == seed]
        self.how: dict[str, Any] = {}
        self.refused: dict[str, str] = {}
        self.scores: list[Score] = []
        """Those of this comparison, measured now or before."""

    def applicable(self, methods: Sequence[str]) -> list[str]:
        """Those of the specifications that fit, as they are written short; why not is kept of the others."""
        fitting = []
        for method in methods:
            try:
                made = plan(self.geometry, method, self.to)
                extended_twin(self.model, method=made)  # a seam may refuse what the plan allows
                fitting.append(spec.short(made.methods) or "none")
            except LongspanError as error:  # noqa: PERF203 each is refused for a reason of its own
                self.refused[method] = error.fact
        return list(dict.fromkeys(fitting))

    def measure(
        self, sets: Sequence[Any], methods: Sequence[str], lengths: Sequence[int], quick: bool, ladder: bool = False
    ) -> None:
        """Measure what is not known yet."""
        searched = anatomy.is_pipeline(self.model)
        bare: dict[str, Any] = {"strategies": (), "bm25": False} if searched and not ladder else {}
        given = {"to": self.to, "methods": methods, "seed": self.seed, "quick": quick, **self.how, **bare}
        given["lengths"] = lengths
        known = [*self.known, *self.scores]
        self.scores += evaluate(self.model, sets, known=known, keep=self.keep, **given)

    def values(self, methods: Sequence[str], quick: bool) -> dict[str, dict[Cell, Score]]:
        """Each method's score on each set that all of them were measured on."""
        cells: dict[str, dict[Cell, Score]] = {method: {} for method in methods}
        for one in [*self.known, *self.scores]:
            if (
                one.strategy == "extend"
                and one.plan in cells
                and one.window == self.to
                and one.depth is None
                and one.metric == metric_of(one)
                and one.task.endswith(", quick") == quick
                and one.values
            ):
                cells[one.plan][one.benchmark, one.task, one.length] = one
        shared = set.intersection(*(set(found) for found in cells.values())) if cells else set()
        return {method: {cell: found[cell] for cell in sorted(shared, key=str)} for method, found in cells.items()}

    def means(self, values: dict[str, dict[Cell, Score]]) -> dict[str, float]:
        """Each method's mean over the long sets, best first."""
        told = {method: mean_of(self.long(cells).values()) for method, cells in values.items()}
        return dict(sorted(told.items(), key=lambda pair: -pair[1]))

    def long(self, cells: dict[Cell, Score]) -> dict[Cell, Score]:
        """The sets that are longer than the trained window."""
        return {cell: one for cell, one in cells.items() if cell[2] is None or cell[2] > self.geometry.window}

    def behind(self, values: dict[str, dict[Cell, Score]], method: str, best: str) -> Interval:
        """The difference of a method to the best one on the long sets."""
        ours, theirs = self.long(values[method]), self.long(values[best])
        return macro([np.subtract(ours[cell].values, theirs[cell].values).tolist() for cell in ours])

    def in_reach(self, values: dict[str, dict[Cell, Score]]) -> list[str]:
        """The methods that the best one is not surely ahead of, two at least."""
        order = list(self.means(values))
        return [
            method for place, method in enumerate(order) if place < 2 or self.behind(values, method, order[0]).high >= 0
        ]


def metric_of(one: Score) -> str:
    """The first metric of a benchmark of which more is better."""
    card = card_of(one.benchmark, one.task)
    known = [name for name in card.metrics if name not in card.lower] if card else ["ndcg_at_10"]
    return known[0]


def mean_of(scores: Iterable[Score]) -> float:
    """Mean of the values, each score counted once; 0 of none."""
    found = [one.value for one in scores]
    return sum(found) / len(found) if found else 0.0
