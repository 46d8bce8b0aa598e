# SPDX-License-Identifier: Apache-2.0
#
# Runs a program until nobody holds the other end of the standard input any more,
# then ends it, and removes FOLDER unless it was told "keep".
#
#   sh -c "$(cat keep.sh)" sh FOLDER SIGNAL PROGRAM [argument...]
folder=$1
signal=$2
shift 2
trap '' INT TERM HUP

"$@" </dev/null >>"$folder/log" 2>&1 &
program=$!
said=$(cat)
# One that was frozen hears no other signal.
for pid in $program $(cat /proc/$program/task/$program/children 2>/dev/null); do
  kill -CONT "$pid" 2>/dev/null
done
# PostgreSQL that is killed leaves shared memory behind.
kill "-$signal" $program 2>/dev/null
(
  for _ in $(seq 200); do sleep 0.1; done
  kill -KILL $program
) >/dev/null 2>&1 &
guard=$!
wait $program
kill -KILL $guard 2>/dev/null
[ "$said" = keep ] || rm -rf "$folder"
