"""verify: reload a checkpoint in a clean process with stock tools and compare vectors."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from longspan.errors import LongspanError, StorageError
from longspan.extension import extend
from longspan.planning import Plan
from longspan.seams import anatomy
from longspan.storage.load import load, stored_plan
from longspan.tokenizer import around

_STOCK = Path(__file__).with_name("_stock.py")
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Check:
    """One comparison of a stock tool with the extended model.

    Attributes:
        tool: transformers or sentence-transformers.
        tokens: Length of the input, special tokens included.
        difference: Largest difference of a vector's channel, relative to its largest channel.
        cosine: Cosine between the two vectors.
        expected: Whether the plan promises equality at this length in stock tools.
    """

    tool: str
    tokens: int
    difference: float
    cosine: float
    expected: bool

    @property
    def passed(self) -> bool:
        """Equal where promised; anything goes elsewhere."""
        return not self.expected or self.difference < _TOLERANCE


@dataclass(frozen=True)
class Verification:
    """What ``verify`` found.

    Attributes:
        folder: The checkpoint.
        reference: What it was compared with: the original extended anew, or the checkpoint in longspan.
        checks: One per tool and length.
    """

    folder: str
    reference: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every promise holds."""
        return all(check.passed for check in self.checks)


def verify(folder: str | Path, lengths: Sequence[int] = ()) -> Verification:
    """Compare a saved checkpoint, read by stock tools in a clean process, with the extended model.

    The reference is the original model extended anew by the stored plan, so that an error made while
    saving is seen; where the original is out of reach it is the checkpoint itself, read by longspan.

    Args:
        folder: A checkpoint written by ``save``.
        lengths: Tokens to compare at; by default 16, around the trained window, and the target.

    Raises:
        StorageError: It is not an extended checkpoint, or stock tools cannot load it.
    """
    config = Path(folder) / "config.json"
    try:
        stored = json.loads(config.read_text(encoding="utf-8")).get("longspan")
    except (OSError, ValueError) as error:
        raise StorageError(f"{config} cannot be read: {error}.", "give a folder written by longspan") from error
    if not stored:
        raise StorageError(f"{folder} holds no plan, so it was not extended.", "write it with longspan extend --out")
    made = stored_plan(stored)
    window = made.geometry.window
    lengths = lengths or sorted({n for n in (16, window - 1, window, window + 1, made.length) if 0 < n <= made.length})
    loaded = load(folder)
    ids = {n: _tokens(loaded, n) for n in lengths}
    found = _stock_vectors(Path(folder), ids)
    reference, model = _reference(loaded, made)
    checks = []
    for tool, vectors in found.items():
        for tokens, vector in vectors.items():
            wanted = _vector(model, ids[tokens], pooled=tool == "sentence-transformers")
            checks.append(_compare(tool, tokens, np.asarray(vector), wanted, made.same_in_stock(tokens)))
    return Verification(str(folder), reference, tuple(checks))


def _compare(tool: str, tokens: int, got: np.ndarray, wanted: np.ndarray, expected: bool) -> Check:
    got, wanted = got.astype(np.float64), wanted.astype(np.float64)
    cosine = float(got @ wanted / (np.linalg.norm(got) * np.linalg.norm(wanted)))
    difference = float(np.abs(got - wanted).max() / np.abs(wanted).max())
    return Check(tool, tokens, difference, cosine, expected)


def _reference(loaded: Any, made: Plan) -> tuple[str, Any]:
    try:
        return "the original, extended anew", extend(load(made.geometry.source), method=made)
    except LongspanError:
        return "the checkpoint, read by longspan", loaded


def _tokens(model: Any, count: int) -> list[int]:
    """Random word ids between the model's special tokens."""
    vocabulary = anatomy.text_config(anatomy.transformer(model)).vocab_size
    draw = random.Random(count)  # noqa: S311 - not a secret
    words = [draw.randrange(vocabulary // 10, vocabulary) for _ in range(count)]
    if anatomy.is_pipeline(model) and count > 2:
        before, after = around(model.tokenizer)
        words = [*before[:1], *words[len(before[:1]) : count - len(after[-1:])], *after[-1:]]
    return words


def _vector(model: Any, ids: list[int], *, pooled: bool) -> np.ndarray:
    tokens = torch.tensor([ids], device=next(model.parameters()).device)
    features = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    with torch.inference_mode():
        if pooled:
            vector = model(features)["sentence_embedding"][0]
        else:
            vector = anatomy.transformer(model).base_model(**features).last_hidden_state[0].mean(0)
    return np.asarray(vector.float().cpu().numpy())


def _stock_vectors(folder: Path, ids: dict[int, list[int]]) -> dict[str, dict[int, list[float]]]:
    with tempfile.TemporaryDirectory() as scratch:
        given, answer = Path(scratch) / "ids.json", Path(scratch) / "vectors.json"
        given.write_text(json.dumps(ids))
        run = subprocess.run(
            [sys.executable, str(_STOCK), str(folder), str(given), str(answer)], capture_output=True, text=True
        )
        if run.returncode:
            last = (run.stderr.strip().splitlines() or ["no message"])[-1]
            raise StorageError(f"Stock tools cannot load {folder}: {last}", "extend the original again")
        found: dict[str, dict[str, list[float]]] = json.loads(answer.read_text())
    return {tool: {int(n): vector for n, vector in vectors.items()} for tool, vectors in found.items()}
