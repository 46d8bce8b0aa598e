#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Lints the Go files of every module with the rules of .golangci.yaml.
set -euo pipefail
cd "$(dirname "$0")/.."
lint=$PWD/bin/tools/golangci-lint

while read -r module; do
  # It reads what the compiler wrote: let that show its progress.
  GOGC=400 hack/build.sh "what golangci-lint reads of $module" "$module" -o /dev/null ./...
  # Another checkout may be linted at the same time.
  (cd "$module" && "$lint" run --allow-parallel-runners "$@")
done < <(hack/modules.sh code)
echo "✔ lint"
