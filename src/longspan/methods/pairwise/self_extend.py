"""SelfExtend: near keys at their true distance, far keys by groups."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from longspan.errors import PlanError
from longspan.families import Range
from longspan.geometry import Geometry
from longspan.methods.pairwise._band import banded
from longspan.methods.pairwise._checks import check_counts

CARD = {
    "title": "SelfExtend",
    "source": "arXiv:2401.01325",
    "year": 2024,
    "authors": "Jin et al.",
    "encodings": ("rope",),
    "training": "none",
    "cost": "about one attention call",
    "native": "",
    "claim": "E5-RoPE rises from 40.5 to 60.8 on LongEmbed at 4k (arXiv:2404.12096, Table 3)",
    "best_for": "rotary encoders without training, up to about eight times their window",
    "caution": "needs longspan at run time; reaches group * (window - near) + near tokens and no further",
    "grid": ("self_extend", "self_extend + log_n"),
    "aliases": ("se",),
}


@dataclass(frozen=True)
class SelfExtend:
    """True distances up to ``near``, floored ones beyond (Jin et al. 2024; both ways as in LongEmbed).

    ``d`` where ``|d| < near``, else ``floor(q / group) - floor(k / group) + sign(d) (near - floor(near / group))``.
    ``near / group`` is floored, as most of the released files do: where group does not divide near, some pairs at
    the border stand one farther apart than they are.

    Args:
        group: Neighbouring positions that become one (the paper's G). None: what reaches the target.
        near: Distance from which on positions are grouped, tokens (the paper's W, the neighbour window). None: for an
            encoder window / factor, with group = factor + 1 (LongEmbed: 256, 128, 64 of 512); for a decoder a
            quarter of the window, with the smallest group that keeps distances within two thirds of it
            (the authors' rule).
        adaptive: Leave inputs (of a decoder: queries) within the window as they are.
    """

    group: int | None = None
    near: int | None = None
    adaptive: bool = True

    def __post_init__(self) -> None:
        """Refuse counts below 1."""
        check_counts("self_extend", group=self.group, near=self.near)

    def sizes(self, geometry: Geometry, target: int) -> tuple[int, int]:
        """Group and near for a model and a target [tokens].

        Raises:
            PlanError: ``near`` is not below the window.
        """
        window, factor = geometry.window, target / geometry.window
        encoder = geometry.role == "encoder"
        near = self.near or max(min(int(window / factor), window - 1) if encoder else window // 4, 1)
        if near >= window:
            raise PlanError(
                f"self_extend(near={near}) leaves nothing of the window of {window} for groups.",
                f"give less than {window}",
            )
        within = window if encoder else max(2 * window // 3, near + 1)
        return self.group or max(math.ceil((target - near) / (within - near)), 1), near

    def reach(self, geometry: Geometry, target: int) -> int:
        """``group (window - near) + near``, tokens."""
        group, near = self.sizes(geometry, target)
        return group * (geometry.window - near) + near

    def ranges(self, query: Tensor, key: Tensor, length: int, geometry: Geometry, target: int) -> list[Range]:
        """The band around the query; what stands before it; for an encoder, what stands behind it."""
        group, near = self.sizes(geometry, target)
        far = (query // group).double(), (key // group).double()
        return banded(query, key, length, near, far, near - near // group, causal=geometry.role == "decoder")
