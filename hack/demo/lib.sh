# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the demo is made of: numbered steps, processes that end with it, waiting.

green='' red='' dim='' reset='' live=
if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
  green=$'\e[32m' red=$'\e[31m' dim=$'\e[2m' reset=$'\e[0m' live=yes
fi

### Steps

number=0
title=
reason=

# step TITLE begins a step. A step has failed when the next thing is the end of
# this program.
step() {
  number=$((number + 1))
  title=$1
  reason=
  SECONDS_AT_STEP=$SECONDS
  [[ -z $live ]] || printf '%s%2d … %s%s' "$dim" "$number" "$title" "$reset"
}

# ok DETAIL ends it well.
ok() {
  local took=$((SECONDS - SECONDS_AT_STEP))
  mark "$green" ✔ "$1"
  ((took < 3)) || printf '     %stook %ds%s\n' "$dim" "$took" "$reset"
}

# fail REASON ends everything.
fail() {
  reason=$1
  exit 1
}

# A step may fail while its output goes to a file: marks go where the demo's do.
exec 3>&1
mark() { # COLOUR MARK DETAIL
  {
    [[ -z $live ]] || printf '\r\e[K'
    printf '%2d %s%s%s %s: %s\n' "$number" "$1" "$2" "$reset" "$title" "$3"
  } >&3
}

# show COMMAND... prints a command and what it says.
show() {
  printf '     %s$ %s%s\n' "$dim" "$*" "$reset"
  "$@" 2>&1 | sed 's/^/     /'
}

### Waiting

# eventually SECONDS WHAT COMMAND... repeats a command until it succeeds.
eventually() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || fail "$what did not happen in time"
    check_processes
    sleep 0.1
  done
}

### Processes

declare -A pids=()
started=()

# Whatever happens to this shell, the kernel ends what it started.
guard=()
! command -v setpriv >/dev/null || guard=(setpriv --pdeathsig TERM --)

# watch removes the demo's folder once this shell has ended, however it does:
# then the other end of the pipe closes, for no program of the demo inherits it.
watch() { # LINK
  local session=()
  ! command -v setsid >/dev/null || session=(setsid)
  exec {lifeline}> >(exec "${session[@]}" "$root/hack/demo/watch.sh" "$work" "$1" >/dev/null 2>&1 3>&-)
  watcher=$!
  # Until it has a session of its own, what kills this shell may kill it too.
  until [[ -e $work/processes ]]; do
    kill -0 "$watcher" 2>/dev/null || fail "hack/demo/watch.sh ended"
    sleep 0.01
  done
}

# tidy waits until the folder is gone.
tidy() {
  exec {lifeline}>&-
  wait "$watcher" 2>/dev/null || true
}

# start NAME COMMAND... runs a program until the demo ends, its output in
# NAME.log.
start() {
  local name=$1
  shift
  "${guard[@]}" "$@" >"$work/$name.log" 2>&1 </dev/null 3>&- {lifeline}>&- &
  pids[$name]=$!
  started+=("$name")
  echo "$name ${pids[$name]}" >>"$work/processes"
}

check_processes() {
  local name
  for name in "${!pids[@]}"; do
    kill -0 "${pids[$name]}" 2>/dev/null || fail "$name ended"
  done
}

# end NAME... ends processes of ours and waits for them.
end() {
  local name pid i
  for name in "$@"; do
    pid=${pids[$name]:-}
    [[ -n $pid ]] || continue
    kill "$pid" 2>/dev/null || true
    for ((i = 0; i < 100; i++)); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    unset "pids[$name]"
  done
}

end_all() {
  local i
  for ((i = ${#started[@]} - 1; i >= 0; i--)); do
    end "${started[i]}"
  done
  started=()
}

# free_port prints a port nobody listens on. It lies below those that the
# system hands out by itself.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 10000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  echo "$port"
}

# memory prints a table of the memory that our programs hold.
memory() {
  local pid name kib
  for pid in $(descendants $$); do
    name=$(basename "$(readlink "/proc/$pid/exe")")
    kib=$(awk '/^VmRSS:/ { print $2 }' "/proc/$pid/status" 2>/dev/null) || continue
    case $name in
    etcd | kube-* | manager | tokenserver | refresher) printf '     %-24s %4d MiB\n' "$name" $((kib / 1024)) ;;
    esac
  done
}

descendants() {
  local child
  for child in $(ps -o pid= --ppid "$1"); do
    echo "$child"
    descendants "$child"
  done
}
