// SPDX-License-Identifier: Apache-2.0

// Package gitops tests what tools see that keep a cluster as a repository says:
// kubectl, kustomize, and those that read statuses by the rules of kstatus, as Flux
// does. Everything is real: the control plane, the controllers, the token server
// and kubectl.
package gitops
