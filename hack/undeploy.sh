#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Removes what folders for kustomize install. The objects of ours go first, while
# the manager is there: it alone deletes their clients on the token servers and lets
# them go. What does not go is told, and nothing else is removed.
#
#   hack/undeploy.sh FOLDER...
#
# TIMEOUT is how many seconds the manager gets: by default more than a TokenServer's
# deletionTimeout, or 30 when no manager is seen. FORCE=1 takes the finalizers of what
# is left then, whose clients stay.
set -euo pipefail
cd "$(dirname "$0")/.."

kubectl=${KUBECTL:-kubectl}
kinds=(connectedapps accesstokens tokenservers)

crd() { "$kubectl" get crd "$1.connectedapps.dev" --ignore-not-found -o name; }

# of runs kubectl on a kind, which may end meanwhile, or be one that kubectl has not
# heard of yet.
of() {
  local kind=$1 tries=0
  shift
  while [[ -n $(crd "$kind") ]]; do
    ! "$kubectl" "$1" "$kind.connectedapps.dev" --all-namespaces "${@:2}" || return 0
    ((++tries < 10)) || return 1
    sleep 1
  done
}

# left has a line for each object: kind, namespace or -, name, client, reason.
left() {
  local kind
  for kind in "${kinds[@]}"; do
    of "$kind" get -o go-template='{{range .items}}{{.kind}} {{or .metadata.namespace "-"}} {{.metadata.name}} {{
      if .status}}{{or .status.clientID "-"}}{{range .status.conditions}}{{if eq .type "Ready"}} {{.reason}}: {{.message}}{{end}}{{end}}{{end}}{{"\n"}}{{end}}' || return
  done
}

manager_runs() {
  [[ -n $("$kubectl" get deployments --all-namespaces -l app.kubernetes.io/name=connectedapps,app.kubernetes.io/component=manager \
    -o jsonpath='{.items[*].status.readyReplicas}') ]]
}

# wait_for waits until nothing is left, and prints when less is.
wait_for() {
  local end=$((SECONDS + $1)) objects count before=
  while objects=$(left) || return; [[ -n $objects ]]; do
    count=$(wc -l <<<"$objects")
    [[ $count == "$before" ]] || echo "… $count objects are still there"
    before=$count
    ((SECONDS < end)) || return 1
    sleep 1
  done
}

release() {
  local kind namespace name rest
  left | while read -r kind namespace name rest; do
    "$kubectl" patch "$kind.connectedapps.dev" "$name" --namespace="${namespace/#-/default}" \
      --type=merge --patch='{"metadata":{"finalizers":null}}' || true # it may have gone
  done
}

explain() {
  cat >&2 <<END
✘ these objects are still there, and nothing else was removed:
$(left | sed 's/^/    /')
END
  manager_runs || echo "No manager runs, which would delete their clients and let them go: start it (make deploy), and come again." >&2
  cat >&2 <<END
To let them go as they are run the same with FORCE=1: their clients stay on the token servers, unless these go as well.
docs/removal.md tells more.
END
  exit 1
}

for kind in "${kinds[@]}"; do
  of "$kind" delete --all --wait=false
done
timeout=${TIMEOUT:-$(manager_runs && echo 660 || echo 30)}
if ! wait_for "$timeout"; then
  [[ ${FORCE:-} == 1 ]] || explain
  echo "letting go, with clients that stay behind:"
  left | sed 's/^/    /'
  release
  wait_for 60 || explain
fi

for ((i = $#; i > 0; i--)); do
  "$kubectl" delete --ignore-not-found -k "${!i}"
done
kept=$("$kubectl" get secrets --all-namespaces -l connectedapps.dev/secret -o go-template='{{range .items}}    {{.metadata.namespace}}/{{.metadata.name}}{{"\n"}}{{end}}')
[[ -z $kept ]] || printf 'These Secrets stay: they are yours, or of apps that were to leave them.\n%s\n' "$kept"
