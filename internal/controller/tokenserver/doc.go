// SPDX-License-Identifier: Apache-2.0

// Package tokenserver is the controller of TokenServers. It asks each server
// again and again whether it can be reached, is the one it is taken for, accepts
// the manager's credentials and may be managed with them, and reports what it
// finds in the status:
//
//	inputs ──► discovery ──► identity ──► log-in and permission ──► Ready
//	Secret,    reachable?    the server   organization there?
//	ConfigMap  issuer?       we know?
//
// A server that was found well is handed to the other controllers as an
// inventory.Connection; one that must not be used is taken away from them. It
// knows nothing of apps, but that a TokenServer in use is not deleted under them.
package tokenserver
