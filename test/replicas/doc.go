// SPDX-License-Identifier: Apache-2.0

// Package replicas tests an installation of the token server as it runs in
// production: three processes of the built binary on one PostgreSQL behind a TCP
// balancer. Between each of them and the database stands a network that can be slow,
// break or go silent.
//
// start makes one; everything about it is in installation_test.go.
package replicas
