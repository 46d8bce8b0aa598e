// SPDX-License-Identifier: Apache-2.0

// Package rollout restarts the workloads that cannot read a Secret again, once
// for each change of what is in it and never for anything else.
//
// What it goes by is noted on the workload itself, in annotations under
// restart.connectedapps.dev/: a restart of the manager, an upgrade or a copy that
// is put back restarts nothing, and a change that nobody was there to see is made
// up for. On the workload's own metadata, where a change starts no Pod:
//
//	app-gitproxy:   3f2a…          the content that its Pods started with
//	token-gitproxy: 3f2a… 77b0…    and the one that they do not have yet
//	at:             2026-11-23T…   when they are restarted, or were the last time
//
// On its Pod template, where a change is a roll-out, the content they were
// restarted for:
//
//	token-gitproxy: 77b0…
//
// The first content that is seen is only noted. A change waits for a moment, for
// others that come with it, such as the tokens of an app whose client secret was
// replaced, and for the window of the roll-out before; then all of them together
// are one roll-out. An object that no longer names a workload leaves its notes
// there, since to take them off a template would restart it too.
//
// All is written by one server-side apply, as one field manager, which carries the
// version it was decided from, and so neither makes a workload nor loses what was
// noted for another object meanwhile. Replicas and all else are left out of it.
package rollout
