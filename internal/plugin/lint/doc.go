// SPDX-License-Identifier: Apache-2.0

// Package lint judges manifests without a cluster: objects of our kinds as the
// API server would judge them when they are created, by the same code and the same
// CustomResourceDefinitions; apps by the access rules of TokenServers that are
// given; and workloads that read one of our Secrets in a way that a rotation does
// not reach. It reads no files and asks nobody.
package lint
