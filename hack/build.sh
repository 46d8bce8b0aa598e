#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs "go build" and says how far it is when it takes more than two seconds.
#
#   hack/build.sh WHAT MODULE_DIR [go build flags] PACKAGE...
#
# On a terminal one line is updated in place, otherwise a plain line appears
# every 20 seconds.
set -euo pipefail

what=$1
cd "$2"
shift 2

log=$(mktemp)
go_pid=
trap 'rm -f "$log"' EXIT

# go build gets a process group of its own (set -m), so that an interrupt ends
# the compilers and the linker with it.
stop() {
  trap - INT TERM HUP
  [[ -z $go_pid ]] || kill -INT -- "-$go_pid" 2>/dev/null || true
  wait 2>/dev/null || true
  exit 130
}
trap stop INT TERM HUP

elapsed() {
  ((SECONDS < 60)) && echo "${SECONDS}s" || printf '%dm%02ds' $((SECONDS / 60)) $((SECONDS % 60))
}

packages() { grep -vc -e '^go: ' -e '^#' "$log" || true; }

# total counts the packages that are compiled already and those that are not.
total() { # FLAGS AND PACKAGES...
  local arguments=() stale
  while (($#)); do
    if [[ $1 == -o ]]; then shift; else arguments+=("$1"); fi
    shift
  done
  stale=$(go list -deps -f '{{if .Stale}}stale{{end}}' "${arguments[@]}" 2>/dev/null | grep -c stale || true)
  echo $((stale + $(packages)))
}

progress() {
  local text
  if (($(packages) == 0)) && grep -q '^go: downloading' "$log"; then
    text="$(grep -c '^go: downloading' "$log") modules downloaded"
  else
    text="$(packages)${all:+ of $all} packages"
  fi
  if [[ -t 2 ]]; then
    printf '\r\033[K  building %s: %s, %s' "$what" "$text" "$(elapsed)" >&2
  elif ((SECONDS >= next)); then
    printf '  building %s: %s, %s\n' "$what" "$text" "$(elapsed)" >&2
    next=$((SECONDS + 20))
  fi
}

SECONDS=0
next=0
all=
set -m
go build -v "$@" >"$log" 2>&1 &
go_pid=$!
set +m

while kill -0 "$go_pid" 2>/dev/null; do
  sleep 0.2
  ((SECONDS >= 2)) || continue
  # Counting needs every module: wait until they are downloaded.
  if [[ -z $all ]] && (($(packages) > 0)); then all=$(total "$@"); fi
  kill -0 "$go_pid" 2>/dev/null && progress
done

code=0
wait "$go_pid" || code=$?
[[ ! -t 2 ]] || ((SECONDS < 2)) || printf '\r\033[K' >&2
if ((code != 0)); then
  # Package names are progress; the rest is what went wrong.
  grep -v -e '^go: downloading' -e '^[a-z0-9.-]*\(/[A-Za-z0-9._~-]*\)*$' "$log" >&2 || true
  echo "building $what: go build ended with exit code $code" >&2
  exit "$code"
fi
((SECONDS < 2)) || echo "  built $what in $(elapsed)" >&2
