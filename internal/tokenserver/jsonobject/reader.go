// SPDX-License-Identifier: Apache-2.0

package jsonobject

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
)

// reader walks once over text that is known to be valid JSON. With build unset
// it checks a value and makes nothing of it.
type reader struct {
	text  []byte
	at    int
	rules Rules
	// left is how many more members there may be.
	left int
}

func (r *reader) space() {
	for r.at < len(r.text) && strings.IndexByte(" \t\r\n", r.text[r.at]) >= 0 {
		r.at++
	}
}

// kind names the value that begins here.
func (r *reader) kind() string {
	switch r.text[r.at] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

func (r *reader) value(depth int, build bool) (any, *Error) {
	switch c := r.text[r.at]; {
	case (c == '{' || c == '[') && depth >= maxDepth:
		return nil, newError(TooLarge, r.text, r.at, "nested too deep")
	case c == '{':
		return r.object(depth+1, build)
	case c == '[':
		return r.array(depth+1, build)
	case c == '"':
		return r.string(build)
	case c == 't':
		return r.literal("true", true), nil
	case c == 'f':
		return r.literal("false", false), nil
	case c == 'n':
		return r.literal("null", nil), nil
	}
	return r.number(build), nil
}

func (r *reader) literal(word string, v any) any {
	r.at += len(word)
	return v
}

func (r *reader) number(build bool) any {
	start := r.at
	for r.at < len(r.text) && strings.IndexByte("+-.0123456789eE", r.text[r.at]) >= 0 {
		r.at++
	}
	if !build {
		return nil
	}
	return json.Number(r.text[start:r.at])
}

// string reads a string and refuses a NUL in it, which no database holds. A
// raw one is no valid JSON; an escaped one is.
func (r *reader) string(build bool) (string, *Error) {
	start, escaped := r.at, false
	for r.at++; r.text[r.at] != '"'; r.at++ {
		if r.text[r.at] != '\\' {
			continue
		}
		escaped = true
		if r.at++; r.text[r.at] == 'u' && string(r.text[r.at:r.at+5]) == "u0000" {
			return "", newError(NotText, r.text, r.at-1, "has a NUL character")
		}
	}
	r.at++
	switch {
	case !build:
		return "", nil
	case !escaped:
		return string(r.text[start+1 : r.at-1]), nil
	}
	var s string
	_ = json.Unmarshal(r.text[start:r.at], &s) // the text is valid
	return s, nil
}

func (r *reader) array(depth int, build bool) ([]any, *Error) {
	var array []any
	if build {
		array = []any{}
	}
	r.open()
	for n := 0; r.text[r.at] != ']'; n++ {
		v, err := r.value(depth, build)
		if err != nil {
			return nil, err.under("[" + strconv.Itoa(n) + "]")
		}
		if build {
			array = append(array, v)
		}
		r.next()
	}
	r.at++
	return array, nil
}

func (r *reader) object(depth int, build bool) (map[string]any, *Error) {
	var object map[string]any
	if build {
		object = map[string]any{}
	}
	var folded map[string]bool
	if r.rules.Fold && depth == 1 {
		folded = map[string]bool{}
	}
	r.open()
	for r.text[r.at] != '}' {
		name, err := r.name(object, folded)
		if err != nil {
			return nil, err
		}
		wanted := build && (depth > 1 || r.rules.Known == nil || r.rules.Known(name))
		v, err := r.value(depth, wanted)
		if err != nil {
			return nil, err.under(Shorten(name))
		}
		if object == nil {
			object = map[string]any{}
		}
		if object[name] = v; !wanted {
			object[name] = nil
		}
		r.next()
	}
	r.at++
	return object, nil
}

// name reads a member's name and the colon, and refuses one too many.
func (r *reader) name(object map[string]any, folded map[string]bool) (string, *Error) {
	start := r.at
	if r.left == 0 {
		return "", newError(TooLarge, r.text, start, "has more than "+strconv.Itoa(r.rules.Members)+" members")
	}
	r.left--
	name, err := r.string(true)
	if err != nil {
		return "", err
	}
	_, twice := object[name]
	if folded != nil {
		same := fold(name)
		twice = twice || folded[same]
		folded[same] = true
	}
	if twice {
		return "", newError(Doubled, r.text, start, "appears twice").under(Shorten(name))
	}
	r.space()
	r.at++ // the colon
	r.space()
	return name, nil
}

// open consumes an opening bracket.
func (r *reader) open() {
	r.at++
	r.space()
}

// next goes to the next member or element, or to the closing bracket.
func (r *reader) next() {
	r.space()
	if r.text[r.at] == ',' {
		r.open()
	}
}

// fold maps all spellings that encoding/json takes for the same name to one.
func fold(name string) string {
	return strings.Map(func(c rune) rune {
		for {
			next := unicode.SimpleFold(c)
			if next <= c {
				return next
			}
			c = next
		}
	}, name)
}
