"""The matrix of distances that attention reads, and its picture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from longspan.errors import PlanError

if TYPE_CHECKING:
    from longspan.planning import Plan

LIMIT = 4096
"""Largest input whose matrix of distances is drawn, tokens."""

_MAP = "viridis"  # ordered by lightness, so that print without colour keeps the order
_TRAINED = "#d1361f"


def distance(made: Plan) -> dict[str, Tensor]:
    """``distance`` float64 ``[T, T]`` with nan where nothing is seen, and the ``range`` of each pair, -1 for none."""
    total = made.length
    if total > LIMIT:
        raise PlanError(
            f"A picture of {total} x {total} pairs is too large to see anything.",
            f"draw at most {LIMIT} tokens: a smaller window with the same factor shows the same shape",
        )
    tokens = torch.arange(total)
    apart = torch.full((total, total), math.nan, dtype=torch.float64)
    owner = torch.full((total, total), -1)
    for index, each in enumerate(made.ranges(tokens, tokens, total)):
        seen = (tokens >= each.first[:, None]) & (tokens < each.last[:, None])
        apart = torch.where(seen, each.query[:, None] - each.key, apart)
        owner = owner.masked_fill(seen, index)
    return {"distance": apart, "range": owner}


def heat(axes: Any, computed: dict[str, Tensor], made: Plan) -> str:
    """The distances as colours, with the borders between ranges and the trained limit."""
    window, total = made.geometry.window, made.length
    apart = computed["distance"].abs()
    furthest = float(apart.nan_to_num(0).max())
    image = axes.imshow(apart.numpy(), cmap=_MAP, vmin=0, vmax=max(window, furthest), interpolation="none")
    for across, down in borders(computed["range"]):
        axes.plot(across, down, color="white", linewidth=1.6, solid_capstyle="butt")
        axes.plot(across, down, color="black", linewidth=0.6, solid_capstyle="butt")
    trained = {"color": _TRAINED, "linestyle": (0, (4, 3)), "linewidth": 1.2}
    if total > window:
        axes.plot((-0.5, total - window - 0.5), (window - 0.5, total - 0.5), **trained)
        if made.geometry.role == "encoder":
            axes.plot((window - 0.5, total - 0.5), (-0.5, total - window - 0.5), **trained)
    ticks = [*range(0, total, 2 ** max(round(math.log2(total / 5)), 0))]
    axes.set(xlim=(-0.5, total - 0.5), ylim=(total - 0.5, -0.5), xticks=ticks, yticks=ticks)
    axes.set(xlabel=f"key; dashed: {window} tokens away, the trained limit", ylabel="query")
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
    bar.set_label("distance that attention reads (tokens)")
    bar.set_ticks([part * max(window, furthest) / 4 for part in range(5)])
    bar.ax.axhline(furthest, color="white", linewidth=1.6)
    bar.ax.axhline(furthest, color="black", linewidth=0.6)
    beyond = float(apart[window:].nan_to_num(0).max()) if total > window else furthest
    return f"largest distance {furthest:g}" + (f"; {beyond:g} beyond the window" if beyond < furthest else "")


def borders(owner: Tensor) -> Iterator[tuple[list[float], list[float]]]:
    """Lines between ranges: slanting ones cell by cell, level ones in whole runs."""
    total = len(owner)
    for down in range(1, total):
        above, below = owner[down - 1], owner[down]
        changed = ((above != below) & (above >= 0) & (below >= 0)).int()
        edges = torch.diff(changed, prepend=changed.new_zeros(1), append=changed.new_zeros(1)).nonzero().flatten()
        for start, end in edges.reshape(-1, 2).tolist():
            if end - start > 1:  # a single cell belongs to a slanting border
                yield [start - 0.5, end - 0.5], [down - 0.5] * 2
    marks: dict[tuple[int, int], list[tuple[int, int]]] = {}
    between = (owner[:, 1:] != owner[:, :-1]) & (owner[:, 1:] >= 0) & (owner[:, :-1] >= 0)
    for down, left in between.nonzero().tolist():
        pair = (int(owner[down, left]), int(owner[down, left + 1]))
        marks.setdefault(pair, []).append((down, left))
    for points in marks.values():
        run: list[tuple[int, int]] = []
        for down, left in [*points, (2 * total, 0)]:
            if run and not (down == run[-1][0] + 1 and abs(left - run[-1][1]) <= 1):
                # From the upper edge of its first cell to the lower edge of its last.
                slope = (run[-1][1] - run[0][1]) / max(run[-1][0] - run[0][0], 1)
                ends = (run[0][1] + 0.5 - slope / 2, run[-1][1] + 0.5 + slope / 2)
                yield [*ends], [run[0][0] - 0.5, run[-1][0] + 0.5]
                run = []
            run.append((down, left))
