// SPDX-License-Identifier: Apache-2.0

package importer

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
)

// Remark is about something that a ConnectedApp does not say.
type Remark struct {
	// Field is where it was found, as the source calls it.
	Field string `json:"field"`
	// Why it was not carried over, and what can be done.
	Why string `json:"why"`
}

// remarks are collected while a client is read.
type remarks []Remark

func (r *remarks) add(field, why string) { *r = append(*r, Remark{Field: field, Why: why}) }

// object is a JSON object of which each member has to be accounted for: a member
// that nobody asked for, or that is not of the type asked for, is a remark.
type object struct {
	path    string
	members map[string]json.RawMessage
	left    *remarks
	// nothing are texts that say as little as an empty one.
	nothing []string
}

// newObject reads a JSON object. Its error repeats nothing of the input, which may
// hold secrets.
func newObject(raw []byte, path string, left *remarks) (*object, error) {
	o := &object{path: path, left: left}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if err := decoder.Decode(&o.members); err != nil || o.members == nil {
		return nil, errors.New("is no JSON object")
	}
	return o, nil
}

// take reads a member into a value, and leaves it for the rest when it is not of
// that type.
func take[T any](o *object, key string) (value T, ok bool) {
	raw, ok := o.members[key]
	if !ok {
		return value, false
	}
	if isNull(raw) {
		delete(o.members, key)
		return value, false
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		var none T
		return none, false
	}
	delete(o.members, key)
	return value, true
}

func isNull(raw json.RawMessage) bool { return string(bytes.TrimSpace(raw)) == "null" }

func (o *object) text(key string) string {
	text, _ := take[string](o, key)
	return text
}

func (o *object) texts(key string) []string {
	list, _ := take[[]string](o, key)
	return list
}

func (o *object) flag(key string, otherwise bool) bool {
	flag, ok := take[bool](o, key)
	if !ok {
		return otherwise
	}
	return flag
}

// object is a member that is an object itself; nil when there is none.
func (o *object) object(key string) *object {
	raw, ok := o.members[key]
	if !ok {
		return nil
	}
	inner, err := newObject(raw, o.path+key+".", o.left)
	if err != nil {
		return nil
	}
	delete(o.members, key)
	return inner
}

// ignore passes over members that say nothing about what the client may do.
func (o *object) ignore(keys ...string) {
	for _, key := range keys {
		delete(o.members, key)
	}
}

// usual passes over a member that has this value, and tells whether it did.
func (o *object) usual(key string, value any) bool {
	want, err := json.Marshal(value)
	raw := &bytes.Buffer{}
	if err != nil || json.Compact(raw, o.members[key]) != nil || !bytes.Equal(raw.Bytes(), want) {
		return false
	}
	delete(o.members, key)
	return true
}

// unlessUsual remarks a member that is not as it is unless somebody changes it, be it
// that it says false.
func (o *object) unlessUsual(key string, value any, why string) {
	if _, isThere := o.members[key]; isThere && !o.usual(key, value) {
		o.left.add(o.path+key, why)
	}
	delete(o.members, key)
}

// leave remarks the members that are not empty.
func (o *object) leave(why string, keys ...string) {
	for _, key := range keys {
		if raw, ok := o.members[key]; ok && !o.isEmpty(raw) {
			o.left.add(o.path+key, why)
		}
		delete(o.members, key)
	}
}

// rest remarks all other members.
func (o *object) rest(why string) {
	o.leave(why, slices.Sorted(maps.Keys(o.members))...)
}

// together remarks all other members in one.
func (o *object) together(why string) {
	var names []string
	for _, key := range slices.Sorted(maps.Keys(o.members)) {
		if !o.isEmpty(o.members[key]) {
			names = append(names, o.path+key)
		}
	}
	if len(names) > 0 {
		o.left.add(strings.Join(names, ", "), why)
	}
	o.members = nil
}

// isEmpty tells whether a value says nothing: null, false, zero, no text, and
// lists and objects of such.
func (o *object) isEmpty(raw json.RawMessage) bool {
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return false
	}
	return o.saysNothing(value)
}

func (o *object) saysNothing(value any) bool {
	switch value := value.(type) {
	case nil:
		return true
	case bool:
		return !value
	case float64:
		return value == 0
	case string:
		return value == "" || slices.Contains(o.nothing, value)
	case []any:
		return !slices.ContainsFunc(value, func(v any) bool { return !o.saysNothing(v) })
	case map[string]any:
		for _, v := range value {
			if !o.saysNothing(v) {
				return false
			}
		}
		return true
	}
	return false
}

// objectsOf reads a list of objects.
func objectsOf(raw []byte) ([]json.RawMessage, bool) {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil || list == nil {
		return nil, false
	}
	return list, true
}

// notUnderstood is what is said of a member that nobody asked for.
const notUnderstood = "this command does not know it, or not in this form"
