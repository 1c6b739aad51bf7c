"""Fewer layers, fewer dimensions: what retrieval loses and what time is won, on whole tales.

Usage: python benchmarks/matryoshka.py [MODEL] [--layers 6,5,4,3] [--dims 384,192,96,48] [--out SCORES]

2D Matryoshka inference (Li et al. 2024, arXiv:2402.14776): the first n layers, then the first d dimensions. A model
that was not trained for it loses with the first layer that is dropped; this prints how much.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import mean

import longspan
from longspan.benchmarks.retrieval.fairytaleqa import FairytaleQA
from longspan.encoding.encoded import unit
from longspan.encoding.run import Encoder
from longspan.evaluation.measurement import model_facts, score
from longspan.evaluation.ranking import best_ten
from longspan.evaluation.score import append
from longspan.logs import quiet


def main() -> None:
    """Measure every pair and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--layers", default="6,5,4,3,2")
    parser.add_argument("--dims", default="384,192,96,48")
    parser.add_argument("--strategy", default="chunk_mean")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    quiet()
    model, tales = longspan.load(asked.model), FairytaleQA().examples(None, seed=0)
    dims = [int(d) for d in asked.dims.split(",")]
    print(f"nDCG@10 on {len(tales.queries)} questions to {len(tales.documents)} tales, read by {asked.strategy}\n")
    print("| layers | " + " | ".join(f"{d} dims" for d in dims) + " | tokens/s |")
    print("|---|" + "---|" * (len(dims) + 1))
    for layers in map(int, asked.layers.split(",")):
        encoder = Encoder(model, asked.strategy, layers=layers)
        queries = Encoder(model, layers=layers).encode(list(tales.queries.values()))
        start = time.perf_counter()
        read = encoder.encode(list(tales.documents.values()))
        seconds = time.perf_counter() - start
        cells = []
        for d in dims:
            similar = unit(queries.vectors[:, :d]) @ unit(read.vectors[:, :d]).T
            ranked = best_ten(tales, similar)
            values = [FairytaleQA().score(tales.relevant[q], ranked[q])["ndcg_at_10"] for q in ranked]
            cells.append(f"{mean(values):.3f}")
            if asked.out:
                facts = {"strategy": asked.strategy, "plan": "", "window": encoder.window, "seed": 0, "depth": None}
                engine = f"torch float32, {layers} layers, {d} dims"
                append(
                    asked.out,
                    [
                        score(
                            values,
                            **model_facts(model, engine),
                            **facts,
                            benchmark=tales.name,
                            task=repr(FairytaleQA()),
                            length=None,
                            metric="ndcg_at_10",
                            seconds=seconds,
                        )
                    ],
                )
        print(f"| {layers} | {' | '.join(cells)} | {sum(read.used) / seconds:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
