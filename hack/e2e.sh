#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs a program beside a Kubernetes cluster with a node that runs real Pods.
# "make test-e2e" builds what this needs and runs the tests of test/e2e. IMAGES is
# the OCI layout that "make images" wrote.
#
#   hack/e2e.sh COMMAND...
#
# The cluster, its containers and the program live in namespaces of their own
# (network, mounts, processes, cgroups) that have no way out, and below one
# cgroup. Nothing of the machine is changed, and nothing is left behind, however
# this ends.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

: "${KUBEBUILDER_ASSETS:?run this with make test-e2e}" "${KUBE_CONTROLLER_MANAGER:?run this with make test-e2e}" "${IMAGES:?run this with make test-e2e}"

fail() {
  echo "✘ $1" >&2
  exit 1
}

# shellcheck source=hack/e2e/cgroups.sh
. hack/e2e/cgroups.sh

check_machine() {
  [[ $(uname -s) == Linux ]] || fail "a node needs Linux, and this is $(uname -s)"
  ((EUID == 0)) || fail "a node needs root, for namespaces, mounts and cgroups: run this as root, for example with sudo -E make test-e2e"
  hack/need.sh unshare setpriv ip nft
  unshare --mount --net --pid --ipc --uts --cgroup --fork --kill-child true 2>/dev/null ||
    fail "the kernel gives no new namespaces: $(unshare --mount --net --pid --ipc --uts --cgroup --fork --kill-child true 2>&1)"
  unshare --mount mount -t tmpfs tmpfs /mnt 2>/dev/null || fail "root may mount nothing here: a container must be privileged for this"
  unshare --net ip link add name probe0 type veth peer name probe1 2>/dev/null || fail "the kernel has no network devices of type veth (module veth)"
  unshare --net nft add table ip a 2>/dev/null || fail "the kernel has no nftables (module nf_tables)"
  [[ -d /sys/fs/cgroup ]] || fail "no cgroups are mounted at /sys/fs/cgroup"
}

check_machine
umask 022
work=$(mktemp -d "${TMPDIR:-/tmp}/connectedapps-e2e.XXXXXX")
mkfifo "$work/lifeline"

# What tidies up sees the end of this shell, however it comes about: then the
# other end of the pipe closes, for nothing else inherits it.
setsid "$root/hack/e2e/tidy.sh" "$work" <"$work/lifeline" &
tidier=$!
exec {lifeline}>"$work/lifeline"

finish() {
  local code=$?
  trap '' INT TERM HUP
  # This shell would tell of each process that is ended now.
  exec 2>/dev/null
  exec {lifeline}>&-
  wait "$tidier" || code=1
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

make_cgroups "$work/cgroups"
for folder in kubelet cni; do
  [[ -d /var/lib/$folder ]] || { mkdir "/var/lib/$folder" && echo "/var/lib/$folder" >>"$work/mountpoints"; }
done

# In a session of its own, a terminal's interrupt reaches this shell alone.
(
  exec {lifeline}>&-
  join_cgroups "$work/cgroups"
  exec setsid setpriv --pdeathsig KILL \
    unshare --mount --net --pid --ipc --uts --cgroup --fork --kill-child --mount-proc "$root/hack/e2e/inside.sh" "$work" "$@"
) &
echo $! >"$work/namespaces"
wait $!
