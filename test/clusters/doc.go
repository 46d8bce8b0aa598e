// SPDX-License-Identifier: Apache-2.0

// Package clusters tests two clusters, each with its control plane and its
// manager, on one token server: neither takes what is the other's.
package clusters
