// SPDX-License-Identifier: Apache-2.0

// Package admission holds the admission policies for programs that judge
// manifests without an API server.
package admission

import _ "embed"

// ReservedNames is the policy about the names of Secrets in the manager's
// namespace, and its binding.
//
//go:embed reserved_names.yaml
var ReservedNames []byte
