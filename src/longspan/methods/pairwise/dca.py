"""Dual Chunk Attention: positions start again in every chunk of the input."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from longspan.errors import PlanError
from longspan.families import Range
from longspan.geometry import Geometry
from longspan.methods.pairwise._checks import check_counts

CARD = {
    "title": "Dual Chunk Attention",
    "source": "arXiv:2402.17463",
    "year": 2024,
    "authors": "An et al.",
    "encodings": ("rope",),
    "training": "none",
    "cost": "about one attention call",
    "native": "",
    "claim": "Llama-2 7B, untrained, has perplexity 7.87, 7.67, 7.64, 7.89 on PG19 at 4k, 8k, 16k, 32k (Table 1)",
    "best_for": "rotary decoders without training, at any length; it composes with a frequency method",
    "caution": "needs longspan at run time; the order of older chunks is lost",
    "grid": ("dca", "dca + log_n"),
    "aliases": ("dual_chunk_attention", "chunkllama"),
}


@dataclass(frozen=True)
class DCA:
    """Positions modulo the chunk's length; a later query is moved on, up to a cap (An et al. 2024).

    With ``s = chunk - local`` keys stand at ``k mod s`` and queries, for keys of the

    * same chunk, at ``q mod s``;
    * chunk before, at ``min(q mod s + s, chunk)``, so distances up to ``local + 1`` are true across the border;
    * older chunks, at ``min(2 s - 1, chunk)``.

    This is the released code; the paper writes ``chunk - 1`` for both caps, and its chunk size is our ``s``. The
    release's temperature is left out: the paper does not use it. For an encoder (ours: nothing is published) a
    later key takes the query's place and the distance changes sign: ``distance(q, k) = -distance(k, q)``.

    Args:
        chunk: The largest distance, tokens (the release's and vLLM's chunk_size). None: three quarters of the
            window, as released.
        local: Tokens by which a chunk is shorter than that (local_window; vLLM's local_size). None: a sixth
            of ``chunk``, which is an eighth of the window as released.
        adaptive: Leave inputs (of a decoder: queries) within the window as they are.
    """

    chunk: int | None = None
    local: int | None = None
    adaptive: bool = True

    def __post_init__(self) -> None:
        """Refuse counts below 1."""
        check_counts("dca", chunk=self.chunk, local=self.local)

    def sizes(self, geometry: Geometry) -> tuple[int, int]:
        """The cap and the length of a chunk (chunk_len) for a model [tokens].

        Raises:
            PlanError: The cap is above the window, or ``local`` leaves nothing of it.
        """
        chunk = self.chunk or 3 * geometry.window // 4
        local = self.local or max(chunk // 6, 1)
        if not local < chunk <= geometry.window:
            raise PlanError(
                f"dca(chunk={chunk}, local={local}) does not fit a window of {geometry.window}.",
                f"give local below chunk, and chunk up to {geometry.window}",
            )
        return chunk, chunk - local

    def ranges(self, query: Tensor, key: Tensor, length: int, geometry: Geometry, target: int) -> list[Range]:
        """The query's own chunk, the one before, older ones; for an encoder, the next one and later ones."""
        chunk, size = self.sizes(geometry)
        rows, columns, begin = (query % size).double(), (key % size).double(), query // size * size
        start, end, previous = torch.zeros_like(query), torch.full_like(query, length), (begin - size).clamp(min=0)
        cap = float(min(2 * size - 1, chunk))
        before = [
            Range((rows + size).clamp(max=chunk), columns, previous, begin),
            Range(torch.full_like(rows, cap), columns, start, previous),
        ]
        if geometry.role == "decoder":
            return [Range(rows, columns, begin, query + 1), *before]
        after, later = torch.minimum(begin + size, end), torch.minimum(begin + 2 * size, end)
        behind = [
            Range(rows, (columns + size).clamp(max=chunk), after, later),
            Range(rows, torch.full_like(columns, cap), later, end),
        ]
        return [Range(rows, columns, begin, after), *before, *behind]
