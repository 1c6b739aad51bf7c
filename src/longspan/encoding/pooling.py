"""What stands behind the transformer in a pipeline: pooling, projections, normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from longspan.encoding.encoded import unit
from longspan.encoding.tokens import Row
from longspan.errors import EncodeError


class Head:
    """The modules of a sentence-transformers model behind its transformer.

    Normalisation stands apart: windows are merged before it.

    Args:
        model: A SentenceTransformer.

    Raises:
        EncodeError: The module behind the transformer does not pool token states.
    """

    def __init__(self, model: Any) -> None:
        from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

        modules = list(model)[1:]
        if not modules or not isinstance(modules[0], Pooling):
            found = type(modules[0]).__name__ if modules else "nothing"
            raise EncodeError(f"Behind the transformer stands {found}, not Pooling.", "pool token states there")
        self.normalises = isinstance(modules[-1], Normalize)
        self.pooling = modules[0]
        self.rest = [module for module in modules[1:] if not isinstance(module, Normalize)]
        self.mode = str(self.pooling.pooling_mode)
        self.width = int(self.pooling.embedding_dimension)
        parameter = next(model.parameters())
        self.device, self.dtype = parameter.device, str(parameter.dtype).removeprefix("torch.")

    def pool(self, states: Tensor, rows: Sequence[Row]) -> Tensor:
        """The model's own pooling of each row.

        Args:
            states: Token states ``[rows, tokens, width]``.
            rows: What was read.

        Returns:
            Vectors ``[rows, dimension]``, not normalised.
        """
        place = torch.arange(states.shape[1], device=states.device)
        first, last = torch.tensor([row.pooled for row in rows], device=states.device).T
        mask = ((place >= first[:, None]) & (place < last[:, None])).long()
        # The first module only: a pooled mask must not reach another one as the mask of what was read.
        pooled = self.pooling({"token_embeddings": states, "attention_mask": mask})["sentence_embedding"]
        return self.project(pooled)

    def pool_whole(self, states: Tensor) -> Tensor:
        """Vectors ``[rows, dimension]`` of token states ``[rows, tokens, width]`` of which none is padding."""
        return self.pool(states, [Row([], 0, (0, states.shape[1]))] * len(states))

    def project(self, pooled: Tensor) -> Tensor:
        """Pooled states ``[rows, width]`` through the projections behind pooling."""
        features = {"sentence_embedding": pooled}
        for module in self.rest:
            features = module(features)
        return features["sentence_embedding"]

    def normalise(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors ``[rows, dimension]`` of length 1 where the model ends so."""
        return unit(vectors) if self.normalises else vectors

    def check_spans(self) -> None:
        """Check that token states can be pooled over spans.

        Raises:
            EncodeError: The model pools another way than by mean or last token.
        """
        if self.mode not in ("mean", "lasttoken"):
            raise EncodeError(
                f"This model pools by {self.mode}, which has no meaning for a chunk within a window.",
                "use chunk_max, or a model that pools by mean or last token",
            )
