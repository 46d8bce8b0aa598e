#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Prints the path of the installed kubectl when it is 1.31 or later: older ones
# lack parts of kustomize and of "kubectl wait" that we use.
set -euo pipefail

path=$(command -v kubectl) || exit 0
minor=$(kubectl version --client -o json 2>/dev/null | sed -n 's/.*"minor": "\([0-9]*\).*/\1/p')
if ((${minor:-0} >= 31)); then echo "$path"; fi
