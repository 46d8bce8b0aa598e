#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Shows the whole product at work, every part real, in a temporary folder and
# on free loopback ports. "make demo" builds what this needs and runs it.
#
#   hack/demo.sh         run; exit 0 only if every step held
#   KEEP=1 hack/demo.sh  the same, and leave everything running until Ctrl-C
#
# Nothing is left behind, however this ends.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
link=$root/bin/demo # leads to the folder of the demo that runs

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
  umask 077
  work=$(mktemp -d "${TMPDIR:-/tmp}/connectedapps-demo.XXXXXX")
  mkdir -p "${link%/*}"
  ln -sfn "$work" "$link"
  watch "$link"
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
  sign_in
  secret_rotates
  file_rotates
  edit_reaches_server
  deleted_secret_returns
  rotation
  drift
  policy
  secretless
  vendor_examples
  app_goes
  end_of_steps
  [[ -z ${KEEP:-} ]] || keep
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
  end_all
  tidy
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

main
