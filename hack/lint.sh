#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Lints the Go files with the rules of .golangci.yaml.
set -euo pipefail
cd "$(dirname "$0")/.."

# It reads what the compiler wrote: let that show its progress.
GOGC=400 hack/build.sh "what golangci-lint reads" . ./...
# Another checkout may be linted at the same time.
bin/tools/golangci-lint run --allow-parallel-runners "$@"
echo "✔ lint"
