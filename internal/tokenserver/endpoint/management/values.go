// SPDX-License-Identifier: Apache-2.0

package management

import (
	"encoding/json"
	"strings"

	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/text"
)

// opt is a member that may be absent from a body, which means unchanged.
type opt[T any] struct {
	value T
	set   bool
}

// into writes the value over dst when the member was there.
func (o opt[T]) into(dst *T) {
	if o.set {
		*dst = o.value
	}
}

// A read function turns a JSON value into a checked Go value; path names the
// value in messages.

func readString(path string, v any) (string, error) {
	s, ok := v.(string)
	if !ok {
		return "", wrongType(path, "a string", v)
	}
	return s, nil
}

func readBool(path string, v any) (bool, error) {
	b, ok := v.(bool)
	if !ok {
		return false, wrongType(path, "a boolean", v)
	}
	return b, nil
}

// readInteger takes whole numbers from least to most.
func readInteger(path string, v any, least, most int64) (int64, error) {
	number, ok := v.(json.Number)
	if !ok {
		return 0, wrongType(path, "a number", v)
	}
	n, err := number.Int64()
	if err != nil || n < least || n > most {
		return 0, httpx.BadRequest("%s: must be a whole number from %d to %d", path, least, most)
	}
	return n, nil
}

// readList takes an array of at most most elements; null is the empty array,
// as some languages write it.
func readList[T any](path string, v any, of string, most int, each func(path string, v any) (T, error)) ([]T, error) {
	array, ok := v.([]any)
	if !ok && v != nil {
		return nil, wrongType(path, "an array of "+of, v)
	}
	if len(array) > most {
		return nil, httpx.BadRequest("%s: has %d entries, at most %d are allowed", path, len(array), most)
	}
	list := make([]T, 0, len(array))
	for i, v := range array {
		item, err := each(element(path, i), v)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	return list, nil
}

// orNull reads null as the empty string, which the records take for none.
func orNull(read func(string, any) (string, error)) func(string, any) (string, error) {
	return func(path string, v any) (string, error) {
		if v == nil || v == "" {
			return "", nil
		}
		return read(path, v)
	}
}

// line reads one line of text of at most most bytes.
func line(most int) func(string, any) (string, error) {
	return func(path string, v any) (string, error) {
		s, err := readString(path, v)
		if err != nil {
			return "", err
		}
		return s, checkLine(path, s, most)
	}
}

func checkLine(path, s string, most int) error {
	if len(s) > most {
		return httpx.BadRequest("%s: is %d bytes long, at most %d are allowed", path, len(s), most)
	}
	if err := text.Shown(s); err != nil {
		return httpx.BadRequest("%s: %v", path, err)
	}
	return nil
}

// oneOf reads one of a few words.
func oneOf(words ...string) func(string, any) (string, error) {
	return func(path string, v any) (string, error) {
		s, err := readString(path, v)
		if err != nil {
			return "", err
		}
		for _, word := range words {
			if s == word {
				return s, nil
			}
		}
		return "", httpx.BadRequest("%s: must be one of %s", path, strings.Join(words, ", "))
	}
}

func wrongType(path, want string, v any) error {
	return httpx.BadRequest("%s: expected %s, got %s", path, want, kindOf(v))
}
