#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Writes generated files below DIR: "code" is the DeepCopy methods,
# "manifests" the CRDs and the manager's role.
#
#   hack/generate.sh code|manifests DIR
set -euo pipefail
cd "$(dirname "$0")/.."

generate=bin/tools/controller-gen
dir=$2
case $1 in
code)
  $generate object:headerFile=hack/boilerplate.go.txt paths=./api/... output:object:dir="$dir/api/v1alpha1"
  ;;
manifests)
  $generate crd paths=./api/... output:crd:dir="$dir/config/crd/bases"
  $generate rbac:roleName=manager-role "paths=./internal/controller/...;./internal/bootstrap/..." output:rbac:dir="$dir/config/rbac"
  ;;
esac
