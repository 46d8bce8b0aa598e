#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Reads a token file 20 times a second, as an application would, and writes a
# line per read: "ok" and a mark of the token, or what was wrong with it.
#
#   hack/demo/reader.sh TOKEN_DIR RESULT_FILE
set -uo pipefail

last='' mark=''
while sleep 0.05; do
  if ! token=$(cat "$1/access-token" 2>/dev/null) || [[ $token != *.*.* ]]; then
    echo "no whole token"
    continue
  fi
  expires=$(date -d "$(cat "$1/expires-at")" +%s)
  if ((expires <= EPOCHSECONDS)); then
    echo "expired token"
    continue
  fi
  if [[ $token != "$last" ]]; then
    last=$token
    mark=$(sha256sum <<<"$token" | cut -c -8)
  fi
  echo "ok $mark"
done >"$2"
