#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes sure that commands exist: installs their Debian packages when it can,
# otherwise says what to install.
#
#   hack/need.sh COMMAND...
set -euo pipefail

package() {
  case $1 in
  gcc) echo gcc libc6-dev ;; # the race detector links with it
  npm) echo npm ;;
  ip) echo iproute2 ;;
  nft) echo nftables ;;
  unshare | setpriv) echo util-linux ;;
  node) echo nodejs ;;
  javac) echo default-jdk-headless ;;
  chromium) echo chromium fonts-dejavu-core ;;
  postgres) echo postgresql ;;
  *) echo "$1" ;;
  esac
}

exists() {
  if [[ $1 == chromium ]]; then
    [[ -n ${CHROMIUM:-} ]] || command -v google-chrome >/dev/null && return
  fi
  if [[ $1 == libseccomp-dev ]]; then
    pkg-config --exists libseccomp 2>/dev/null
    return
  fi
  if [[ $1 == lib*-java ]]; then
    [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
    return
  fi
  if [[ $1 == python3-* ]]; then # a package for Debian's own Python
    /usr/bin/python3 -c "import ${1#python3-}" 2>/dev/null
    return
  fi
  # Debian keeps these out of the PATH, or of that of users.
  compgen -G "/usr/lib/postgresql/*/bin/$1" >/dev/null || command -v "$1" >/dev/null || [[ -x /usr/sbin/$1 ]]
}

missing=()
packages=()
for name in "$@"; do
  exists "$name" && continue
  missing+=("$name")
  read -ra found <<<"$(package "$name")"
  packages+=("${found[@]}")
done
((${#missing[@]})) || exit 0

root=()
((EUID == 0)) || root=(sudo -n)
if ! command -v apt-get >/dev/null || { ((EUID != 0)) && ! sudo -n true 2>/dev/null; }; then
  echo "missing: ${missing[*]}. Please install them and run this again." >&2
  exit 1
fi

echo "  installing ${packages[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() { DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get install -y --no-install-recommends "${packages[@]}" >"$log" 2>&1; }
install || { "${root[@]}" apt-get update >/dev/null 2>&1 && install; } || {
  tail -n 5 "$log" >&2
  echo "missing: ${missing[*]}. Installing ${packages[*]} with apt-get ended with an error." >&2
  exit 1
}
