#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Prints the targets of the Makefile that tests need built beside themselves.
# Most need none.
#
#   hack/needs.sh [go test arguments; default ./...]
set -euo pipefail
cd "$(dirname "$0")/.."

module=$(go list -m)

# packages of the arguments of go test, without its flags and their values.
(($#)) || set -- ./...
packages=()
while (($#)); do
  case $1 in
  -args | --args) break ;;
  -*=* | -a | -benchmem | -c | -cover | -failfast | -fullpath | -json | -n | -race | -short | -v | -work | -x) ;;
  -*) (($# == 1)) || shift ;;
  *) packages+=("$1") ;;
  esac
  shift
done

# A package that cannot be loaded is for go test to tell.
go list -e -test -deps "${packages[@]}" | awk -v module="$module" '
  $1 == module "/internal/testenv/controlplane" { print "control-plane-programs" }
  $1 == module "/test/chart" || $1 == module "/test/gitops" { print "helm" }
  $1 == module "/test/gitops" { print "controller-gen" }
  $1 == module "/test/monitoring" { print "prometheus" }
  $1 == module "/test/install" || $1 == module "/test/chart" || $1 == module "/test/gitops" || $1 == module "/test/deletion" || $1 == module "/test/injection" || $1 == module "/test/lifecycle" || $1 == module "/test/monitoring" || $1 == module "/test/start" || $1 == module "/internal/plugin" { print "kubectl" }
  $1 == module "/test/chart" || $1 == module "/test/gitops" || $1 == module "/test/deletion" || $1 == module "/test/injection" || $1 == module "/test/lifecycle" || $1 == module "/test/start" { print "kube-controller-manager" }
  $1 == module "/test/browser" { print "browser-tools" }
  $1 == module "/test/clients" || $1 == module "/test/start" { print "client-tools" }
  $1 == module "/internal/testenv/postgresql" { print "postgresql" }
  $1 == module "/cmd/refresher" { print "curl" }
' | sort -u
