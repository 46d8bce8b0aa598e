// SPDX-License-Identifier: Apache-2.0

// Package injection lets Pods get their refresher, by the policy config/injection
// on a real API server and by the kustomize component config/components/refresher,
// and compares the two. The Pods are those that kube-controller-manager makes of
// workloads.
package injection
