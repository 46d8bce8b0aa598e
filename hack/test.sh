#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs the tests with the race detector.
#
#   hack/test.sh [go test arguments; default ./...]
set -euo pipefail
cd "$(dirname "$0")/.."

(($#)) || set -- ./...
hack/need.sh gcc

# What the tests import is compiled first, because go test shows no progress.
if [[ $* == ./... ]]; then
  mapfile -t packages < <(go list -test -deps \
    -f '{{if and .Module .GoFiles (not .ForTest) (ne .Name "main")}}{{.ImportPath}}{{end}}' ./...)
  GOGC=400 CGO_ENABLED=1 hack/build.sh "tests with the race detector" . -race "${packages[@]}"
fi

# A module of its own, for what it links is none of the product's.
if [[ $* == ./... ]]; then
  hack/build.sh "tests of releases" hack/release ./...
  (cd hack/release && CGO_ENABLED=0 go test ./...)
fi

CGO_ENABLED=1 go test -race -timeout 15m "$@" | { grep -v '\[no test files\]' || true; }
