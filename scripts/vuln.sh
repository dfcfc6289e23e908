#!/usr/bin/env bash
# Looks for known vulnerabilities in what the program calls. Fails when there
# are some; a database that cannot be reached is said and is no failure.
set -uo pipefail
cd "$(dirname "$0")/.."

out=$(govulncheck ./... 2>&1)
status=$?
if [ "$status" -ne 0 ] && [ "$status" -ne 3 ] &&
  grep -qiE 'vuln\.go\.dev|dial tcp|no such host|connection refused|i/o timeout|fetching vulnerabilit|TLS handshake' <<<"$out"; then
  echo "notice: the vulnerability database https://vuln.go.dev cannot be reached from here, so nothing was checked."
  exit 0
fi
echo "$out"
exit "$status"
