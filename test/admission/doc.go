// SPDX-License-Identifier: Apache-2.0

// Package admission attacks the policies of config/admission on a real API
// server, as tenants who may write ConnectedApps in a namespace of their own.
package admission
