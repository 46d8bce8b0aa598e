// SPDX-License-Identifier: Apache-2.0

package text

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
)

// ErrLineEnd says that there is a line end where none may be.
var ErrLineEnd = errors.New("it contains a line end")

// DecodeBase64 decodes what a stranger sent. The decoder of the standard
// library skips carriage return and line feed even when strict, so one token
// would have many spellings: here they are refused.
// https://www.rfc-editor.org/rfc/rfc4648#section-3.3
func DecodeBase64(encoding *base64.Encoding, s string) ([]byte, error) {
	if err := OneLine(s); err != nil {
		return nil, err
	}
	return encoding.DecodeString(s)
}

var strictURL = base64.RawURLEncoding.Strict()

// DecodeBase64URL decodes base64url without padding, in its one spelling.
func DecodeBase64URL(s string) ([]byte, error) { return DecodeBase64(strictURL, s) }

// OneLine returns ErrLineEnd for a text with a line end: the check for those
// whose decoder is not ours, such as JWTs.
func OneLine(s string) error {
	if strings.IndexByte(s, '\n') >= 0 || strings.IndexByte(s, '\r') >= 0 {
		return ErrLineEnd
	}
	return nil
}

// Random is n random bytes as base64url without padding.
func Random(n int) string { return base64.RawURLEncoding.EncodeToString(RandomBytes(n)) }

// RandomHex is n random bytes as 2n lower-case hex digits.
func RandomHex(n int) string { return hex.EncodeToString(RandomBytes(n)) }

// RandomBytes are n bytes that nobody can guess. It cannot fail: crypto/rand ends
// the process instead.
func RandomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// RandomBase62 is n random letters and digits, each drawn with the same chance:
// bytes that would favour some are drawn again.
func RandomBase62(n int) string {
	const fair = 256 - 256%len(base62)
	text := make([]byte, 0, n)
	for len(text) < n {
		for _, b := range RandomBytes(n) {
			if int(b) < fair && len(text) < n {
				text = append(text, base62[int(b)%len(base62)])
			}
		}
	}
	return string(text)
}
