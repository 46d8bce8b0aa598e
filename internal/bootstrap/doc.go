// SPDX-License-Identifier: Apache-2.0

// Package bootstrap makes what the bundled token server needs before anything
// else can run: the administrator's credentials, the encryption key of its
// database, and a certificate. All of it goes into Secrets in the manager's
// namespace under fixed names, which the token server mounts.
//
// Credentials and key are made when they are absent and never changed: what
// they protect depends on them. Certificates are renewed in time. What carries
// a name of these but was made by somebody else is used, never changed.
package bootstrap
