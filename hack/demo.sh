#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Shows the whole product at work, every part real, in a temporary folder and
# on free loopback ports. "make demo" builds what this needs and runs it.
#
#   hack/demo.sh         run; exit 0 only if every step held
#   KEEP=1 hack/demo.sh  run and leave everything running
#   hack/demo.sh stop    end what KEEP=1 left running
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
kept=$root/bin/demo

: "${KUBEBUILDER_ASSETS:?run this with make demo}" "${KUBE_CONTROLLER_MANAGER:?run this with make demo}"
: "${KUBECTL:?run this with make demo}"
kubectl() { "$KUBECTL" "$@"; }

namespace=payments
system=connectedapps-system
token_lifetime=12s # so short that one sees it change

# shellcheck source=hack/demo/lib.sh
. hack/demo/lib.sh
# shellcheck source=hack/demo/oauth.sh
. hack/demo/oauth.sh
# shellcheck source=hack/demo/steps.sh
. hack/demo/steps.sh

main() {
  trap finish EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  hack/need.sh curl openssl
  [[ -z ${KEEP:-} ]] || stop_kept
  umask 077
  work=$(mktemp -d "${TMPDIR:-/tmp}/connectedapps-demo.XXXXXX")
  [[ -z ${KEEP:-} ]] || ln -sfn "$work" "$kept"
  export KUBECONFIG=$work/kubeconfig

  control_plane
  install_kinds
  manager
  tokenserver
  apply_samples
  registered_app
  secret_keys
  refresher
  token_by_curl
  profile
  secret_rotates
  file_rotates
  edit_reaches_server
  deleted_secret_returns
  vendor_examples
  app_goes
  end_of_steps
}

# finish runs at the end, however it comes about.
finish() {
  local code=$?
  trap '' INT TERM HUP
  [[ -n ${work:-} ]] || exit "$code"
  if ((code != 0 && code != 130 && code != 143)); then
    mark "$red" ✘ "${reason:-a command failed with exit code $code}"
    show_logs
  fi
  [[ -z ${KEEP:-} ]] || ((code != 0)) || exit 0
  end_all
  rm -rf "$work"
  [[ -z ${KEEP:-} ]] || rm -f "$kept"
  exit "$code"
}

show_logs() {
  local log
  for log in "$work"/*.log; do
    [[ -s $log ]] || continue
    printf '\n     %sthe end of %s:%s\n' "$dim" "${log##*/}" "$reset"
    tail -n 8 "$log" | cut -c -400 | sed 's/^/     /'
  done
}

# stop_kept ends the processes of an earlier demo, if they are still its own.
stop_kept() {
  local folder name pid
  [[ -L $kept ]] || return 0
  folder=$(readlink "$kept")
  if [[ -f $folder/processes ]]; then
    while read -r name pid; do
      if ps -o args= -p "$pid" | grep -qF "$folder"; then
        kill "$pid"
        echo "stopped $name"
      fi
    done < <(tac "$folder/processes")
  fi
  # The control plane removes its own folder.
  for _ in {1..50}; do
    [[ -d $folder/cluster ]] || break
    sleep 0.1
  done
  rm -rf "$folder" "$kept"
}

case ${1:-run} in
run) main ;;
stop) stop_kept ;;
*)
  sed -n 's/^#   //p' "$0" >&2
  exit 2
  ;;
esac
