"""One vector of the chunk vectors of a long document: which rule is the best target for a distillation at length.

Usage: python benchmarks/targets.py [--folder FOLDER in LongEmbed's layout] [--tokens 4096]

Every document's first `--tokens` tokens are read by all-MiniLM-L6-v2 in chunks; printed is nDCG@10 of one vector a
document under each rule, with the paired difference to the mean of 256-token chunks and its standard error. Passkeys
and needles have 2,048 tokens. What texts at large look like (`mu`) is taken from the chunks of the other sets.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import longspan
from longspan.benchmarks.metrics import score_ranking
from longspan.benchmarks.retrieval.fairytaleqa import FairytaleQA
from longspan.benchmarks.retrieval.folder import from_folder
from longspan.benchmarks.retrieval.needle import Needle
from longspan.benchmarks.retrieval.passkey import Passkey
from longspan.training.targets import balanced_mean

Chunks = dict[int, torch.Tensor]
"""Unit vectors of a document's chunks, by their tokens."""
RIDGES = (1.0, 3.0, 5.0, 10.0)


def mean(chunks: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(chunks.mean(0), dim=0)


def rules(centre: torch.Tensor) -> dict[str, Callable[[Chunks], torch.Tensor]]:
    made = {f"mean, {size}": lambda chunks, size=size: mean(chunks[size], centre) for size in (256, 128)}
    for ridge in RIDGES:
        made[f"balanced, ridge {ridge:g}, 256"] = lambda chunks, ridge=ridge: balanced_mean(chunks[256], centre, ridge)
        made[f"balanced, ridge {ridge:g}, both"] = lambda chunks, ridge=ridge: sum(
            balanced_mean(part, centre, ridge) for part in chunks.values()
        )
    return made


def read(model: Any, texts: list[str], tokens: int) -> list[Chunks]:
    found: list[Chunks] = [{} for _ in texts]
    for size in (256, 128):
        made = longspan.encode(model, texts, f"chunk_max(window={size})")
        for place, chunks in enumerate(found):
            vectors = torch.from_numpy(made.vectors[made.owner == place])[: max(1, tokens // size)]
            chunks[size] = torch.nn.functional.normalize(vectors, dim=-1)
    return found


def main(folder: str, tokens: int) -> None:
    model = longspan.load("sentence-transformers/all-MiniLM-L6-v2")
    sets = [FairytaleQA().examples(None, 0), Passkey().examples(2048, 0), Needle().examples(2048, 0)]
    if folder:
        sets.append(from_folder("longembed", folder))
    print(f"{'':28}" + "".join(f"{one.name:>24}" for one in sets))
    documents = [read(model, list(one.documents.values()), tokens) for one in sets]
    queries = [torch.from_numpy(longspan.encode(model, list(one.queries.values())).vectors) for one in sets]
    rows: dict[str, list[np.ndarray]] = {}
    for place, one in enumerate(sets):
        others = [chunks[256] for other, part in enumerate(documents) if other != place for chunks in part]
        keys = list(one.documents)
        for name, rule in rules(torch.cat(others).mean(0)).items():
            vectors = torch.nn.functional.normalize(torch.stack([rule(chunks) for chunks in documents[place]]), dim=-1)
            order = (queries[place] @ vectors.mT).argsort(-1, descending=True)[:, :10]
            values = [
                score_ranking(one.relevant[query], [keys[i] for i in ranking])["ndcg_at_10"]
                for query, ranking in zip(one.queries, order.tolist(), strict=True)
            ]
            rows.setdefault(name, []).append(np.array(values))
    base = rows["mean, 256"]
    for name, row in rows.items():
        cells = []
        for values, theirs in zip(row, base, strict=True):
            apart = values - theirs
            cells.append(f"{values.mean():.3f} {apart.mean():+.3f} ±{apart.std(ddof=1) / len(apart) ** 0.5:.3f}")
        print(f"{name:28}" + "".join(f"{cell:>24}" for cell in cells), flush=True)


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--folder", default="")
parser.add_argument("--tokens", type=int, default=4096)
options = parser.parse_args()
main(options.folder, options.tokens)
