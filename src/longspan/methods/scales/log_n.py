"""Logits that grow with the logarithm of the length, so that attention stays as sharp."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from longspan.errors import PlanError
from longspan.geometry import Geometry

CARD = {
    "title": "Log-length attention scaling",
    "source": "arXiv:2202.12172",
    "year": 2022,
    "authors": "Chiang and Cholak; Su",
    "encodings": ("learned", "rope"),
    "training": "none",
    "cost": "none",
    "native": "",
    "claim": "LongEmbed scores every model with it on (arXiv:2404.12096, released code); no table of its own",
    "best_for": "long inputs to encoders, with any position method",
    "caution": "needs longspan at run time",
    "grid": ("log_n", "log_n(by='position')"),
    "aliases": ("log_length",),
}


@dataclass(frozen=True)
class LogN:
    """Multiply logits by ``max(1, ln n / ln base)`` (Chiang and Cholak 2022; clipped at 1 as in LongEmbed).

    Args:
        by: ``length``: n is the input's real length, the same for all its tokens (LongEmbed, encoders).
            ``position``: n is the query's position + 1 (ReRoPE, SelfExtend), which a KV cache allows.
            None: length for an encoder, position for a decoder.
        base: Length that keeps its logits, tokens; the window when None. Fine-tuning is often shorter than
            the window (128 tokens in all-MiniLM-L6-v2), and then a smaller base helps, at the price of
            changed vectors between the two.
        clip: Never below 1. CLEX's released code does not clip, so that inputs below the base get flatter attention.
    """

    by: Literal["length", "position"] | None = None
    base: int | None = None
    clip: bool = True

    def __post_init__(self) -> None:
        """Refuse a base whose logarithm is not positive."""
        if self.base is not None and self.base < 2:
            raise PlanError(f"log_n(base={self.base}) has no positive logarithm.", "give 2 tokens or more")

    def scale(self, position: Tensor, length: Tensor, geometry: Geometry, target: int) -> Tensor:
        """The factor of each query, 1 up to the base where it is clipped.

        Raises:
            PlanError: ``by="length"`` on a decoder, whose cached tokens could not follow.
        """
        if self.by == "length" and geometry.role == "decoder":
            raise PlanError(
                "log_n(by='length') changes with every generated token, while cached ones keep their factor.",
                "use log_n(by='position') on a decoder",
            )
        by_position = (self.by or ("length" if geometry.role == "encoder" else "position")) == "position"
        tokens, base = position + 1 if by_position else length, self.base or geometry.window
        factor = torch.log(tokens.clamp(min=1).double()) / math.log(base)
        return factor.clamp(min=1) if self.clip else factor
