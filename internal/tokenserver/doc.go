// SPDX-License-Identifier: Apache-2.0

// Package tokenserver builds the token server from its configuration and mounts
// its endpoints. Nothing imports it but the command and tests.
package tokenserver
