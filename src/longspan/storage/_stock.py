"""Run by ``verify`` in a process of its own: encode token ids with stock tools only.

Usage: python _stock.py FOLDER IDS_JSON ANSWER_JSON
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel


def main(folder: str, given: str, answer: str) -> None:
    """Write ``{tool: {length: vector}}`` for ``{length: ids}``."""
    ids: dict[str, list[int]] = json.loads(Path(given).read_text())
    inputs = {length: _features(row) for length, row in ids.items()}
    found: dict[str, dict[str, list[float]]] = {}
    with torch.inference_mode():
        model = AutoModel.from_pretrained(folder, trust_remote_code=False).eval()
        found["transformers"] = {n: model(**x).last_hidden_state[0].mean(0).tolist() for n, x in inputs.items()}
        if (Path(folder) / "modules.json").exists():
            from sentence_transformers import SentenceTransformer

            pipeline = SentenceTransformer(folder, device="cpu").eval()
            found["sentence-transformers"] = {
                n: pipeline(dict(x))["sentence_embedding"][0].tolist() for n, x in inputs.items()
            }
    if "longspan" in sys.modules:
        raise SystemExit("longspan was imported, so this was no stock process")
    Path(answer).write_text(json.dumps(found))


def _features(row: list[int]) -> dict[str, Any]:
    tokens = torch.tensor([row])
    return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}


if __name__ == "__main__":
    main(*sys.argv[1:])
