#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Checks the tree without changing it.
#
#   hack/verify.sh generated|format|modules
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
  echo "✘ $1" >&2
  exit 1
}

generated() {
  local fresh
  fresh=$(mktemp -d)
  # shellcheck disable=SC2064 # the directory of now
  trap "rm -rf '$fresh'" EXIT
  hack/generate.sh code "$fresh"
  hack/generate.sh manifests "$fresh"
  while read -r file; do
    diff -u "$file" "$fresh/$file" >&2 ||
      fail "$file is not what its source says: run make generate manifests"
  done < <(cd "$fresh" && find . -type f)
  # A CRD whose kind is gone.
  diff <(ls config/crd/bases) <(ls "$fresh/config/crd/bases") >&2 || fail "config/crd/bases has other files"
  # An object that is gone.
  diff <(ls -R charts/connectedapps/files) <(cd "$fresh" && ls -R charts/connectedapps/files) >&2 || fail "charts/connectedapps/files has other files"
  # A page that is gone.
  diff <(ls docs/reference) <(ls "$fresh/docs/reference") >&2 || fail "docs/reference has other files"
  echo "✔ generated files"
}

format() {
  local files
  files=$(gofmt -l api cmd hack internal test)
  [[ -z $files ]] || fail "not formatted (run make fmt): ${files//$'\n'/ }"
  echo "✔ formatting"
}

modules() {
  local module file
  while read -r module; do
    # A module may have files for other versions of what it is built with.
    for file in "$module"/go.mod "$module"/v*.mod; do
      [[ ! -f $file ]] || (cd "$module" && go mod tidy -diff -modfile="${file##*/}" 2> >(grep -v '^go: downloading' >&2)) ||
        fail "$file is not tidy: run go mod tidy -modfile=${file##*/} there"
    done
  done < <(hack/modules.sh)
  echo "✔ go.mod and go.sum of each module"
}

"$1"
