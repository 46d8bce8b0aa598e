// SPDX-License-Identifier: Apache-2.0

// Package kubesecret publishes a token in a Kubernetes Secret that several
// refreshers share. It speaks to the API server with net/http alone, since a
// Kubernetes client is larger than the whole refresher.
//
// The Secret is like that of an AccessToken: the same keys, the same annotations.
// It is the refreshers' when it has their label, and nobody else's is written:
//
//	GET ──┬── there, with the label ──► PATCH with its resourceVersion
//	      ├── not there ──► APPLY, which creates it with label and token
//	      └── anything else ──► refresher.ErrNotOurs
//
// A POST would need the right to create Secrets of any name. An apply names what
// it creates, so that the rights get, patch and create of one name are enough.
package kubesecret
