// SPDX-License-Identifier: Apache-2.0

// Package token issues and verifies access tokens and knows which of them have
// been revoked. It decides nothing about who may have one: grants do.
package token
