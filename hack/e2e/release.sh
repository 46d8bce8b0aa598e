#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes the release that README.md installs, of the files as they are now:
#
#   hack/e2e/release.sh FOLDER REGISTRY
#
# A release is made of a commit whose changelog has its version. So FOLDER becomes a
# repository with a copy of the files, and FOLDER/dist has the release. The same files
# give the same commit: what was built for it before is not built again.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p "$1"
folder=$(cd "$1" && pwd)
registry=$2

version=$(grep -oP -m 1 -- 'helm install .*--version \K\S+' README.md)
day=$(git log -1 --format=%cs)
find "$folder" -mindepth 1 -maxdepth 1 ! -name bin ! -name dist -exec rm -rf {} +
git ls-files -z --cached --others --exclude-standard |
  while IFS= read -r -d '' file; do [[ ! -e $file ]] || printf '%s\0' "$file"; done |
  tar --create --null --files-from=- | tar --extract --directory "$folder"

cd "$folder"
grep -qF "## [$version]" CHANGELOG.md || sed -i "s/^## \[Unreleased\]\$/&\n\n## [$version] - $day/" CHANGELOG.md
export GIT_AUTHOR_DATE="${day}T00:00:00Z" GIT_COMMITTER_DATE="${day}T00:00:00Z"
git init --quiet
git add --all
git -c user.name=e2e -c user.email=e2e@example.com -c commit.gpgsign=false -c core.hooksPath=/dev/null commit --quiet --message="v$version"
# What the make around this was told is not for this one. Nobody installs the plugin
# here: it is built for one platform, since each takes minutes the first time.
MAKEFLAGS='' make release VERSION="v$version" REGISTRY="$registry" DOWNLOADS="https://example.com/releases/v$version" DIST=dist PLUGINS=linux/amd64
