#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The first process of the namespaces that hack/e2e.sh makes: prepares them,
# starts a registry with the images and the cluster, and runs the program.
#
#   hack/e2e/inside.sh FOLDER COMMAND...
set -euo pipefail
work=$1
root=$PWD
shift

# shellcheck source=hack/e2e/cgroups.sh
. "$root/hack/e2e/cgroups.sh"

fail() {
  echo "✘ $1" >&2
  exit 1
}

network() {
  ip link set lo up
  # The node's address, and a route to those of Services, which kube-proxy turns
  # into one to Pods. Nothing leads out.
  ip addr add 10.250.0.1/32 dev lo
  ip route add default dev lo src 10.250.0.1
  echo 1 >/proc/sys/net/ipv4/ip_forward
}

# What programs write to places of the machine goes to the folder.
mounts() {
  local folder
  mount -t tmpfs -o mode=755 tmpfs /run
  mkdir -p /run/lock
  [[ -L /var/run ]] || mount --bind /run /var/run
  for folder in log lib/kubelet lib/cni; do
    mkdir -p "$work/var/$folder"
    mount --bind "$work/var/$folder" "/var/$folder"
  done
}

# The kubelet sets these for the whole kernel: it finds them set.
kernel_settings() {
  local name value
  mkdir "$work/settings"
  while read -r name value; do
    [[ -e /proc/sys/$name ]] || continue
    echo "$value" >"$work/settings/${name##*/}"
    mount --bind "$work/settings/${name##*/}" "/proc/sys/$name"
  done <<'SETTINGS'
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
SETTINGS
}

# The node pulls what people would push, and nothing else: there is no way to any
# other registry. Runtimes ask those on loopback over plain http.
registry() {
  local images
  read -r _ < <(exec "$root/bin/registry" -address 127.0.0.1:5000 "$work/registry") || fail "the registry did not start"
  for images in "$IMAGES" "$root/bin/images"; do
    "$root/bin/release" push -images="$images" -registry=127.0.0.1:5000/connectedapps -tag=dev
  done
}

cluster() {
  export KUBECONFIG=$work/kubeconfig PATH=$root/bin/node:$PATH
  SECONDS=0
  local next=2
  "$root/bin/cluster" --assets "$KUBEBUILDER_ASSETS" --controller-manager "$KUBE_CONTROLLER_MANAGER" --node "$root/bin/node" \
    --dir "$work/cluster" --kubeconfig "$KUBECONFIG" &
  until [[ -f $KUBECONFIG ]]; do
    kill -0 $! 2>/dev/null || fail "the cluster did not start"
    if ((SECONDS >= next)); then
      echo "  waiting for the node, ${SECONDS}s"
      next=$((SECONDS + 5))
    fi
    sleep 0.2
  done
}

# The ends of the logs tell what the program could not see.
logs() {
  local log
  for log in containerd kubelet kube-proxy; do
    echo "the end of $log.log:"
    tail -n 15 "$work/cluster/$log.log" | cut -c -300 | sed 's/^/  /'
  done
}

hostname node
network
mounts
mount_cgroups "$work/cgroups"
kernel_settings
registry
# The runtime makes mounts that its containers see.
mount --make-rshared /
cluster
mkdir -m 0777 "$work/volume"
export E2E_VOLUME=$work/volume
"$@" || {
  code=$?
  logs >&2
  exit "$code"
}
