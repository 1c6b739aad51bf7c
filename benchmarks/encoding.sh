#!/usr/bin/env bash
# Measures results/encoding.jsonl: every way to read, plain and extended, on whole meetings and whole tales. Hours on two
# cores; a killed run goes on.
# Usage: benchmarks/encoding.sh FOLDER, which holds qmsum/ and fairytaleqa/ in LongEmbed's layout and gets the checkpoints
set -euo pipefail
cd "$(dirname "$0")/.."
out=$PWD/results/encoding.jsonl
cd "$1"
minilm=sentence-transformers/all-MiniLM-L6-v2

measure() { # MODEL SET STRATEGY...
  local model=$1 set=$2 asked=()
  shift 2
  for strategy in "$@"; do asked+=(-s "$strategy"); done
  longspan evaluate "$model" --lengths "" --to 4096 -b "folder(path='$set')" "${asked[@]}" --out "$out"
}

longer() { # TOKENS METHODS: the name of the checkpoint
  local name=minilm-$1-${2//[^a-z0-9]/}
  [ -d "$name" ] || longspan extend $minilm --to "$1" --method "$2" --out "$name" >&2
  echo "$name"
}

plain=(truncate "truncate(window=512)" "late(window=512)" chunk_max "chunk_max(top=2)" chunk_mean)
measure $minilm fairytaleqa "${plain[@]}" long_late "long_late(top=2)" "long_late(chunks='sentences')"
measure $minilm qmsum "${plain[@]}" long_late "long_late(top=2)"
for set in fairytaleqa qmsum; do
  measure "$(longer 4096 "tile + temperature(tau=0.6)")" $set extend
done
measure "$(longer 4096 "tile + temperature(tau=0.6)")" fairytaleqa late
measure "$(longer 8192 "tile + temperature(tau=0.6)")" fairytaleqa extend
longspan evaluate $minilm --lengths "" --to 4096 -b "folder(path='fairytaleqa')" -s chunk_mean --no-bm25 --backend openvino \
  --dtype int8 --out "$out"
