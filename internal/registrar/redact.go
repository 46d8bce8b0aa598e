// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"regexp"
	"strings"
	"unicode"
)

// maxMessage bounds the words of a server in an error, in bytes.
const maxMessage = 400

// secretLike matches what looks like a client secret or a token, whoever put it
// into a message: the secrets of the bundled server, JSON Web Tokens, and the
// value of a member or parameter that is called a secret, a token or a password.
var secretLike = regexp.MustCompile(
	`cas_[0-9A-Za-z]{8,}` +
		`|eyJ[0-9A-Za-z_-]{8,}(\.[0-9A-Za-z_-]*)*` +
		`|(?i:(secret|token|password|assertion)["']?\s*[:=]\s*["']?[^\s"',;&]{4,})`)

// query matches the query of a URL.
var query = regexp.MustCompile(`(https?://[^\s?"']*)\?[^\s"']*`)

// redactor cleans the words of others for an error text.
type redactor struct {
	secrets []string
}

func newRedactor(secrets ...string) *redactor { return &redactor{secrets: secrets} }

// clean makes one printable line of bounded length without the secrets that are
// known, those in also, and anything that looks like one.
func (r *redactor) clean(text string, also ...string) string {
	const redacted = "[redacted]"
	for _, secrets := range [][]string{r.secrets, also} {
		for _, secret := range secrets {
			if secret != "" {
				text = strings.ReplaceAll(text, secret, redacted)
			}
		}
	}
	text = secretLike.ReplaceAllString(text, redacted)
	text = query.ReplaceAllString(text, "$1")
	text = strings.ToValidUTF8(text, "")
	text = strings.Join(strings.FieldsFunc(text, func(c rune) bool { return unicode.IsSpace(c) || !unicode.IsPrint(c) }), " ")
	if len(text) <= maxMessage {
		return text
	}
	return strings.ToValidUTF8(text[:maxMessage], "") + "..."
}
