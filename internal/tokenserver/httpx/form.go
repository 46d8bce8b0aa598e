// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"
)

// What the parameters of a request may be together: their length in bytes, and
// their number.
const (
	MaxParameterBytes = 64 << 10
	MaxParameters     = 100
)

// ParseForm reads a form or a query as every browser does
// (https://url.spec.whatwg.org/#urlencoded-parsing): a semicolon and a percent
// sign that begins no escape are text. An error says that there is too much of
// it or that a text is no UTF-8, in words that an error description may hold.
func ParseForm(raw string) (url.Values, error) {
	if len(raw) > MaxParameterBytes {
		return nil, fmt.Errorf("the parameters are longer than %d KiB", MaxParameterBytes>>10)
	}
	values, left := url.Values{}, MaxParameters
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		if left == 0 {
			return nil, fmt.Errorf("there are more than %d parameters", MaxParameters)
		}
		left--
		name, value, _ := strings.Cut(pair, "=")
		name, value = formText(name), formText(value)
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return nil, fmt.Errorf("the parameter %s is not valid UTF-8", printable(name))
		}
		values[name] = append(values[name], value)
	}
	return values, nil
}

// formText decodes what is an escape and keeps what is not.
func formText(text string) string {
	if !strings.ContainsAny(text, "%+") {
		return text
	}
	decoded := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '+':
			decoded = append(decoded, ' ')
		case c == '%' && i+2 < len(text) && isHex(text[i+1]) && isHex(text[i+2]):
			decoded = append(decoded, hexValue(text[i+1])<<4|hexValue(text[i+2]))
			i += 2
		default:
			decoded = append(decoded, c)
		}
	}
	return string(decoded)
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func hexValue(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}

// printable keeps an error description within the characters RFC 6749 section
// 5.2 allows.
func printable(text string) string {
	const limit = 120
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r < ' ' || r > '~' || r == '\\':
			return '?'
		}
		return r
	}, text)
	return text[:min(len(text), limit)]
}
