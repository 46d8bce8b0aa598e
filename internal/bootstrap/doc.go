// SPDX-License-Identifier: Apache-2.0

// Package bootstrap makes what the bundled token server needs before anything
// else can run: the administrator's credentials, the encryption key of its
// database, and a certificate. All of it goes into Secrets in the manager's
// namespace under fixed names, which the token server mounts.
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
// Credentials and the key are made when they are absent and never changed: what
// they protect depends on them. A key that was handed out is never replaced by
// another. Certificates are renewed in time. What carries a name of these but
// was made by somebody else is used, never changed; when it cannot be used, that
// is said.
package bootstrap
