#!/usr/bin/env bash
# shellcheck disable=SC2034 # the variables are those of oauth.sh
# SPDX-License-Identifier: Apache-2.0
#
# Asks for tokens all the time, as a client that reads its Secret anew before each
# request, and writes a line for each.
#
#   hack/demo/caller.sh WORK URL NAMESPACE SECRET LINES
set -uo pipefail
work=$1 url=$2
kubectl() { "$KUBECTL" "$@"; }
# shellcheck source=hack/demo/oauth.sh
. "${0%/*}/oauth.sh"

while :; do
  value=$(secret "$3" "$4" client-secret) || continue
  if request_token "$(secret "$3" "$4" client-id)" "$value" >/dev/null 2>&1; then echo granted; else echo refused; fi >>"$5"
done
