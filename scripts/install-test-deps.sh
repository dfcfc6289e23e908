#!/usr/bin/env bash
# Installs what the tests need and the machine lacks. Safe to run again.
#
#   install-test-deps.sh test   Debian packages, npm packages, and what integration/judges needs of other languages;
#                               soketi, which the pusher translator meets, is among those of bench
#   install-test-deps.sh lint   golangci-lint, into bin/
#   install-test-deps.sh vuln   govulncheck, into bin/
set -euo pipefail
cd "$(dirname "$0")/.."

golangci_version=v2.15.0
govulncheck_version=v1.9.0

# command that must exist, and the Debian package that brings it
packages=(
  redis-server:redis-server
  chromium:chromium
  node:nodejs
  npm:npm
)

debian() {
  local missing=()
  for entry in "${packages[@]}"; do
    command -v "${entry%%:*}" >/dev/null || missing+=("${entry##*:}")
  done
  [ ${#missing[@]} -eq 0 ] && return
  if ! command -v apt-get >/dev/null; then
    echo "please install: ${missing[*]} (this machine has no apt-get)" >&2
    exit 1
  fi
  local sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  "${sudo[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# npm_packages DIR: npm ci below DIR wherever a lock file is newer than what was installed from it
npm_packages() {
  local lock dir
  while IFS= read -r lock; do
    dir=$(dirname "$lock")
    if [ ! -e "$dir/node_modules/.package-lock.json" ] || [ "$lock" -nt "$dir/node_modules/.package-lock.json" ]; then
      (cd "$dir" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
      touch "$dir/node_modules/.package-lock.json"
    fi
  done < <(git ls-files "$1/*package-lock.json")
}

# tool NAME VERSION MODULE: go install unless that version is there
tool() {
  local name=$1 version=$2 module=$3 found
  if found=$(command -v "$name") && go version -m "$found" | grep -qE "[[:space:]]mod[[:space:]].*[[:space:]]$version([[:space:]]|$)"; then
    return
  fi
  echo "installing $name $version into bin/"
  GOBIN="$PWD/bin" GOFLAGS=-mod=mod go install "$module@$version"
}

case "${1:-test}" in
  test) debian; npm_packages integration; npm_packages bench; integration/judges/install.sh ;;
  lint) tool golangci-lint "$golangci_version" github.com/golangci/golangci-lint/v2/cmd/golangci-lint ;;
  vuln) tool govulncheck "$govulncheck_version" golang.org/x/vuln/cmd/govulncheck ;;
  *) echo "usage: install-test-deps.sh test|lint|vuln" >&2; exit 1 ;;
esac
