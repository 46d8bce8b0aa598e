// SPDX-License-Identifier: Apache-2.0

package tokenserveroptions

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// decoder fills a struct from YAML. Unlike the library's own it does not stop
// at the first problem, names the path of each, and takes nothing for what it
// is not: a number is no string, an unknown or repeated field is a problem.
type decoder struct {
	problems  Problems
	positions positions
}

func (d *decoder) addf(node *yaml.Node, path, format string, args ...any) {
	d.problems = append(d.problems, Problem{Path: path, Line: node.Line, Message: fmt.Sprintf(format, args...)})
}

// decode reads one YAML document into the struct that into points to.
func decode(data []byte, into any) (positions, Problems) {
	reader := yaml.NewDecoder(bytes.NewReader(data))
	var document yaml.Node
	switch err := reader.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil, Problems{{Message: "the file is empty"}}
	case err != nil:
		return nil, Problems{syntaxProblem(err)}
	case len(document.Content) == 0:
		return nil, Problems{{Message: "the file is empty"}}
	}
	var second yaml.Node
	if err := reader.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, Problems{{Line: second.Line, Message: "the file must hold one YAML document, not several"}}
	}
	d := &decoder{positions: positions{}}
	d.value(document.Content[0], "", reflect.ValueOf(into).Elem())
	return d.positions, d.problems
}

var syntaxError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

func syntaxProblem(err error) Problem {
	match := syntaxError.FindStringSubmatch(err.Error())
	if match == nil {
		return Problem{Message: err.Error()}
	}
	line, _ := strconv.Atoi(match[1])
	return Problem{Line: line, Message: "is not YAML: " + match[2]}
}

// texter is an object that may be written as a text alone.
type texter interface{ setText(text string) }

var texterType = reflect.TypeFor[texter]()

func (d *decoder) shorthand(node *yaml.Node, path string, into reflect.Value) {
	var text string
	d.text(node, path, reflect.ValueOf(&text).Elem())
	if t, ok := into.Addr().Interface().(texter); ok {
		t.setText(text)
	}
}

var durationType = reflect.TypeFor[time.Duration]()

func (d *decoder) value(node *yaml.Node, path string, into reflect.Value) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	// "field:" with nothing after it leaves the default.
	if node.Tag == "!!null" {
		return
	}
	switch {
	case into.Type() == durationType:
		d.duration(node, path, into)
	case node.Kind == yaml.ScalarNode && into.Addr().Type().Implements(texterType):
		d.shorthand(node, path, into)
	case into.Kind() == reflect.Struct:
		d.object(node, path, into)
	case into.Kind() == reflect.Slice:
		d.list(node, path, into)
	case into.Kind() == reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		d.value(node, path, into.Elem())
	case into.Kind() == reflect.Bool:
		d.boolean(node, path, into)
	case into.Kind() == reflect.Int:
		d.integer(node, path, into)
	case into.Kind() == reflect.Float64:
		d.number(node, path, into)
	default:
		d.text(node, path, into)
	}
}

func (d *decoder) object(node *yaml.Node, path string, into reflect.Value) {
	if node.Kind != yaml.MappingNode {
		d.addf(node, path, "must be an object of fields (%s), not %s", strings.Join(fieldNames(into.Type()), ", "), kindOf(node))
		return
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		at := join(path, key.Value)
		if first, repeated := lines[key.Value]; repeated {
			d.addf(key, at, "is already given in line %d", first)
			continue
		}
		lines[key.Value] = key.Line
		field, ok := fieldNamed(into, key.Value)
		if !ok {
			d.addf(key, at, "unknown field%s", suggestion(key.Value, fieldNames(into.Type())))
			continue
		}
		d.positions[at] = key.Line
		d.value(value, at, field)
	}
}

func (d *decoder) list(node *yaml.Node, path string, into reflect.Value) {
	if node.Kind != yaml.SequenceNode {
		d.addf(node, path, "must be a list, not %s", kindOf(node))
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(node.Content), len(node.Content)))
	for i, element := range node.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.positions[at] = element.Line
		d.value(element, at, into.Index(i))
	}
}

func (d *decoder) text(node *yaml.Node, path string, into reflect.Value) {
	switch {
	case node.Kind != yaml.ScalarNode:
		d.addf(node, path, "must be a string, not %s", kindOf(node))
	case node.Tag != "!!str" && node.Tag != "!!timestamp":
		d.addf(node, path, "must be a string, not %s: put it in quotes", kindOf(node))
	default:
		into.SetString(node.Value)
	}
}

func (d *decoder) boolean(node *yaml.Node, path string, into reflect.Value) {
	var value bool
	if node.Tag != "!!bool" || node.Decode(&value) != nil {
		d.addf(node, path, "must be true or false, not %s", kindOf(node))
		return
	}
	into.SetBool(value)
}

func (d *decoder) integer(node *yaml.Node, path string, into reflect.Value) {
	var value int
	if node.Tag != "!!int" || node.Decode(&value) != nil {
		d.addf(node, path, "must be a whole number, not %s", kindOf(node))
		return
	}
	into.SetInt(int64(value))
}

func (d *decoder) number(node *yaml.Node, path string, into reflect.Value) {
	var value float64
	if node.Tag != "!!int" && node.Tag != "!!float" || node.Decode(&value) != nil {
		d.addf(node, path, "must be a number, not %s", kindOf(node))
		return
	}
	into.SetFloat(value)
}

func (d *decoder) duration(node *yaml.Node, path string, into reflect.Value) {
	value, err := time.ParseDuration(node.Value)
	if node.Kind != yaml.ScalarNode || err != nil {
		d.addf(node, path, "must be a duration such as 15m or 1h30m, not %s", kindOf(node))
		return
	}
	into.SetInt(int64(value))
}

// kindOf names a node for people.
func kindOf(node *yaml.Node) string {
	switch {
	case node.Kind == yaml.MappingNode:
		return "an object"
	case node.Kind == yaml.SequenceNode:
		return "a list"
	case node.Tag == "!!int" || node.Tag == "!!float":
		return "the number " + node.Value
	case node.Tag == "!!bool":
		return "the boolean " + node.Value
	}
	return fmt.Sprintf("%.60q", node.Value)
}

func join(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
}

func fieldNames(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("yaml"); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func fieldNamed(into reflect.Value, name string) (reflect.Value, bool) {
	for i := range into.NumField() {
		if tag := into.Type().Field(i).Tag.Get("yaml"); tag != "" && tag == name {
			return into.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// suggestion is the field that was probably meant.
func suggestion(name string, known []string) string {
	folded := func(s string) string { return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(s)) }
	for _, candidate := range known {
		if distance(folded(name), folded(candidate)) <= 2 {
			return "; did you mean " + candidate + "?"
		}
	}
	return "; there are " + strings.Join(known, ", ")
}

// distance is the number of letters to add, remove or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
