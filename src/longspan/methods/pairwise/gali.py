"""GALI: trained positions are split into fractions from the left, and logits interpolated between whole ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from longspan.errors import PlanError
from longspan.families import Range
from longspan.geometry import Geometry
from longspan.methods.pairwise._checks import check_counts

CARD = {
    "title": "GALI",
    "source": "arXiv:2502.02659",
    "year": 2025,
    "authors": "Li et al.",
    "encodings": ("rope",),
    "training": "none",
    "cost": "one attention call per chunk of queries",
    "native": "",
    "claim": "L-Eval average 59.21 with Llama-3 8B from 4k to 16k (quoted from an index of papers, table not read)",
    "best_for": "rotary decoders without training, where the order of far keys matters",
    "caution": "needs longspan at run time; neighbours before the last tokens of a chunk come closer than 1",
    "grid": ("gali", "gali + log_n(by='position')"),
    "aliases": ("greedy_attention_logit_interpolation",),
}


@dataclass(frozen=True)
class GALI:
    """Every distance out of the trained ones, by interpolated logits (Li et al. 2025, as in the released code).

    For a length ``T`` above the window the first positions are split into ``g = ceil((T - local) / (window - local))``
    steps of ``1 / g``, as few of them as make ``T``; the rest, ``local`` or more, stay whole. A query stands at
    ``P = ceil(p)``, a key at ``r``; with ``f = ceil(r) - r`` the logit is
    ``(1 - f) a(P - ceil(r)) + f a(P - floor(r))``. ``f`` depends on the key alone, so the key turned by interpolated
    cos and sin gives that logit in one product.

    A decoder's queries within the window are plain; those of each later ``chunk`` use the positions made for the
    chunk's end, or the target if that comes first, also while decoding, so that decoding equals the full forward.
    The release ends the last chunk with the input and makes new positions for every decoded token. For an encoder
    ``T`` is the length (ours: nothing is published), and distances are antisymmetric only between whole positions.

    The release's noise on interpolated logits is left out: it is drawn per pair of query and key, so it is not a
    matter of positions, and it would make decoding differ from the full forward.

    Args:
        local: Last positions that stay whole at least, tokens. None: 128, as released, or a quarter of the window
            where that is less.
        chunk: Queries of a decoder that share positions, tokens. None: 3000, as released, or the window where that
            is less.
        adaptive: Leave inputs (of a decoder: queries) within the window as they are.
    """

    local: int | None = None
    chunk: int | None = None
    adaptive: bool = True

    def __post_init__(self) -> None:
        """Refuse counts below 1."""
        check_counts("gali", local=self.local, chunk=self.chunk)

    def positions(self, index: Tensor, total: int, geometry: Geometry) -> Tensor:
        """Where the tokens at ``index`` stand among ``total`` ones: int64 ``[N] -> `` float64 ``[N]``.

        Raises:
            PlanError: ``local`` is not below the window.
        """
        window = geometry.window
        local = self.local or max(min(128, window // 4), 1)
        if local >= window:
            raise PlanError(
                f"gali(local={local}) leaves nothing of the window of {window} to split.", f"give less than {window}"
            )
        if total <= window:
            return index.double()
        steps = -(-(total - local) // (window - local))
        split = -(-(total - window) // (steps - 1))
        whole = total - window + split  # the first token at a whole position again: ``split``
        return torch.where(index < whole, index.double() / steps, (index - whole + split).double())

    def ranges(self, query: Tensor, key: Tensor, length: int, geometry: Geometry, target: int) -> list[Range]:
        """One range for each chunk the queries stand in; one for an encoder."""
        window = geometry.window
        if geometry.role == "encoder":
            ends = torch.full_like(query, length)
            lasts = ends
        else:
            chunk = self.chunk or min(3000, window)
            chunks = ((query - window) // chunk + 1).clamp(min=0)
            ends = (window + chunks * chunk).clamp(max=max(target, window))
            lasts = query + 1
        start = torch.zeros_like(query)
        return [
            Range(
                self.positions(query, end, geometry).ceil(),
                self.positions(key, end, geometry),
                start,
                torch.where(ends == end, lasts, start),
                lookup="linear",
            )
            for end in sorted(set(ends.tolist()))
        ]
