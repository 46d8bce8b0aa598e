#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Removes what folders for kustomize install, from the cluster of the current context.
# The objects of ours go first, while the manager is there: it alone deletes their
# clients on the token servers and lets them go. What does not go is told, and nothing
# else is removed. A namespace of the folders stays when it has what is not ours.
#
#   hack/undeploy.sh FOLDER...
#
# TIMEOUT is how many seconds the manager gets: by default more than a TokenServer's
# deletionTimeout, or 30 when no manager is seen. FORCE=1 takes our finalizer from what
# is left then, whose clients stay.
set -euo pipefail
cd "$(dirname "$0")/.."

kubectl=("${KUBECTL:-kubectl}")
# Somebody may change the current context meanwhile.
context=$("${kubectl[@]}" config current-context 2>/dev/null || true)
[[ -z $context ]] || kubectl+=(--context="$context")
kinds=(connectedapps accesstokens tokenservers)

crd() { "${kubectl[@]}" get crd "$1.connectedapps.dev" --ignore-not-found -o name; }

# of runs kubectl on a kind, which may end meanwhile, or be one that kubectl has not
# heard of yet.
of() {
  local kind=$1 tries=0 there
  shift
  while there=$(crd "$kind") || return; [[ -n $there ]]; do
    ! "${kubectl[@]}" "$1" "$kind.connectedapps.dev" --all-namespaces "${@:2}" || return 0
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
  [[ -n $("${kubectl[@]}" get deployments --all-namespaces -l app.kubernetes.io/name=connectedapps,app.kubernetes.io/component=manager \
    -o jsonpath='{.items[*].status.readyReplicas}') ]]
}

# wait_for waits until nothing is left, and prints when less is. What cannot be listed
# is not gone, and ends it all.
wait_for() {
  local end=$((SECONDS + $1)) objects count before=
  while objects=$(left) || unknown; [[ -n $objects ]]; do
    count=$(wc -l <<<"$objects")
    [[ $count == "$before" ]] || echo "… $count objects are still there"
    before=$count
    ((SECONDS < end)) || return 1
    sleep 1
  done
}

# release takes our finalizer, and no other, from what is being deleted.
release() {
  local kind namespace name patch
  for kind in "${kinds[@]}"; do
    of "$kind" get -o go-template='{{range .items}}{{if .metadata.deletionTimestamp}}{{.kind}} {{or .metadata.namespace "-"}} {{.metadata.name}} {{
      ""}}{"metadata":{"resourceVersion":"{{.metadata.resourceVersion}}","finalizers":[{{$comma := ""}}{{range .metadata.finalizers}}{{
      if ne . "connectedapps.dev/finalizer"}}{{$comma}}"{{.}}"{{$comma = ","}}{{end}}{{end}}]}}{{"\n"}}{{end}}{{end}}'
  done | while read -r kind namespace name patch; do
    "${kubectl[@]}" patch "$kind.connectedapps.dev" "$name" --namespace="${namespace/#-/default}" --type=merge --patch="$patch" || true # it may have gone
  done
}

# documents prints a line for each object of manifests as kustomize writes them: kind,
# name, namespace.
documents() {
  awk '
    function tell() { if (kind) print kind "/" name, namespace; kind = name = namespace = "" }
    /^---$/ { tell() }
    /^[a-z]/ { metadata = 0 }
    /^kind: / { kind = $2 }
    /^metadata:/ { metadata = 1 }
    metadata && /^  name: / { name = $2 }
    metadata && /^  namespace: / { namespace = $2 }
    END { tell() }'
}

# without_namespaces leaves these objects out of manifests.
without_namespaces() {
  awk '
    function tell() { if (!left_out) printf "%s", text; text = ""; left_out = 0 }
    /^---$/ { tell() }
    /^kind: Namespace$/ { left_out = 1 }
    { text = text $0 "\n" }
    END { tell() }'
}

# made is what the manager makes in its namespace.
made='^ConfigMap/tokenserver-identity-|^Lease/manager\.connectedapps\.dev( |$)| connectedapps\.dev/(tombstone|client-owner)='
made+='| app\.kubernetes\.io/managed-by=connectedapps-manager( |$)'

# contents prints a line for each object of a namespace, with its labels. What is owned
# goes with its owner.
contents() {
  local resources
  resources=$("${kubectl[@]}" api-resources --namespaced --verbs=list,delete -o name | grep -v -e '^events' -e '^endpoints' | paste -sd,) || return
  "${kubectl[@]}" get "$resources" --namespace="$1" -o go-template='{{range .items}}{{if not .metadata.ownerReferences}}{{
    .kind}}/{{.metadata.name}}{{range $key, $value := .metadata.labels}} {{$key}}={{$value}}{{end}}{{"\n"}}{{end}}{{end}}'
}

# strangers leaves of contents what no manifests have, the manager did not make, and
# Kubernetes does not make in each namespace.
strangers() {
  local namespace=$1 manifests=$2
  grep -vE -e "$made" -e ' app\.kubernetes\.io/name=connectedapps( |$)' | sed -E 's|^([^ ]+/[^ ]+) .*|\1|' |
    grep -vxF -f <(
      documents <<<"$manifests" | awk -v namespace="$namespace" '$2 == namespace { print $1 }'
      # What its Pods mount.
      sed -nE 's|^ *secretName: |Secret/|p' <<<"$manifests"
      printf '%s\n' ConfigMap/kube-root-ca.crt ServiceAccount/default
    ) || true
}

# remove deletes the objects of a folder. A namespace that has others stays, without
# what the manager made there.
remove() {
  local manifests namespace there others
  manifests=$("${kubectl[@]}" kustomize "$1")
  for namespace in $(documents <<<"$manifests" | sed -n 's|^Namespace/||p'); do
    [[ -n $("${kubectl[@]}" get namespace "$namespace" --ignore-not-found -o name) ]] || continue
    # What cannot be listed may be there.
    there=$(contents "$namespace") || there+=$'\n(not everything in it can be listed)'
    others=$(strangers "$namespace" "$manifests" <<<"$there")
    [[ -n $others ]] || continue
    printf 'The namespace %s stays, for it has what is not of this installation:\n%s\n' "$namespace" "$(sed 's/^/    /' <<<"$others")"
    echo "This removes it with all of that: kubectl delete namespace $namespace"
    without_namespaces <<<"$manifests" | "${kubectl[@]}" delete --ignore-not-found -f -
    grep -E "$made" <<<"$there" | cut -d ' ' -f 1 | xargs --no-run-if-empty "${kubectl[@]}" delete --ignore-not-found --namespace="$namespace"
    return
  done
  "${kubectl[@]}" delete --ignore-not-found -f - <<<"$manifests"
}

unknown() {
  echo "✘ what is still there cannot be listed, and nothing else was removed: come again." >&2
  exit 1
}

explain() {
  cat >&2 <<END
✘ these objects are still there, and nothing else was removed:
$(left | sed 's/^/    /')
END
  manager_runs || echo "No manager runs, which would delete their clients and let them go: start it (make deploy), and come again." >&2
  cat >&2 <<END
$([[ ${FORCE:-} == 1 ]] && echo "Our finalizer is gone from them: what else is in metadata.finalizers is for others to take." ||
    echo "To let them go as they are run the same with FORCE=1: their clients stay on the token servers, unless these go as well.")
docs/removal.md tells more.
END
  exit 1
}

echo "Removing Connected Apps by the context ${context:-(none)} from $(
  "${kubectl[@]}" config view --minify -o jsonpath='{.clusters[0].cluster.server}' 2>/dev/null)."
for kind in "${kinds[@]}"; do
  of "$kind" delete --all --wait=false || unknown
done
timeout=${TIMEOUT:-$(manager_runs && echo 660 || echo 30)}
if ! wait_for "$timeout"; then
  [[ ${FORCE:-} == 1 ]] || explain
  echo "letting go, with clients that stay behind:"
  left | sed 's/^/    /'
  release
  wait_for 10 || explain
fi

for ((i = $#; i > 0; i--)); do
  remove "${!i}"
done
kept=$("${kubectl[@]}" get secrets --all-namespaces -l connectedapps.dev/secret -o go-template='{{range .items}}    {{.metadata.namespace}}/{{.metadata.name}}{{"\n"}}{{end}}')
[[ -z $kept ]] || printf 'These Secrets stay: they are yours, or of apps that were to leave them.\n%s\n' "$kept"
