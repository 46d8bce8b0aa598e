// SPDX-License-Identifier: Apache-2.0

package management

import (
	"bytes"
	"errors"
	"fmt"

	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/jsonobject"
)

// bodies are what a body may be. A thousand scopes with their contexts have
// five thousand members.
var bodies = jsonobject.Rules{Members: 10_000}

// parseObject reads the JSON object of a body. The empty body and null, which
// generated clients send when there is none, are the empty object.
func parseObject(body []byte) (map[string]any, error) {
	if absent(body) {
		return map[string]any{}, nil
	}
	object, err := bodies.Read(body)
	var wrong *jsonobject.Error
	switch {
	case err == nil:
		return object, nil
	case errors.As(err, &wrong) && (wrong.Kind == jsonobject.Malformed || wrong.Path != ""):
		return nil, httpx.BadRequest("%v", err)
	}
	return nil, httpx.BadRequest("the body: %v", err)
}

// absent tells whether a body says nothing.
func absent(body []byte) bool { return len(bytes.TrimSpace(body)) == 0 || jsonobject.IsNull(body) }

func join(path, name string) string {
	name = shorten(name)
	if path == "" {
		return name
	}
	return path + "." + name
}

func element(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

func shorten(s string) string { return jsonobject.Shorten(s) }

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
