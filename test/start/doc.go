// SPDX-License-Identifier: Apache-2.0

// Package start follows the pages of docs/start as their readers would: it runs each
// block, on a real API server with the manager, the token server and the sidecar
// as processes, and holds what is printed to what the page shows.
package start
