"""verify: reload a checkpoint in a clean process with stock tools and compare vectors with what they should be."""

from __future__ import annotations

import json
import os
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

from longspan.errors import StorageError
from longspan.jsons import parse
from longspan.planning import Plan
from longspan.seams import anatomy
from longspan.sources import CAUSAL, PIPELINES
from longspan.storage.load import ORIGINAL, load, stored_plan
from longspan.storage.reference import find
from longspan.texts import listed
from longspan.tokenizer import around

_STOCK = Path(__file__).with_name("_stock.py")
_TOLERANCE = 1e-5
_NEAR = 2048
# Tokens up to which the window itself is compared too, and not only one token more than it.


@dataclass(frozen=True)
class Check:
    """One comparison of a stock tool with the extended model.

    Attributes:
        tool: transformers (mean state of the tokens), language model head (logits of the last token), or
            sentence-transformers (what the pipeline gives).
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
        unproven: What the comparison cannot show, and why; "" where it shows all.
    """

    folder: str
    reference: str
    checks: tuple[Check, ...]
    unproven: str = ""

    @property
    def passed(self) -> bool:
        """Whether every promise holds."""
        return all(check.passed for check in self.checks)


def verify(folder: str | Path, lengths: Sequence[int] = (), *, original: Any = None) -> Verification:
    """Compare a saved checkpoint, read by stock tools in a clean process, with the extended model, in float32.

    The reference is the original extended anew by the stored plan, so that an error made while saving is seen. It is
    taken where it is given, or where the model that the checkpoint names is on this machine, and where its digest is
    the one taken at the extension. Otherwise the reference is the checkpoint itself, read by longspan.

    Args:
        folder: A checkpoint written by ``save``.
        lengths: Tokens to compare at; by default 16, around the trained window (1024 and one more than the window
            where that is above 2048), and the target.
        original: The model that was extended: its folder or hub id, or the model itself, which is left as it is.

    Raises:
        StorageError: It is not an extended checkpoint, stock tools cannot load it, or the given original is another
            model than the one that was extended.
    """
    config = Path(folder) / "config.json"
    try:
        stored = dict(parse(config.read_bytes(), finite=False)).get("longspan")
    except (OSError, ValueError, TypeError) as error:
        raise StorageError(f"{config} cannot be read: {error}.", "give a folder written by longspan") from error
    if not stored:
        raise StorageError(f"{folder} holds no plan, so it was not extended.", "write it with longspan extend --out")
    made = stored_plan(stored)
    lengths = listed(lengths, "lengths", StorageError)
    if wrong := [n for n in lengths if not 0 < n <= made.length]:
        raise StorageError(f"The checkpoint reads 1 to {made.length} tokens, not {wrong[0]}.", "give other lengths")
    loaded = load(folder, dtype="float32")
    ids = {n: _tokens(loaded, n) for n in lengths or _lengths(made)}
    kind = _kind(loaded, Path(folder))
    reference = find(loaded, made, stored.get(ORIGINAL), original)
    checks = []
    for tool, vectors in _stock_vectors(Path(folder), kind, ids).items():
        for tokens, vector in vectors.items():
            wanted = _vector(reference.model, ids[tokens], tool)
            checks.append(_compare(tool, tokens, np.asarray(vector), wanted, made.same_in_stock(tokens)))
    return Verification(str(folder), reference.told, tuple(checks), reference.unproven)


def _lengths(made: Plan) -> list[int]:
    window = made.geometry.window
    near = (window - 1, window) if window <= _NEAR else (_NEAR // 2,)
    return sorted({n for n in (16, *near, window + 1, made.length) if 0 < n <= made.length})


def _kind(model: Any, folder: Path) -> str:
    """What stock tools make of the folder, "" for a bare encoder."""
    if not anatomy.is_pipeline(model):
        return CAUSAL
    kind = anatomy.pipeline_class(model)
    return kind if kind != PIPELINES[0] or (folder / "modules.json").exists() else ""


def _compare(tool: str, tokens: int, got: np.ndarray, wanted: np.ndarray, expected: bool) -> Check:
    got, wanted = got.astype(np.float64), wanted.astype(np.float64)
    cosine = float(got @ wanted / (np.linalg.norm(got) * np.linalg.norm(wanted)))
    difference = float(np.abs(got - wanted).max() / np.abs(wanted).max())
    return Check(tool, tokens, difference, cosine, expected)


def _tokens(model: Any, count: int) -> list[int]:
    """Random word ids between the model's special tokens."""
    vocabulary = anatomy.text_config(anatomy.transformer(model)).vocab_size
    draw = random.Random(count)  # noqa: S311 - not a secret
    words = [draw.randrange(vocabulary // 10, vocabulary) for _ in range(count)]
    if anatomy.is_pipeline(model) and count > 2:
        before, after = around(model.tokenizer)
        words = [*before[:1], *words[len(before[:1]) : count - len(after[-1:])], *after[-1:]]
    return words


def _vector(model: Any, ids: list[int], tool: str) -> np.ndarray:
    tokens = torch.tensor([ids], device=next(model.parameters()).device)
    features = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    with torch.inference_mode():
        if tool == "sentence-transformers":
            made = model(features)
            vector = made["scores" if "scores" in made else "sentence_embedding"].flatten()
        else:
            inner = anatomy.transformer(model)
            states = inner.base_model(**features).last_hidden_state[0]
            vector = states.mean(0) if tool == "transformers" else inner.get_output_embeddings()(states[-1])
    return np.asarray(vector.float().cpu().numpy())


def _stock_vectors(folder: Path, kind: str, ids: dict[int, list[int]]) -> dict[str, dict[int, list[float]]]:
    with tempfile.TemporaryDirectory() as scratch:
        given, answer = Path(scratch) / "ids.json", Path(scratch) / "vectors.json"
        given.write_text(json.dumps(ids))
        run = subprocess.run(
            [sys.executable, str(_STOCK), str(folder), kind, str(given), str(answer)],
            capture_output=True,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
        if run.returncode:
            last = (run.stderr.strip().splitlines() or ["no message"])[-1]
            raise StorageError(f"Stock tools cannot load {folder}: {last}", "extend the original again")
        found: dict[str, dict[str, list[float]]] = json.loads(answer.read_text())
    return {tool: {int(n): vector for n, vector in vectors.items()} for tool, vectors in found.items()}
