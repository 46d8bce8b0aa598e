// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"fmt"
	"reflect"
	"strings"
)

// mayBeNil are the collaborators that a part does without, as its own comment
// says; every other one is required.
var mayBeNil = map[string]bool{
	"tokenserver.Config.Source":   true,
	"tokenserver.Config.Tracer":   true,
	"tokenserver.Config.Restored": true,
	"token.Endpoint.Source":       true,
	"session.Endpoint.Source":     true,
	"login.Endpoint.Source":       true,
	"management.Endpoint.Sealer":  true,
}

// complete fails when part, or a part that it holds, lacks a collaborator, so that
// a forgotten line of the construction stops the start and not a request.
func complete(part any) error {
	return walk(reflect.ValueOf(part), map[any]bool{})
}

func walk(v reflect.Value, seen map[any]bool) error {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() || seen[v.Interface()] {
				return nil
			}
			seen[v.Interface()] = true
		}
		v = v.Elem()
	}
	switch {
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			if err := walk(v.Index(i), seen); err != nil {
				return err
			}
		}
	case v.Kind() == reflect.Struct && strings.HasPrefix(v.Type().PkgPath(), module):
		for field, value := range v.Fields() {
			if !field.IsExported() {
				continue
			}
			if err := walkField(v.Type().String()+"."+field.Name, value, seen); err != nil {
				return err
			}
		}
	}
	return nil
}

// module is whose parts are looked into.
const module = "connectedapps.dev/operator/internal/tokenserver"

func walkField(name string, v reflect.Value, seen map[any]bool) error {
	switch v.Kind() {
	case reflect.Func, reflect.Interface, reflect.Map, reflect.Pointer:
		if v.IsNil() && !mayBeNil[name] {
			return fmt.Errorf("building the token server: %s is not set", name)
		}
	}
	// What is behind an interface is complete by its own constructor.
	if v.Kind() == reflect.Interface {
		return nil
	}
	return walk(v, seen)
}
