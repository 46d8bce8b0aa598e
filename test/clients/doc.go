// SPDX-License-Identifier: Apache-2.0

// Package clients drives the token server with client libraries that others
// wrote: golang.org/x/oauth2 with go-oidc, zitadel's relying party, npm's
// openid-client and oauth4webapi, and kube-apiserver.
package clients
