// SPDX-License-Identifier: Apache-2.0

package jsonobject

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// Kind tells what an Error is about.
type Kind int

// The kinds of errors.
const (
	// Malformed: it is not JSON.
	Malformed Kind = iota
	// NotText: it is not UTF-8, or has a NUL.
	NotText
	// NotAnObject: it is another JSON value.
	NotAnObject
	// Doubled: a member stands twice in its object.
	Doubled
	// TooLarge: it nests too deep or has too many members.
	TooLarge
)

// Error tells a person what was wrong with an object and where.
type Error struct {
	Kind Kind
	// Path names the value concerned, such as scopes[0].scope; empty: the
	// object itself.
	Path string
	// Line and Column, in bytes, count from 1.
	Line, Column int
	what         string
}

// Error says it in words. Names in it are the sender's, shortened.
func (e *Error) Error() string {
	switch e.Kind {
	case Malformed:
		return fmt.Sprintf("malformed JSON at line %d, column %d: %s", e.Line, e.Column, e.what)
	case NotAnObject:
		return "it " + e.what
	}
	subject := "it"
	if e.Path != "" {
		subject = e.Path + ":"
	}
	return fmt.Sprintf("%s %s at line %d, column %d", subject, e.what, e.Line, e.Column)
}

func newError(kind Kind, text []byte, at int, what string) *Error {
	before := text[:min(at, len(text))]
	return &Error{
		Kind: kind, what: what,
		Line: bytes.Count(before, []byte{'\n'}) + 1, Column: len(before) - bytes.LastIndexByte(before, '\n'),
	}
}

// under puts the place of an error below a member or an element, on the way
// out: paths are made only when they are needed.
func (e *Error) under(step string) *Error {
	switch {
	case e.Path == "" || e.Path[0] == '[':
		e.Path = step + e.Path
	default:
		e.Path = step + "." + e.Path
	}
	return e
}

// Shorten keeps a sender's own word from filling a message.
func Shorten(s string) string {
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
