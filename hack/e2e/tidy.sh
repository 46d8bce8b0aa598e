#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Waits for the end of hack/e2e.sh, which holds the other end of standard input,
# then ends the namespaces, and with them every process and mount in them, and
# removes what else there is of them.
#
#   hack/e2e/tidy.sh FOLDER <pipe
set -uo pipefail
trap '' INT TERM HUP
work=$1

# shellcheck source=hack/e2e/cgroups.sh
. "${0%/*}/cgroups.sh"

read -r _
if [[ -s $work/namespaces ]]; then
  pid=$(<"$work/namespaces")
  # It may have ended, and its number be another's.
  if grep -qzF "$work" "/proc/$pid/cmdline" 2>/dev/null; then kill -KILL "$pid"; fi
fi
[[ ! -f $work/cgroups ]] || remove_cgroups "$work/cgroups"
[[ ! -f $work/mountpoints ]] || xargs rmdir --ignore-fail-on-non-empty <"$work/mountpoints"
rm -rf "$work"
