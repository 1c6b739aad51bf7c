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
    "aliases": ("logn",),
}


@dataclass(frozen=True)
class LogN:
    """Multiply logits by ``max(1, ln n / ln window)`` (Chiang and Cholak 2022; clipped at 1 as in LongEmbed).

    Args:
        by: ``length``: n is the input's real length, the same for all its tokens (LongEmbed, encoders).
            ``position``: n is the query's position + 1 (ReRoPE, SelfExtend), which a KV cache allows.
            None: length for an encoder, position for a decoder.
    """

    by: Literal["length", "position"] | None = None

    def scale(self, position: Tensor, length: Tensor, geometry: Geometry, target: int) -> Tensor:
        """The factor of each query, 1 inside the window.

        Raises:
            PlanError: ``by="length"`` on a decoder, whose cached tokens could not follow.
        """
        if self.by == "length" and geometry.role == "decoder":
            raise PlanError(
                "log_n(by='length') changes with every generated token, while cached ones keep their factor.",
                "use log_n(by='position') on a decoder",
            )
        by_position = (self.by or ("length" if geometry.role == "encoder" else "position")) == "position"
        tokens = position + 1 if by_position else length
        return (torch.log(tokens.clamp(min=1).double()) / math.log(geometry.window)).clamp(min=1)
