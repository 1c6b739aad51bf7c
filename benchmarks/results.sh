#!/usr/bin/env bash
# Measures what stands in results/: every method on passkeys and FairytaleQA. About an hour on two cores; a killed run goes on.
# Usage: benchmarks/results.sh [FOLDER of models: rope-minilm]
set -euo pipefail
cd "$(dirname "$0")/.."
models=${1:-.}
out=$PWD/results

longspan evaluate sentence-transformers/all-MiniLM-L6-v2 --to 4096 --lengths 512,1024,2048,4096 \
  --benchmark "passkey(documents=50) + fairytaleqa" \
  -m tile -m interpolate -m grouped -m "tile + temperature(tau=0.6)" -m "tile + log_n(base=128)" -m "tile + log_n" \
  -m "tile + su" --out "$out/minilm.jsonl"

# A rotary model made from all-MiniLM-L6-v2, trained window 256; not shipped.
if [ -d "$models/rope-minilm" ]; then
  cd "$models"
  longspan evaluate rope-minilm --to 4096 --lengths 2048 \
    --benchmark "passkey(documents=30, queries=30) + fairytaleqa(documents=40)" \
    -m none -m yarn -m ntk -m ntk_by_parts -m longrope -m llama3 -m pi -m abf -m giraffe_power -m giraffe_truncated \
    -m self_extend -m dca -m rerope -m "leaky_rerope(leak=20)" -m gali -m dynamic_ntk -m dynamic_yarn \
    -m "dca + temperature(tau=0.6)" -m "self_extend + temperature(tau=0.6)" -m "ntk + temperature(tau=0.6)" \
    -m "rerope + temperature(tau=0.6)" \
    --out "$out/rope-minilm.jsonl"
fi
