// SPDX-License-Identifier: Apache-2.0

// Package docs holds the documentation to its word.
package docs
