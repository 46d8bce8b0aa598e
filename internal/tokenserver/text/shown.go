// SPDX-License-Identifier: Apache-2.0

package text

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Shown checks text that people or logs will be shown: one line of UTF-8 without
// control characters and without format characters (Unicode Cf), which are not
// seen themselves but turn around, hide or split what is. The error names the
// first such character, to follow the name of the text.
func Shown(s string) error {
	if !utf8.ValidString(s) {
		return errors.New("is not valid UTF-8")
	}
	at := strings.IndexFunc(s, hidden)
	if at < 0 {
		return nil
	}
	r, _ := utf8.DecodeRuneInString(s[at:])
	if unicode.IsControl(r) {
		return fmt.Errorf("contains a control character (U+%04X)", r)
	}
	return fmt.Errorf("contains a format character (U+%04X), which is invisible and changes what is seen", r)
}

// Clean drops from s what Shown refuses, so that it cannot break out of its line
// in a log nor change how the rest of the line looks.
func Clean(s string) string {
	if plain(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if hidden(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// plain tells that s is printable ASCII alone, as nearly all that is logged is.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// hidden are control and format characters, and the separators of lines and
// paragraphs.
func hidden(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) }

// Description makes s fit for an error_description: printable ASCII without
// double quote and backslash.
// https://www.rfc-editor.org/rfc/rfc6749#section-5.2
func Description(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r < ' ' || r > '~' || r == '\\':
			return '?'
		}
		return r
	}, s)
}
