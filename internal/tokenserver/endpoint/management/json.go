// SPDX-License-Identifier: Apache-2.0

package management

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"connectedapps.dev/operator/internal/tokenserver/endpoint/answer"
)

// maxDepth is how deep a body may nest; the deepest valid one is
// {"scopes":[{"context_params":{…}}]}.
const maxDepth = 16

// parseObject reads one JSON object strictly: valid UTF-8, no name twice in an
// object, nothing after its end. Numbers stay json.Number. The empty body is
// the empty object.
func parseObject(body []byte) (map[string]any, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return map[string]any{}, nil
	}
	if at := invalidUTF8(body); at >= 0 {
		return nil, answer.BadRequest("the body is not valid UTF-8 at %s", position(body, at))
	}
	if err := checkSyntax(body); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	v, err := parseValue(d, "", 0)
	if err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, answer.BadRequest("the body must be a JSON object, got %s", kindOf(v))
	}
	return object, nil
}

// checkSyntax reports malformed JSON with its position, which the token reader
// does not always know.
func checkSyntax(body []byte) error {
	var raw json.RawMessage
	err := json.Unmarshal(body, &raw)
	if err == nil {
		return nil
	}
	at := len(body)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		at = int(syntax.Offset)
	}
	return answer.BadRequest("malformed JSON at %s: %v", position(body, at), err)
}

// parseValue reads the next value; path names it in messages.
func parseValue(d *json.Decoder, path string, depth int) (any, error) {
	if depth > maxDepth {
		return nil, answer.BadRequest("%s: nested too deep", path)
	}
	token, err := d.Token()
	if err != nil {
		return nil, answer.BadRequest("malformed JSON after byte %d", d.InputOffset())
	}
	switch token {
	case json.Delim('{'):
		return parseMembers(d, path, depth)
	case json.Delim('['):
		return parseElements(d, path, depth)
	}
	return token, nil
}

func parseMembers(d *json.Decoder, path string, depth int) (any, error) {
	object := map[string]any{}
	for d.More() {
		token, err := d.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return nil, answer.BadRequest("malformed JSON after byte %d", d.InputOffset())
		}
		if _, twice := object[name]; twice {
			return nil, answer.BadRequest("%s appears twice", join(path, name))
		}
		if object[name], err = parseValue(d, join(path, name), depth+1); err != nil {
			return nil, err
		}
	}
	return object, closing(d)
}

func parseElements(d *json.Decoder, path string, depth int) (any, error) {
	array := []any{}
	for d.More() {
		v, err := parseValue(d, element(path, len(array)), depth+1)
		if err != nil {
			return nil, err
		}
		array = append(array, v)
	}
	return array, closing(d)
}

// closing consumes the closing bracket.
func closing(d *json.Decoder) error {
	if _, err := d.Token(); err != nil && !errors.Is(err, io.EOF) {
		return answer.BadRequest("malformed JSON after byte %d", d.InputOffset())
	}
	return nil
}

func join(path, name string) string {
	name = shorten(name)
	if path == "" {
		return name
	}
	return path + "." + name
}

func element(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// shorten keeps a caller's own word from filling the message.
func shorten(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// kindOf names a JSON value for a person.
func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case string:
		return "a string"
	case []any:
		return "an array"
	case map[string]any:
		return "an object"
	}
	return "a number"
}

func invalidUTF8(b []byte) int {
	if utf8.Valid(b) {
		return -1
	}
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

// position is the line and column, counted from 1, of byte offset at.
func position(body []byte, at int) string {
	before := body[:min(at, len(body))]
	line := bytes.Count(before, []byte{'\n'}) + 1
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return fmt.Sprintf("line %d, column %d", line, column)
}
