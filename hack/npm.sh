#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs the npm packages that a package-lock.json pins into DIR, without
# running scripts of theirs.
#
#   hack/npm.sh DIR_OF_PACKAGE_JSON DIR
set -euo pipefail

"$(dirname "$0")/need.sh" npm node
mkdir -p "$2"
cp "$1/package.json" "$1/package-lock.json" "$2/"
cd "$2"
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
