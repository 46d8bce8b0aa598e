# SPDX-License-Identifier: Apache-2.0
#
# Reads process ids from the lifeline until nobody holds its other end any more,
# then kills the processes and removes FOLDER.
#
#   sh -c "$(cat watch.sh)" sh FOLDER <FOLDER/lifeline
folder=$1
trap '' INT TERM HUP

pids=
listen() {
  while read -r line; do
    case $line in
    stopped) pids= ;; # their ids may be those of others by now
    *) pids="$pids $line" ;;
    esac
  done
}
listen

# From here on run.sh finds no lifeline. What it wrote before is read once more.
mv "$folder" "$folder.ended"
listen
# shellcheck disable=SC2086 # a list
[ -z "$pids" ] || kill -KILL $pids 2>/dev/null
# A process that is being killed may still write.
for _ in 1 2 3 4 5 6 7 8 9 10; do
  rm -rf "$folder.ended" 2>/dev/null && exit
  sleep 0.1
done
rm -rf "$folder.ended"
