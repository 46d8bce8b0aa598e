// SPDX-License-Identifier: Apache-2.0

package text

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
)

// Username returns the form in which user names are compared, wherever they come
// from: the UsernameCaseMapped profile (lower case, NFC, narrow letters). Two
// names are the same account if and only if their forms are equal, so ilker and
// ılker are two, a composed and a decomposed ë one.
//
// The profile alone knows no space. A name is one or more userparts with single
// spaces between them, the construct of RFC 8265 section 3.5, since directories
// hold names like "first last"; each userpart satisfies the profile.
//
// The error names the character that a name must not have. Format characters,
// such as overrides of the direction, are refused even where the profile would
// take a joiner: nobody sees them.
// https://www.rfc-editor.org/rfc/rfc8265#section-3.3
func Username(name string) (string, error) {
	if err := Shown(name); err != nil {
		return "", err
	}
	parts := strings.Split(name, " ")
	for i, part := range parts {
		switch {
		case name == "":
			return "", errors.New("is empty")
		case part == "":
			return "", errors.New("has a space at its begin or end, or two in a row")
		}
		folded, err := precis.UsernameCaseMapped.String(part)
		if err != nil || folded == "" {
			return "", wrongUserpart(part)
		}
		parts[i] = folded
	}
	return strings.Join(parts, " "), nil
}

// wrongUserpart names the character because of which the profile refuses part.
func wrongUserpart(part string) error {
	for _, r := range part {
		if _, err := precis.UsernameCasePreserved.String(string(r)); err != nil && !unicode.IsMark(r) {
			return fmt.Errorf("contains the character %q (U+%04X), which a user name cannot have", r, r)
		}
	}
	return errors.New("has a character where it cannot stand, or mixes right-to-left and left-to-right letters in one word")
}

// Name returns the form in which names of organizations are compared, the Nickname
// profile: without regard to case, compatibility forms and space around. A name the
// profile refuses equals nothing.
// https://www.rfc-editor.org/rfc/rfc8266#section-2
func Name(name string) (string, error) { return precis.Nickname.CompareKey(name) }

// Password returns the form in which a password is hashed and compared: the
// OpaqueString profile (NFC, every kind of space as the plain one). Printable
// ASCII stays as it is. The error does not repeat the password.
// https://www.rfc-editor.org/rfc/rfc8265#section-4.2
func Password(password string) (string, error) {
	if !utf8.ValidString(password) {
		return "", errors.New("is not valid UTF-8")
	}
	prepared, err := precis.OpaqueString.String(password)
	switch {
	case password == "":
		return "", errors.New("is empty")
	case err != nil:
		return "", errors.New("has a control character, or another that passwords cannot have (RFC 8265 section 4)")
	}
	return prepared, nil
}
