#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Writes generated files below DIR: "code" is the DeepCopy methods,
# "manifests" the CRDs, the manager's role, the dashboards and, from these and the
# rest of config/, what the chart has and the pages of docs/reference.
#
#   hack/generate.sh code|manifests DIR
set -euo pipefail
cd "$(dirname "$0")/.."

generate=bin/tools/controller-gen

# The role for each namespace, which the markers call tenant, gets a file of its
# own, without a namespace, for kustomize to put it into several.
split_tenant_role() {
  mkdir -p "$1/tenant"
  awk -v tenant="$1/tenant/role.yaml" -v rest="$1/role.yaml.new" '
    function flush() { if (document != "") printf "%s", document > (ours ? tenant : rest); document = ""; ours = 0 }
    $0 == "---" { flush() }
    $0 == "  namespace: tenant" { ours = 1; next }
    { document = document $0 "\n" }
    END { flush() }' "$1/role.yaml"
  mv "$1/role.yaml.new" "$1/role.yaml"
}

dir=$(cd "$2" && pwd)
case $1 in
code)
  $generate object:headerFile=hack/boilerplate.go.txt paths=./api/... output:object:dir="$dir/api/v1alpha1"
  ;;
manifests)
  $generate crd paths=./api/... output:crd:dir="$dir/config/crd/bases"
  $generate rbac:roleName=connectedapps-manager-role "paths=./internal/controller/...;./internal/bootstrap/..." output:rbac:dir="$dir/config/rbac"
  split_tenant_role "$dir/config/rbac"
  (cd hack/dashboards && go run . -output "$dir/config/monitoring/dashboards")
  go run ./hack/chart -kubectl "${KUBECTL:-kubectl}" -output "$dir"
  go run ./hack/reference -output "$dir"
  ;;
esac
