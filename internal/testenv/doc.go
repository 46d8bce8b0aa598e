// SPDX-License-Identifier: Apache-2.0

// Package testenv gives tests a real control plane: etcd and kube-apiserver
// with the CRDs of config/crd, and the manager's controllers when asked for.
// It has no fakes and never skips: without the binaries a test fails and says
// how to get them.
package testenv
