"""The main job on real input: extend all-MiniLM-L6-v2 from 512 to 4096 tokens and see what that is worth.

Usage: python examples/demo.py [OUT]     (make demo; three to six minutes on two cores)

Every number printed here is measured in this run.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import longspan
from longspan.benchmarks.retrieval.fairytaleqa import FairytaleQA
from longspan.benchmarks.retrieval.passkey import Passkey
from longspan.evaluation.drift import short_drift
from longspan.evaluation.run import evaluate
from longspan.evaluation.score import Score, append, markdown
from longspan.logs import quiet
from longspan.storage.load import original_card

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
TARGET = 4096
METHODS = ("interpolate", "grouped", "tile", "tile + temperature(tau=0.6)")
BENCHMARKS = (Passkey(documents=10, queries=10, depths=5), FairytaleQA(documents=12))


def main(out: Path) -> None:
    """Inspect, plan, measure, report, save, verify."""
    start = time.perf_counter()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    quiet()

    headline("1. What the model is")
    model = longspan.load(MODEL)
    geometry = longspan.inspect(model)
    print(geometry.describe())

    headline("2. What an extension would change")
    print(longspan.plan(geometry, "tile", TARGET).describe())

    headline("3. Long inputs: passkeys hidden in filler, questions about whole tales")
    lengths = (512, 1024, 2048, TARGET)
    scores = list(evaluate(model, BENCHMARKS, lengths, to=TARGET, methods=METHODS, progress=True))
    print(markdown([s for s in scores if s.depth is None and s.metric == main_metric(s)]))

    headline("4. Short inputs: cosine between each vector before and after")
    tales = list(FairytaleQA(documents=12).examples(None, seed=0).documents.values())
    drift = list(short_drift(model, tales, (16, 64, 256, 512), to=TARGET, methods=METHODS))
    print(markdown(drift))

    headline("5. The report")
    append(out / "scores.jsonl", [*scores, *drift])
    page = longspan.report(
        [*scores, *drift],
        out / "report.html",
        title=f"{MODEL}: {geometry.window} to {TARGET} tokens",
        notes=["Training-free: no weight was trained at the new length."],
    )
    print(f"{page}: curves by length, depth x length heat maps, short-input drift")

    headline("6. The checkpoint")
    best = max(METHODS, key=lambda method: mean(scores, method))
    longspan.extend(model, to=TARGET, method=best)
    folder = longspan.save(model, out / f"all-MiniLM-L6-v2-{TARGET}", original=original_card(MODEL))
    print(f"{folder}: {best}, the best mean over the tables above")
    found = longspan.verify(folder)
    same = sum(check.expected for check in found.checks)
    print(f"stock tools in a clean process: {'passed' if found.passed else 'FAILED'}, {len(found.checks)} comparisons")
    print(f"the same vectors in {same} of them, by plan other ones in {len(found.checks) - same} (`longspan verify`)")
    print(f"\n{time.perf_counter() - start:.0f} seconds")
    if not found.passed:
        raise SystemExit(1)


def headline(text: str) -> None:
    """A title between the steps."""
    print(f"\n== {text}\n", flush=True)


def main_metric(score: Score) -> str:
    """LongEmbed's choice: Acc@1 for synthetic tasks, nDCG@10 for real ones."""
    return "acc_at_1" if score.benchmark == "passkey" else "ndcg_at_10"


def mean(scores: list[Score], method: str) -> float:
    """Mean over all cells of a method's row."""
    mine = [s for s in scores if s.strategy == "extend" and s.plan == method and s.depth is None]
    values = [s.value for s in mine if s.metric == main_metric(s)]
    return sum(values) / len(values)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-out"))
