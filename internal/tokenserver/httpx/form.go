// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"connectedapps.dev/operator/internal/oauth"
)

// What the parameters of a request may be together: their length in bytes, and
// their number.
const (
	MaxParameterBytes = 64 << 10
	MaxParameters     = 100
)

// FormLimits are what a form may be at most: its length in bytes, and how many
// parameters it has.
type FormLimits struct{ Bytes, Parameters int }

// ParseForm reads a query, or a form of the usual size.
func ParseForm(raw string) (url.Values, error) {
	return FormLimits{MaxParameterBytes, MaxParameters}.Parse(raw)
}

// ReadForm reads the form that is the body of a request. Errors are *oauth.Error.
func (l FormLimits) ReadForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if media, ok := MediaType(r); !ok || media != MediaForm {
		return nil, &oauth.Error{
			Code: oauth.CodeInvalidRequest, Description: "the body must be application/x-www-form-urlencoded, in UTF-8",
			Status: http.StatusUnsupportedMediaType,
		}
	}
	body, err := ReadBody(w, r, int64(l.Bytes))
	if err != nil {
		return nil, err
	}
	values, err := l.Parse(string(body))
	if err != nil {
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "%s", err.Error())
	}
	return values, nil
}

// Parse reads a form or a query as every browser does
// (https://url.spec.whatwg.org/#urlencoded-parsing): a semicolon and a percent
// sign that begins no escape are text. A text that is no UTF-8 is for whoever
// reads that parameter to refuse: it may be somebody else's. An error says that
// there is too much of it, in words that an error description may hold.
func (l FormLimits) Parse(raw string) (url.Values, error) {
	values := url.Values{}
	err := l.each(raw, func(name, value string) { values[name] = append(values[name], value) })
	if err != nil {
		return nil, err
	}
	return values, nil
}

// each takes every parameter, in the order in which they stand.
func (l FormLimits) each(raw string, take func(name, value string)) error {
	if len(raw) > l.Bytes {
		return fmt.Errorf("the parameters are longer than %d KiB", l.Bytes>>10)
	}
	left := l.Parameters
	for len(raw) > 0 {
		var pair string
		if pair, raw, _ = strings.Cut(raw, "&"); pair == "" {
			continue
		}
		if left == 0 {
			return fmt.Errorf("there are more than %d parameters", l.Parameters)
		}
		left--
		name, value, _ := strings.Cut(pair, "=")
		take(formText(name), formText(value))
	}
	return nil
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
