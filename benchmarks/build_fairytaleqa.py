"""Cut the FairytaleQA set that longspan ships: `python benchmarks/build_fairytaleqa.py SOURCE [OUT]`.

SOURCE holds corpus.jsonl, queries.jsonl and meta.jsonl (evidence_token and doc_tokens of each
query, in MiniLM word pieces). The same source gives the same bytes.
"""

from __future__ import annotations

import gzip
import json
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

TALES, QUESTIONS = 60, 4
SHORTEST, LONGEST = 1_000, 4_000  # MiniLM tokens
# Another translation of the same tale is in the set: a question would have two right answers.
TWINS = {"fairytaleqa_brave-tin-soldier", "fairytaleqa_Snow-man"}
PREFIX = "fairytaleqa_"
OUT = Path(__file__).parents[1] / "src/longspan/benchmarks/data/fairytaleqa.jsonl.gz"


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def spread(questions: list[dict[str, Any]]) -> tuple[float, tuple[dict[str, Any], ...]]:
    """The questions whose evidence lies most evenly over the tale, and how far from even they are.

    Even means depths 1/8, 3/8, 5/8, 7/8; the distance is the sum over the questions, unitless.
    """
    ordered = sorted(questions, key=lambda question: (question["depth"], question["id"]))
    scored = []
    for choice in combinations(ordered, QUESTIONS):
        uneven = sum(abs(q["depth"] - (i + 0.5) / QUESTIONS) for i, q in enumerate(choice))
        scored.append((round(uneven, 6), [q["id"] for q in choice], choice))
    uneven, _, chosen = min(scored, key=lambda item: item[:2])
    return uneven, chosen


def main(source: Path, out: Path) -> None:
    """Choose one tale for each of 60 evenly spaced lengths and write them, sorted by id."""
    meta = {row["query-id"]: row for row in read(source / "meta.jsonl")}
    text = {row["id"]: row["text"] for row in read(source / "corpus.jsonl")}
    tales: dict[str, dict[str, Any]] = {}
    for row in read(source / "queries.jsonl"):
        document, facts = row["id"].rpartition("_q")[0], meta[row["id"]]
        if document in TWINS or not SHORTEST <= facts["doc_tokens"] <= LONGEST:
            continue
        tale = tales.setdefault(document, {"tokens": facts["doc_tokens"], "questions": []})
        depth = round(facts["evidence_token"] / facts["doc_tokens"], 4)
        tale["questions"].append({"id": row["id"].removeprefix(PREFIX), "text": row["text"], "depth": depth})
    step = (LONGEST - SHORTEST) / TALES
    rest, lines = {name: (tale["tokens"], *spread(tale["questions"])) for name, tale in tales.items()}, []
    for target in (SHORTEST + (i + 0.5) * step for i in range(TALES)):
        # Of the tales within one step the one with the most even evidence, else the nearest in length.
        name = min(rest, key=lambda n: (max(step, abs(rest[n][0] - target)), rest[n][1], n))
        tokens, _, questions = rest.pop(name)
        tale = {"id": name.removeprefix(PREFIX), "tokens": tokens, "text": text[name], "questions": questions}
        lines.append((tale["id"], json.dumps(tale, ensure_ascii=False)))
    out.write_bytes(gzip.compress("\n".join(line for _, line in sorted(lines)).encode() + b"\n", 9, mtime=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else OUT)
