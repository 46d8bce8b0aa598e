// SPDX-License-Identifier: Apache-2.0

// Package tracing tests that one trace leads from a pass of the manager to the
// database of the token server: the control plane, the manager, the token server and
// the decoder of the collector are real.
package tracing
