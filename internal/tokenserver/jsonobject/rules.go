// SPDX-License-Identifier: Apache-2.0

package jsonobject

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// maxDepth is how deep objects and arrays may nest; the deepest valid one is
// {"scopes":[{"context_params":{…}}]}.
const maxDepth = 16

// Rules say what an object may be. How long its text may be is for the caller
// to bound, before it reads it.
type Rules struct {
	// Members is how many members all objects of the text may have together.
	Members int
	// Fold refuses two members of the outermost object whose names differ in
	// case alone: encoding/json takes either for a struct's field.
	Fold bool
	// Known tells the members of the outermost object whose values matter; the
	// value of any other is checked and nil in the result. Nil: all matter.
	Known func(name string) bool
}

// Read returns the members of the one object that text holds. Values are what
// encoding/json makes of them, numbers as json.Number. The error is an *Error.
// https://www.rfc-editor.org/rfc/rfc8259, with the restrictions of
// https://www.rfc-editor.org/rfc/rfc7493#section-2
func (rules Rules) Read(text []byte) (map[string]any, error) {
	if at := invalidUTF8(text); at >= 0 {
		return nil, newError(NotText, text, at, "is not valid UTF-8")
	}
	if !json.Valid(text) {
		return nil, syntaxError(text)
	}
	r := reader{text: text, rules: rules, left: rules.Members}
	r.space()
	if kind := r.kind(); kind != "an object" {
		return nil, newError(NotAnObject, text, r.at, "must be a JSON object, got "+kind)
	}
	object, err := r.object(1, true)
	if err != nil {
		return nil, err
	}
	return object, nil
}

// IsNull tells whether text is the JSON value null.
func IsNull(text []byte) bool { return string(bytes.Trim(text, " \t\r\n")) == "null" }

func invalidUTF8(text []byte) int {
	if utf8.Valid(text) {
		return -1
	}
	at := 0
	for {
		r, size := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && size <= 1 {
			return at
		}
		at += size
	}
}

// syntaxError asks encoding/json what is wrong.
func syntaxError(text []byte) error {
	var raw json.RawMessage
	err := json.Unmarshal(text, &raw)
	at := len(text)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		at = int(syntax.Offset)
	}
	return newError(Malformed, text, at, err.Error())
}
