// SPDX-License-Identifier: Apache-2.0

// Package text owns the rules for text that strangers choose, each in one
// place: how names of users and organizations are compared, how a password is
// prepared, which characters people and logs must not be shown, how base64 is
// read, and how random text is made. It knows no protocol and imports nothing
// of ours.
package text
