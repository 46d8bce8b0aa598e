#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Waits for the end of the demo, which holds the other end of standard input,
# then for the end of its programs, and removes its folder and the link to it.
# It is there for the day on which somebody kills the demo.
#
#   hack/demo/watch.sh FOLDER LINK </pipe
set -uo pipefail
trap '' INT TERM HUP
folder=$1 link=$2
: >"$folder/processes" # the demo waits for it

# running prints the programs of the demo that still run.
running() {
  local name pid
  while read -r name pid; do
    if ps -o args= -p "$pid" 2>/dev/null | grep -qF "$folder"; then echo "$pid"; fi
  done <"$folder/processes"
}

read -r _
mapfile -t pids < <(running)
((${#pids[@]} == 0)) || kill "${pids[@]}"
for _ in {1..100}; do
  [[ -n $(running) ]] || break
  sleep 0.1
done
mapfile -t pids < <(running)
((${#pids[@]} == 0)) || kill -KILL "${pids[@]}"
[[ $(readlink "$link") != "$folder" ]] || rm -f "$link"
rm -rf "$folder"
