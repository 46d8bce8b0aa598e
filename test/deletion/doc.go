// SPDX-License-Identifier: Apache-2.0

// Package deletion deletes apps in every way that Kubernetes knows and in every
// state that they may be in, and looks for what stays behind: on the token server,
// in their namespace, and in the manager's. Everything is real: the control plane
// with its garbage collector, the controllers, the token server and kubectl.
package deletion
