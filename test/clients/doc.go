// SPDX-License-Identifier: Apache-2.0

// Package clients drives the token server with client libraries that others
// wrote: golang.org/x/oauth2 with go-oidc, zitadel's relying party, npm's
// openid-client and oauth4webapi, kube-apiserver, and oauth2-proxy. It also runs the
// examples of docs/ that read tokens; programs/ has what these need built, in a
// module of its own.
package clients
