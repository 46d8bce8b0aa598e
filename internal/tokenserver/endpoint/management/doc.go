// SPDX-License-Identifier: Apache-2.0

// Package management owns the HTTP side of the management API: registering,
// listing, changing and deleting connected apps, their scopes and their
// secrets, and the catalogue of scopes. It parses, decides who may call, asks
// the storage and writes; it issues no token and authenticates no client.
//
// Every path exists twice, bare and under /organizations/{orgId}. The bare form
// means the organization of the token.
package management
