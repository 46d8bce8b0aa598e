# SPDX-License-Identifier: Apache-2.0
#
# Runs a program until nobody holds the other end of the standard input any more,
# then kills it and removes FOLDER.
#
#   sh -c "$(cat beside.sh)" sh FOLDER PROGRAM [argument...]
folder=$1
shift
trap '' INT TERM HUP

"$@" </dev/null >"$folder/log" 2>&1 &
cat >/dev/null
kill -KILL $! 2>/dev/null
wait
rm -rf "$folder"
