"""Run by ``verify`` in a process of its own: read token ids with stock tools only.

Usage: python _stock.py FOLDER KIND IDS_JSON ANSWER_JSON, where KIND is CausalLM, a class of sentence-transformers,
or "" for a bare encoder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoModelForCausalLM


def main(folder: str, kind: str, given: str, answer: str) -> None:
    """Write ``{tool: {length: vector}}`` for ``{length: ids}``."""
    ids: dict[str, list[int]] = json.loads(Path(given).read_text())
    inputs = {length: _features(row) for length, row in ids.items()}
    found: dict[str, dict[str, list[float]]] = {}
    with torch.inference_mode():
        auto = AutoModelForCausalLM if kind == "CausalLM" else AutoModel
        model = auto.from_pretrained(folder, dtype="float32", trust_remote_code=False).eval()
        states = {n: model.base_model(**x).last_hidden_state[0] for n, x in inputs.items()}
        found["transformers"] = {n: state.mean(0).tolist() for n, state in states.items()}
        if kind == "CausalLM":
            head = model.get_output_embeddings()
            found["language model head"] = {n: head(state[-1]).tolist() for n, state in states.items()}
        elif kind:
            import sentence_transformers

            pipeline = getattr(sentence_transformers, kind)(
                folder, device="cpu", trust_remote_code=False, model_kwargs={"dtype": "float32"}
            )
            found["sentence-transformers"] = {n: _pooled(pipeline.eval()(dict(x))) for n, x in inputs.items()}
    if "longspan" in sys.modules:
        raise SystemExit("longspan was imported, so this was no stock process")
    Path(answer).write_text(json.dumps(found))


def _features(row: list[int]) -> dict[str, Any]:
    tokens = torch.tensor([row])
    return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}


def _pooled(features: dict[str, Any]) -> list[float]:
    vector = features["scores" if "scores" in features else "sentence_embedding"]
    return list(vector.flatten().tolist())


if __name__ == "__main__":
    main(*sys.argv[1:])
