#!/usr/bin/env bash
# Measures results/evaluation.jsonl: the ladder and extensions on QMSum, passkeys and needles, whole and quick; guards;
# perplexity by position. About an hour on two cores; a killed run goes on.
# Usage: benchmarks/evaluation.sh FOLDER, which holds qmsum/ in LongEmbed's layout, and may hold stories260K/ with
# stories/ (held-out TinyStories as JSON lines) and rope-minilm/
set -euo pipefail
cd "$(dirname "$0")/.."
out=$PWD/results/evaluation.jsonl
cd "$1"
minilm=sentence-transformers/all-MiniLM-L6-v2

for quick in "" --quick; do
  longspan evaluate $minilm -b "longembed(task='qmsum') + passkey + needle" --data . --lengths 256..4096 $quick \
    -m tile -m "tile + temperature(tau=0.6)" --out "$out"
done
longspan evaluate $minilm -b "probe + sts + collapse(texts=10)" --lengths 64..2048 --to 2048 --no-bm25 \
  -s "truncate(window=512)" -m tile -m "tile + temperature(tau=0.8)" -m "tile + temperature(tau=0.6)" --out "$out"
if [ -d stories260K ]; then
  longspan evaluate stories260K -b "perplexity(folder='stories')" --lengths 512..4096 -m none -m ntk -m yarn -m pi --out "$out"
fi
if [ -d rope-minilm ]; then
  longspan compare rope-minilm --to 1024 --quick -b "needle + fairytaleqa"
fi
