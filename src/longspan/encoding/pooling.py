"""What stands behind the transformer in a pipeline: pooling, projections, normalisation."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from longspan.encoding import pipeline
from longspan.encoding.encoded import unit
from longspan.encoding.engines.rows import pad
from longspan.encoding.tokens import Row
from longspan.errors import EncodeError, one_line

_CANNOT = (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError)
"""What a module answers that does not fit the one in front of it."""


class Head:
    """The modules of a sentence-transformers model behind its transformer, as ``model.encode`` runs them.

    They are copies in evaluation mode around the model's parameters, in float32. Normalisation at the end stands
    apart: windows are merged before it.

    Args:
        model: A SentenceTransformer.

    Attributes:
        mode: How it pools; several ways joined by " + ".
        width: Numbers of a token state.
        dimension: Numbers of a vector.
        sequence: Class of a module that reads all token states of a row, "" where there is none.
        device: Where the parameters are.
        dtype: Their type.

    Raises:
        EncodeError: A module is not known, does not fit the one in front of it, or nothing pools token states.
    """

    def __init__(self, model: Any) -> None:
        pipeline.check_transformer(model)
        modules = [module for module in list(model)[1:] if not pipeline.is_dropout(module)]
        reaches = [pipeline.reach(module) for module in modules]
        if "pool" not in reaches:
            found = ", ".join(type(module).__name__ for module in modules) or "nothing"
            raise EncodeError(f"Behind the transformer stands {found}, and no Pooling.", "pool token states there")
        self.sequence = next((type(m).__name__ for m, kind in zip(modules, reaches, strict=True) if kind == "row"), "")
        self.normalises = pipeline.normalises(modules[-1])
        while pipeline.normalises(modules[-1]):
            modules.pop()
        self.modules = _evaluated(modules)
        self.place = len(reaches) - 1 - reaches[::-1].index("pool")
        self.pooling = self.modules[self.place]
        modes = self.pooling.pooling_mode
        self.mode = modes if isinstance(modes, str) else " + ".join(modes)
        self.width = int(model[0].get_embedding_dimension())
        parameter = next(model.parameters())
        self.device, self.dtype = parameter.device, str(parameter.dtype).removeprefix("torch.")
        self.dimension = self._try()

    def pool(self, states: Tensor, rows: Sequence[Row]) -> Tensor:
        """The model's own vector of each row.

        Args:
            states: Token states ``[rows, tokens, width]``.
            rows: What was read.

        Returns:
            Vectors ``[rows, dimension]``, before the normalisation at the end.
        """
        if not self.sequence:
            return self._run(self.modules, self._features(states, rows))
        # What stands behind a row's end would flow into it: rows of one length have nothing there.
        order, found = sorted(range(len(rows)), key=lambda row: len(rows[row].ids)), []
        for length, group in groupby(order, key=lambda row: len(rows[row].ids)):
            places = list(group)
            features = self._features(states[places, :length], [rows[place] for place in places])
            found.append(self._run(self.modules, features))
        return torch.cat(found)[torch.tensor(order, device=states.device).argsort()]

    def pool_whole(self, states: Tensor) -> Tensor:
        """Vectors ``[rows, dimension]`` of token states ``[rows, tokens, width]`` of which none is padding."""
        return self.pool(states, [Row([], 0, (0, states.shape[1]))] * len(states))

    def states(self, states: Tensor) -> Tensor:
        """Token states ``[..., width]`` as they reach pooling, for spans of them (``check_spans``)."""
        return self._run(self.modules[: self.place], {"token_embeddings": states}, "token_embeddings")

    def project(self, pooled: Tensor) -> Tensor:
        """Pooled states ``[rows, width]`` through the modules behind pooling."""
        return self._run(self.modules[self.place + 1 :], {"sentence_embedding": pooled})

    def normalise(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors ``[rows, dimension]`` of length 1 where the model ends so."""
        return unit(vectors) if self.normalises else vectors

    def check_spans(self) -> None:
        """Check that token states can be pooled over spans.

        Raises:
            EncodeError: The model pools another way than by mean or last token, or a module in front of pooling
                needs all states of a row.
        """
        if self.mode not in ("mean", "lasttoken"):
            raise EncodeError(
                f"This model pools by {self.mode}, which has no meaning for a chunk within a window.",
                "use chunk_max, or a model that pools by mean or last token",
            )
        if self.sequence:
            raise EncodeError(
                f"{self.sequence} works on a whole row, and its states have no meaning for a chunk within a window.",
                "use chunk_max",
            )
        with torch.inference_mode():
            self.project(self.states(self._zeros())[:, 0])

    def _features(self, states: Tensor, rows: Sequence[Row]) -> dict[str, Any]:
        """What sentence-transformers hands to the first module behind the transformer."""
        place = torch.arange(states.shape[1], device=states.device)
        first, last = torch.tensor([row.pooled for row in rows], device=states.device).T
        mask = ((place >= first[:, None]) & (place < last[:, None])).long()
        features: dict[str, Any] = {"token_embeddings": states, "attention_mask": mask}
        if self.sequence:
            features["input_ids"] = pad([row.ids for row in rows], 0)[0].to(states.device)
        if rows[0].prompt:  # all rows have the same one
            features["prompt_length"] = rows[0].prompt
        return features

    def _run(self, modules: Sequence[Any], features: dict[str, Any], wanted: str = "sentence_embedding") -> Tensor:
        for module in modules:
            features = _through(module, features)
        made: Tensor = features[wanted]
        return made

    def _zeros(self) -> Tensor:
        return torch.zeros(1, 4, self.width, device=self.device)

    def _try(self) -> int:
        """The dimension of a vector, by making one."""
        with torch.inference_mode():
            vector = self.pool(self._zeros(), [Row([0] * 4, 0, (0, 4))])
        if vector.shape[:-1] != (1,):
            raise EncodeError(
                f"The modules behind the transformer make numbers of the shape {[*vector.shape]} of one text.",
                "pool token states into one vector",
            )
        return int(vector.shape[-1])


def _through(module: Any, features: dict[str, Any]) -> dict[str, Any]:
    try:
        made: dict[str, Any] = module(features)
    except _CANNOT as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise EncodeError(
            f"A {type(module).__name__} does not fit the modules in front of it: {one_line(error)}",
            "encode with model.encode, which tells the same, and mend the pipeline",
        ) from error
    return made


def _evaluated(modules: Sequence[Any]) -> list[Any]:
    """Copies in evaluation mode that share parameters of float32; others are copied to it, for states are so."""
    tensors = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    same = all(tensor.dtype == torch.float32 or not tensor.is_floating_point() for tensor in tensors)
    kept = {id(tensor): tensor for tensor in tensors} if same else {}
    return [made.eval() if same else made.eval().float() for made in copy.deepcopy(list(modules), kept)]
