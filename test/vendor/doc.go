// SPDX-License-Identifier: Apache-2.0

// Package vendor runs the platform's own connected-app examples, as they are
// printed, against the real token server: examples.sh is the script, and the
// test starts a server for it.
package vendor
