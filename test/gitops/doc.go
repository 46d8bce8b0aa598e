// SPDX-License-Identifier: Apache-2.0

// Package gitops tests what tools see that keep a cluster as a repository says:
// kubectl, kustomize, Argo CD, and those that read statuses by the rules of kstatus,
// as Flux does. Of Argo CD and Flux it is what they ask and write, by their engines:
// Lua, CEL, kustomize, Helm and server-side apply under their names. Everything else
// is real: the control plane, the controllers, the token server and kubectl.
package gitops
