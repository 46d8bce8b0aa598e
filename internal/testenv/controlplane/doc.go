// SPDX-License-Identifier: Apache-2.0

// Package controlplane runs etcd and kube-apiserver for a test process, and
// ends them with it, also when it panics or is killed.
//
// envtest starts the two, in process groups of their own, and ends them when it
// is asked to; a process that is killed asks nobody. So it starts them by way of
// a script that gives their process ids to a watcher. The watcher sees the end
// of the test process as the end of what it reads:
//
//	test process ─── lifeline ──▶ watcher (watch.sh): at its end kills both and
//	     │              ▲                  removes the folder
//	     │              │ process id
//	     └─ envtest ─▶ run.sh, then etcd or kube-apiserver
package controlplane
