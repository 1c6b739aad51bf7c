"""Leaky ReRoPE: near keys at their true distance, far keys at an interpolated one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from longspan.errors import PlanError
from longspan.families import Range
from longspan.geometry import Geometry
from longspan.methods.pairwise._band import banded
from longspan.methods.pairwise._checks import check_counts, near_border

CARD = {
    "title": "Leaky ReRoPE",
    "source": "arXiv:2410.15859",
    "year": 2024,
    "authors": "Su (2023, software); compared by Ma et al.",
    "encodings": ("rope",),
    "training": "none",
    "cost": "about one attention call",
    "native": "",
    "claim": "released beside ReRoPE with w = 512 and k = 16 for a window of 4096; its README has no figure of its own",
    "best_for": "rotary models without training, where far keys should keep their order",
    "caution": "needs longspan at run time; reaches near + leak * (window - near) tokens and no further",
    "grid": ("leaky_rerope", "leaky_rerope + log_n(by='position')"),
    "aliases": (),
}


@dataclass(frozen=True)
class LeakyReRoPE:
    """True distances up to ``near``, steps of ``1 / leak`` beyond (Su 2023, leaky rectified rotary embeddings).

    ``d`` where ``d < near``, else ``near + (d - near) / leak``; for an encoder the same with ``|d|`` and the sign
    of ``d``, which is ours: the release is causal. The release also scales queries by the logarithm of their
    position: add ``log_n(by='position')`` for that.

    Args:
        near: Distance from which on positions are interpolated, tokens (the release's w). None: an eighth of the
            window, as released (512 of 4096).
        leak: Tokens per step of distance beyond ``near``, unitless (the release's k).
        adaptive: Leave inputs (of a decoder: queries) within the window as they are.
    """

    near: int | None = None
    leak: float = 16.0
    adaptive: bool = True

    def __post_init__(self) -> None:
        """Refuse counts below 1 and a leak that would stretch distances."""
        check_counts("leaky_rerope", near=self.near)
        if not 1 <= self.leak < math.inf:
            raise PlanError(f"leaky_rerope(leak={self.leak}) is not 1 or above.", "give 16, or less for short targets")

    def reach(self, geometry: Geometry, target: int) -> int:
        """``near + leak (window - near)``, tokens."""
        near = near_border("leaky_rerope", self.near, geometry.window)
        return int(near + self.leak * (geometry.window - near))

    def ranges(self, query: Tensor, key: Tensor, length: int, geometry: Geometry, target: int) -> list[Range]:
        """The band around the query; what stands before it; for an encoder, what stands behind it.

        Raises:
            PlanError: ``near`` is not below the window.
        """
        near = near_border("leaky_rerope", self.near, geometry.window)
        # The release divides the frequencies by leak; dividing both positions is the same.
        far = query.double() / self.leak, key.double() / self.leak
        return banded(query, key, length, near, far, near - near / self.leak, causal=geometry.role == "decoder")
