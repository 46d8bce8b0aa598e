# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# One cgroup for the whole node, in every hierarchy of the machine: there is one
# with cgroup v2, and one for each controller with v1.

cgroup2() { [[ $(stat -fc %T /sys/fs/cgroup) == cgroup2fs ]]; }

# make_cgroups LIST makes the cgroups and writes their folders to a file, each
# before it is there.
make_cgroups() {
  local name=connectedapps-e2e-$$ controllers path folder
  if cgroup2; then
    # The controllers of a cgroup are its parent's to give, and a parent that has
    # processes gives none: this one is below the root, which always may.
    add_cgroup "$1" "/sys/fs/cgroup/$name"
    enable_controllers /sys/fs/cgroup ||
      fail "the controllers cpu, memory and pids cannot be had at /sys/fs/cgroup: a container must have the cgroups of its host for this"
    return
  fi
  # What limits this shell limits its cgroup.
  while IFS=: read -r _ controllers path; do
    folder=/sys/fs/cgroup/${controllers#name=}
    [[ -n $controllers && -d $folder ]] || continue
    [[ ! -d $folder$path ]] || folder=$folder${path%/}
    add_cgroup "$1" "$folder/$name"
    if [[ $controllers == cpuset ]]; then
      cat "$folder/cpuset.cpus" >"$folder/$name/cpuset.cpus"
      cat "$folder/cpuset.mems" >"$folder/$name/cpuset.mems"
      echo 1 >"$folder/$name/cgroup.clone_children"
    fi
  done </proc/self/cgroup
  for controllers in cpu memory pids; do
    grep -q "/sys/fs/cgroup/[^ ]*$controllers" "$1" || fail "the kernel has no cgroup controller $controllers"
  done
}

add_cgroup() { # LIST FOLDER
  echo "$2" >>"$1"
  mkdir "$2" || fail "a node needs cgroups of its own: $2 cannot be made"
}

enable_controllers() { # FOLDER
  local controller
  for controller in cpu cpuset io memory pids; do
    grep -qw "$controller" "$1/cgroup.controllers" && echo "+$controller" >"$1/cgroup.subtree_control" 2>/dev/null
  done
  grep -qw memory "$1/cgroup.subtree_control" && grep -qw pids "$1/cgroup.subtree_control"
}

# join_cgroups LIST moves this shell into them.
join_cgroups() {
  local folder
  while read -r folder; do
    echo "$BASHPID" >"$folder/cgroup.procs"
  done <"$1"
}

# mount_cgroups LIST shows, in a cgroup namespace, what is below them and nothing
# else of the machine.
mount_cgroups() {
  local folder name
  if cgroup2; then
    umount -R /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    # As above: what gives controllers to Pods has no processes itself.
    mkdir /sys/fs/cgroup/init
    while read -r name; do echo "$name" >/sys/fs/cgroup/init/cgroup.procs || true; done </sys/fs/cgroup/cgroup.procs
    enable_controllers /sys/fs/cgroup
    return
  fi
  umount -R -l /sys/fs/cgroup
  mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
  while read -r folder; do
    name=${folder#/sys/fs/cgroup/}
    name=${name%%/*}
    mkdir "/sys/fs/cgroup/$name"
    if [[ $name == systemd ]]; then
      mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
    else
      mount -t cgroup -o "$name" cgroup "/sys/fs/cgroup/$name"
    fi
  done <"$1"
}

# remove_cgroups LIST removes them once their processes have ended.
remove_cgroups() {
  local folder
  while read -r folder; do
    for _ in {1..100}; do
      [[ -d $folder ]] || break
      find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
    done
    [[ ! -d $folder ]] || echo "✘ $folder could not be removed" >&2
  done <"$1"
}
