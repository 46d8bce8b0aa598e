// SPDX-License-Identifier: Apache-2.0

// Package importer makes ConnectedApps of clients that are registered elsewhere:
// on a token server or Anypoint organization, in a Keycloak realm, in Hydra or dex.
// There is a file for each source, which reads its form of a client into a draft;
// what a ConnectedApp can say of a draft is decided in one place for all.
//
// Nothing is dropped in silence: each member of the input is carried over, or is
// in a Remark, or is one that says nothing about the client, such as when it was
// changed. Client secrets are kept apart from all that is shown.
package importer
