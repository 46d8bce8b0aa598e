// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strings"
	"unicode/utf8"

	"connectedapps.dev/operator/internal/oauth"
)

// MaxBody is how long a request's body may be, in bytes.
const MaxBody = 1 << 20

// Parameters are the parameters of a request, each given once.
type Parameters map[string]string

// ReadParameters reads the parameters of a POST from a form or from a JSON
// object; the vendor's clients send either (contract section 1). A parameter
// without a value counts as absent, a repeated one is an error
// (https://www.rfc-editor.org/rfc/rfc6749#section-3.2). Unknown parameters may
// have any JSON type and are ignored. Parameters of the query are not read:
// credentials must not be in a URL.
func ReadParameters(w http.ResponseWriter, r *http.Request) (Parameters, error) {
	media, err := mediaType(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, &oauth.Error{
				Code: oauth.CodeInvalidRequest, Description: "the body is longer than 1 MiB", Status: http.StatusRequestEntityTooLarge,
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, &oauth.Error{
				Code: oauth.CodeInvalidRequest, Description: "the body did not arrive in time", Status: http.StatusRequestTimeout,
			}
		}
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "the body could not be read").WithCause(err)
	}
	if media == "application/json" {
		return parseJSON(body)
	}
	return parseForm(string(body))
}

func mediaType(r *http.Request) (string, error) {
	header := r.Header.Get("Content-Type")
	media, parameters, err := mime.ParseMediaType(header)
	switch charset := parameters["charset"]; {
	case err != nil, media != "application/json" && media != "application/x-www-form-urlencoded":
	case charset != "" && !strings.EqualFold(charset, "utf-8"):
	default:
		return media, nil
	}
	return "", &oauth.Error{
		Code:        oauth.CodeInvalidRequest,
		Description: "Content-Type must be application/x-www-form-urlencoded or application/json, in UTF-8",
		Status:      http.StatusUnsupportedMediaType,
	}
}

func parseForm(body string) (Parameters, error) {
	values, err := url.ParseQuery(body)
	if err != nil {
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "the body is not a valid form")
	}
	p := Parameters{}
	for name, all := range values {
		if len(all) > 1 {
			return nil, repeated(name)
		}
		if err := p.set(name, all[0]); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func parseJSON(body []byte) (Parameters, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return nil, malformedJSON()
	}
	p, seen := Parameters{}, map[string]bool{}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, malformedJSON()
		}
		key, _ := name.(string)
		if seen[key] {
			return nil, repeated(key)
		}
		seen[key] = true
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, malformedJSON()
		}
		if err := p.setJSON(key, value); err != nil {
			return nil, err
		}
	}
	if _, err := decoder.Token(); err != nil {
		return nil, malformedJSON()
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "the body goes on after its JSON object")
	}
	return p, nil
}

func malformedJSON() error {
	return oauth.Errorf(oauth.CodeInvalidRequest, "the body is not a valid JSON object")
}

func repeated(name string) error {
	return oauth.Errorf(oauth.CodeInvalidRequest, "the parameter %s is given more than once", printable(name))
}

// known are the parameters whose type matters; all are strings.
var known = map[string]bool{
	"grant_type": true, "client_id": true, "client_secret": true, "client_assertion": true, "client_assertion_type": true,
	"scope": true, "code": true, "redirect_uri": true, "code_verifier": true, "refresh_token": true, "username": true,
	"password": true, "assertion": true, "token": true, "token_type_hint": true,
}

func (p Parameters) setJSON(name string, value json.RawMessage) error {
	if !known[name] || string(value) == "null" {
		return nil
	}
	if value[0] != '"' {
		return oauth.Errorf(oauth.CodeInvalidRequest, "the parameter %s must be a string", name)
	}
	if !utf8.Valid(value) {
		return oauth.Errorf(oauth.CodeInvalidRequest, "the parameter %s is not valid UTF-8", name)
	}
	var text string
	if err := json.Unmarshal(value, &text); err != nil {
		return malformedJSON()
	}
	return p.set(name, text)
}

func (p Parameters) set(name, value string) error {
	if !known[name] || value == "" {
		return nil
	}
	if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
		return oauth.Errorf(oauth.CodeInvalidRequest, "the parameter %s is not valid UTF-8", name)
	}
	p[name] = value
	return nil
}

// printable keeps an error description within the characters RFC 6749 section
// 5.2 allows.
func printable(text string) string {
	const limit = 40
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '?'
		}
		return r
	}, text)
	if len(text) > limit {
		return text[:limit]
	}
	return text
}
