"""Cut the haystack that longspan ships: `python benchmarks/build_haystack.py CORPUS.jsonl.gz [OUT]`.

The first chapters of the Personal Memoirs of Ulysses S. Grant (1885, public domain), one paragraph a
line, prose only. Its sentences are short and even enough for a needle to find a place at 5 depths
of 256 tokens and 10 depths of 512.
The same corpus gives the same bytes.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

# Contiguous chunks of mlschmitt/classic-books-markdown@944882722e9a.
CHUNKS = ("essay-00329", "essay-00330", "essay-00331", "essay-00332", "essay-00333")
START = "I am of the eighth generation"
WORDS = 65_536 * 3 // 4  # enough for a length of 65,536 tokens
OUT = Path(__file__).parents[1] / "src/longspan/benchmarks/data/haystack.txt.gz"


def main(corpus: Path, out: Path) -> None:
    """Keep prose paragraphs up to the first one that completes the word budget."""
    with gzip.open(corpus, "rt", encoding="utf-8") as lines:
        chunks = {row["id"]: row["text"] for row in map(json.loads, lines) if row["id"] in CHUNKS}
    kept: list[str] = []
    words = 0
    for paragraph in (" ".join(p.split()) for name in CHUNKS for p in chunks[name].split("\n\n")):
        # Headings and the address lines of letters are no place to hide a sentence in.
        if not kept and not paragraph.startswith(START):
            continue
        if not paragraph or paragraph[0] in "#-" or paragraph.isupper() or any(c in paragraph for c in "$[\\"):
            continue
        kept.append(paragraph)
        words += len(paragraph.split())
        if words >= WORDS:
            break
    out.write_bytes(gzip.compress(("\n".join(kept) + "\n").encode(), 9, mtime=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else OUT)
