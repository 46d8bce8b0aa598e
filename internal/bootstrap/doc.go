// SPDX-License-Identifier: Apache-2.0

// Package bootstrap makes what the bundled token server needs before anything
// else can run: the encryption key of its database, and a certificate. All of it
// goes into Secrets in the manager's namespace under fixed names, which the token
// server mounts. Credentials are none of it: the manager logs in with tokens of
// its ServiceAccount.
//
//	Secret tokenserver-ca ──► ConfigMap tokenserver-ca ──► Secret tokenserver-tls
//	the authority, and        what clients trust           signed by an authority
//	every earlier one                                      that clients trust
//
//	Secret tokenserver-keys ──► ConfigMap tokenserver-keys
//	the encryption key          its id, which outlives the Secret
//
// Arrows are the order of writing. Each write is a creation, or carries the
// resource version that was read before what it derives from, so that any number
// of managers that end between any two writes leave no certificate that nobody
// trusts. What is deleted or damaged comes back as soon as a watch tells.
//
// The key is made when it is absent and never changed: what it protects depends on
// it. A key that was handed out is never replaced by another. Certificates are
// renewed in time. What carries a name of these but was made by somebody else is
// used, never changed; when it cannot be used, that is said.
package bootstrap
