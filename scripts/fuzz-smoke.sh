#!/usr/bin/env bash
# Runs every fuzz target for a short time: fuzz-smoke.sh [10s]
set -euo pipefail
cd "$(dirname "$0")/.."

time=${1:-10s}
git grep -l --untracked -E '^func Fuzz[A-Z]' -- '*_test.go' | while IFS= read -r file; do
  grep -oE '^func Fuzz[A-Za-z0-9_]+' "$file" | cut -d' ' -f2 | while IFS= read -r target; do
    echo "fuzz $(dirname "$file") $target"
    go test "./$(dirname "$file")" -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 5s </dev/null
  done
done
