// SPDX-License-Identifier: Apache-2.0

// Package crd holds the CustomResourceDefinitions for programs that judge
// manifests without an API server.
package crd

import "embed"

// Bases are the definitions, one in each file of the folder bases.
//
//go:embed bases/*.yaml
var Bases embed.FS
