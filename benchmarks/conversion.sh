#!/usr/bin/env bash
# Measures results/conversion.jsonl: all-MiniLM-L6-v2 converted to rotary positions, within its window and at length,
# beside the original. About two hours and a half on two cores; a killed run goes on.
# Usage: benchmarks/conversion.sh FOLDER, which holds corpus.jsonl (texts to learn from, none of the sets' own) and
# qmsum/ in LongEmbed's layout; the checkpoints are written there
set -euo pipefail
cd "$(dirname "$0")/.."
out=$PWD/results/conversion.jsonl
cd "$1"
minilm=sentence-transformers/all-MiniLM-L6-v2

[ -d rotary-minilm ] || longspan convert $minilm --corpus corpus.jsonl --out rotary-minilm --steps 1500 --check-every 150
[ -d rotary-minilm-8k ] || longspan convert $minilm --corpus corpus.jsonl --from rotary-minilm --window 256 --to 8192 \
  --out rotary-minilm-8k --steps 450 --check-every 150 --learning-rate 2e-4

# The first 4,096 tokens of each of the 35 validation meetings: what one vector can read, whatever reads it.
python - <<'PART'
import json
from pathlib import Path

from longspan.sources import locate
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(locate("sentence-transformers/all-MiniLM-L6-v2"))
read = {name: [json.loads(line) for line in open(f"qmsum/{name}.jsonl")] for name in ("corpus", "queries", "qrels")}
read["corpus"] = [row for row in read["corpus"] if row["id"].startswith("val_")]
kept = {row["id"] for row in read["corpus"]}
for row in read["corpus"]:
    offsets = tokenizer(row["text"], add_special_tokens=False, return_offsets_mapping=True, verbose=False).offset_mapping
    row["text"] = row["text"][: offsets[:4094][-1][1]]
read["qrels"] = [row for row in read["qrels"] if row["corpus-id"] in kept]
asked = {row["query-id"] for row in read["qrels"]}
read["queries"] = [row for row in read["queries"] if row["id"] in asked]
Path("first4096/qmsum").mkdir(parents=True, exist_ok=True)
for name, rows in read.items():
    Path(f"first4096/qmsum/{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
PART

measure() { # MODEL OPTION...
  local model=$1
  shift
  longspan evaluate "$model" --lengths 4096 --out "$out" "$@" -b "longembed(task='qmsum')" --data first4096
  longspan evaluate "$model" --lengths 4096 --out "$out" "$@" \
    -b "fairytaleqa + passkey(documents=30, queries=30) + needle(documents=30, queries=30)"
}

measure $minilm -s "truncate(window=512)" -s "truncate(window=256)" -s "chunk_mean(window=512)" \
  -s "chunk_mean(window=256)" -s "chunk_max(window=256)" -s "chunk_max(window=256, top=2)" -s "long_late(window=256)" \
  --to 4096 -m tile -m "tile + temperature(tau=0.6)"
measure rotary-minilm --no-bm25 -s "truncate(window=512)" --to 4096 -m yarn -m "temperature(tau=0.6)"
measure rotary-minilm-8k --no-bm25 -s "truncate(window=4096)"
measure rotary-minilm-8k --no-bm25 -s "truncate(window=512)" --window 512 --to 4096 -m "temperature(tau=0.8)"

# What short texts keep.
for model in $minilm rotary-minilm rotary-minilm-8k; do
  longspan evaluate $model --no-bm25 --lengths 512 -b "sts + probe" -s "truncate(window=512)" --out "$out"
done
longspan evaluate rotary-minilm --no-bm25 --lengths 512 --to 4096 -b "sts + probe" -s "truncate(window=512)" \
  -m "temperature(tau=0.6)" -m yarn --out "$out"
