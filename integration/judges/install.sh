#!/usr/bin/env bash
# Installs what the rigs need: npm packages, a Python environment, Java
# libraries. Each step is done once and again when its list of packages changes.
set -euo pipefail
cd "$(dirname "$0")"

# once LIST STAMP COMMAND...: run the command unless it was run for this list
once() {
  local list=$1 stamp=$2
  shift 2
  if [ -e "$stamp" ] && cmp -s "$list" "$stamp"; then
    return
  fi
  "$@"
  cp "$list" "$stamp"
}

# The stamp is the one that scripts/install-test-deps.sh looks at, too.
node_packages() {
  local lock=node/package-lock.json stamp=node/node_modules/.package-lock.json
  if [ -e "$stamp" ] && [ ! "$lock" -nt "$stamp" ]; then
    return
  fi
  (cd node && npm ci --no-audit --no-fund --loglevel=error)
  touch "$stamp"
}

python_packages() {
  python3 -m venv --clear python/venv
  python/venv/bin/pip install --quiet --disable-pip-version-check --no-deps -r python/requirements.txt
}

java_packages() { (cd java && mvn -q -B dependency:copy-dependencies); }

# need COMMAND PACKAGE...: Debian packages for a command that is not there
need() {
  local command=$1
  shift
  command -v "$command" >/dev/null && return
  if ! command -v apt-get >/dev/null; then
    echo "please install: $* (this machine has no apt-get)" >&2
    exit 1
  fi
  local sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  "${sudo[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "$@"
}

need node nodejs npm
need python3 python3 python3-venv
python3 -c 'import ensurepip' 2>/dev/null || need python3-venv python3-venv
need java default-jdk-headless
need mvn maven

node_packages
once python/requirements.txt python/venv/.installed python_packages
once java/pom.xml java/target/.installed java_packages
