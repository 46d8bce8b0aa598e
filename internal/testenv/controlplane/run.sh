#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Becomes the program of the control plane that it is named after, once watch.sh
# has its process id. Without the lifeline there is nothing to run for.
folder=${0%/*}
program=${0##*/}

# envtest asks what flags there are: that ends by itself.
[ "${1-}" = --help ] || echo $$ >"$folder/lifeline" || exit 1
exec "$folder/assets/$program" "$@"
