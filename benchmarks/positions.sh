#!/usr/bin/env bash
# Measures results/positions.jsonl: what each way to extend a rotary model makes of perplexity by position (a Llama of
# 260 thousand parameters, window 512, on held-out stories) and of questions to meetings (a rotary MiniLM, window 256).
# About two hours on two cores; a killed run goes on.
# Usage: benchmarks/positions.sh FOLDER, which holds stories260K/, stories/ (texts as JSON lines), rope-minilm/ and
# qmsum/ in LongEmbed's layout
set -euo pipefail
cd "$(dirname "$0")/.."
out=$PWD/results/positions.jsonl
cd "$1"

longspan evaluate stories260K -b "perplexity(folder='stories')" --lengths 512..4096 --out "$out" \
  -m none -m pi -m ntk -m ntk_by_parts -m yarn -m longrope -m "longrope(first=4)" -m llama3 -m giraffe_power \
  -m giraffe_truncated -m abf -m dynamic_ntk -m "dynamic_ntk(step=64)" -m dynamic_yarn -m clex \
  -m "longrope(switch=true)" -m self_extend -m rerope -m "rerope(near=256)" -m leaky_rerope -m dca -m gali \
  -m "self_extend + log_n" -m "dca + log_n" -m "rerope + log_n" -m "gali + log_n" -m "self_extend(adaptive=false)" \
  -m "dca + ntk"
longspan evaluate stories260K -b "perplexity(folder='stories', passages=8)" --lengths 512..4096 --out "$out" \
  -m gali -m "gali(chunk=128)" -m "gali(local=384)"
longspan evaluate stories260K -b "lm_passkey(questions=10)" --lengths 384,512 --to 4096 -m none -m self_extend --out "$out"

# The first 50 meetings and the questions to them; the whole set takes four times as long.
python - <<'PART'
import json
from pathlib import Path

read = {name: [json.loads(line) for line in open(f"qmsum/{name}.jsonl")] for name in ("corpus", "queries", "qrels")}
kept = set(sorted(row["id"] for row in read["corpus"])[:50])
read["qrels"] = [row for row in read["qrels"] if row["corpus-id"] in kept]
asked = {row["query-id"] for row in read["qrels"]}
read["corpus"] = [row for row in read["corpus"] if row["id"] in kept]
read["queries"] = [row for row in read["queries"] if row["id"] in asked]
Path("part/qmsum").mkdir(parents=True, exist_ok=True)
for name, rows in read.items():
    Path(f"part/qmsum/{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
PART
longspan evaluate rope-minilm --to 4096 -b "longembed(task='qmsum')" --data part --out "$out" \
  -s "truncate(window=256)" -s "chunk_mean(window=256)" \
  -m "dca + temperature(tau=0.6)" -m yarn -m "self_extend + temperature(tau=0.6)" -m ntk -m self_extend -m dca
# Passkeys at 32 times the window; among so few documents most rows are near 1.
longspan evaluate rope-minilm --to 8192 --lengths 8192 -b "passkey(documents=16, queries=16)" --no-bm25 --out "$out" \
  -s "truncate(window=256)" -s "chunk_mean(window=256)" \
  -m none -m self_extend -m dca
