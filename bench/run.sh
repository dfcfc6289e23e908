#!/bin/sh
# Installs the peers by package name, builds everything, and runs the
# side-by-side table in a network namespace of its own. Arguments go to the
# suite: bench/run.sh -short -runs 1 -cases fanout
#
# Wants two CPUs to itself, 20,000 descriptors and about an hour and a half for the whole
# table. Results are kept in bin/bench/results.jsonl, one line a run.
set -eu
cd "$(dirname "$0")/.."

for needed in go node npm taskset unshare ip; do
  command -v "$needed" >/dev/null || { echo "bench/run.sh needs $needed" >&2; exit 1; }
done
out=$PWD/bin/bench
mkdir -p "$out"

if [ ! -e bench/peers/node/node_modules/.package-lock.json ] ||
  [ bench/peers/node/package-lock.json -nt bench/peers/node/node_modules/.package-lock.json ]; then
  # Without scripts: the native build of uWebSockets.js comes ready made.
  (cd bench/peers/node && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
fi
(cd bench/peers/centrifugo && go build -o "$out/centrifugo" github.com/centrifugal/centrifugo/v6)
go build -o "$out/offramp" ./cmd/offramp
go build -o "$out/floor" ./bench/floor
go build -o "$out/sink" ./bench/sink
go build -o "$out/suite" ./bench/suite

ulimit -n "$(ulimit -Hn)"
user=
[ "$(id -u)" -eq 0 ] || user=--map-root-user
# shellcheck disable=SC2086 # empty or one word
exec unshare $user --net sh -c 'ip link set lo up && exec "$@"' sh \
  "$out/suite" -offramp "$out/offramp" -floor "$out/floor" -sink "$out/sink" -centrifugo "$out/centrifugo" \
  -node bench/peers/node -results "$out/results.jsonl" "$@"
