#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Prints the folders of the Go modules; with "code" those alone that have files of
# ours, for some only name programs of others.
#
#   hack/modules.sh [code]
set -euo pipefail
cd "$(dirname "$0")/.."

find . \( -path ./bin -o -path ./dist -o -name node_modules -o -name '.?*' \) -prune -o -name go.mod -printf '%h\n' | sort |
  while read -r module; do
    [[ ${1:-} != code ]] || (cd "$module" && go list -find ./... 2>/dev/null | grep -q .) || continue
    echo "$module"
  done
