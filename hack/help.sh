#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Prints the targets of a Makefile that have a "##" comment, by group.
set -euo pipefail

bold='' cyan='' reset=''
if [[ -t 1 && -z ${NO_COLOR:-} ]]; then bold=$'\e[1m' cyan=$'\e[36m' reset=$'\e[0m'; fi

awk -v bold="$bold" -v cyan="$cyan" -v reset="$reset" '
  BEGIN { FS = ":.*## "; printf "Usage: make %sTARGET%s\n", cyan, reset }
  /^##@ / { printf "\n%s%s%s\n", bold, substr($0, 5), reset }
  /^[a-z-]+:.*## / { printf "  %s%-17s%s %s\n", cyan, $1, reset, $2 }
' "$@"
