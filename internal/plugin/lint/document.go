// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

// File is a text with manifests.
type File struct {
	// Name is how findings call it.
	Name string
	Data []byte
	// Found: nobody named it, and what in it is no object is passed over.
	Found bool
}

// document is one object of a file.
type document struct {
	file string
	// before is how many lines of the file come before node's text.
	before int
	// node is where the object is written; nil: nobody knows.
	node *yamlv3.Node
	// object is what the API server would read.
	object map[string]any
}

// part is the text of one document of a file.
type part struct {
	text   []byte
	before int
}

// parts splits a file as kubectl does: at lines of three dashes, which may be
// followed by a comment.
func parts(data []byte) []part {
	var list []part
	text, before, n := []byte(nil), 0, 0
	for current := range bytes.Lines(data) {
		n++
		if rest, ok := bytes.CutPrefix(current, []byte("---")); ok {
			if rest = bytes.TrimSpace(rest); len(rest) == 0 || rest[0] == '#' {
				list = append(list, part{text, before})
				text, before = nil, n
				continue
			}
		}
		text = append(text, current...)
	}
	return append(list, part{text, before})
}

// parse reads the objects of a file. What is no object is a finding.
func parse(file File) (documents []*document, findings []Finding) {
	for _, p := range parts(file.Data) {
		d, found := p.parse(file.Name)
		findings = append(findings, found...)
		if d != nil {
			documents = append(documents, d.items()...)
		}
	}
	return documents, findings
}

func (p part) parse(file string) (*document, []Finding) {
	d := &document{file: file, before: p.before}
	root := &yamlv3.Node{}
	if err := yamlv3.Unmarshal(p.text, root); err != nil {
		return nil, []Finding{d.unreadable(err)}
	}
	if root.Kind == 0 {
		return nil, nil // nothing but comments
	}
	d.node = root.Content[0]
	if d.node.Tag == "!!null" {
		return nil, nil
	}
	// What the API server gets is made by the reader of kubectl, which is another
	// one and knows older YAML.
	text, err := yaml.YAMLToJSON(p.text)
	if err == nil {
		err = json.Unmarshal(text, &d.object)
	}
	if err != nil {
		return nil, []Finding{d.unreadable(err)}
	}
	return d, d.duplicates(d.node, "", 0)
}

// inLine is how a reader of YAML says where.
var inLine = regexp.MustCompile(`^(?:error converting YAML to JSON: )?yaml: (?:unmarshal errors:\s*)?line (\d+): `)

func (d *document) unreadable(err error) Finding {
	text, at := err.Error(), d.before+1
	if match := inLine.FindStringSubmatch(text); match != nil {
		if n, err := strconv.Atoi(match[1]); err == nil {
			at = d.before + n
		}
		text = text[len(match[0]):]
	}
	return Finding{File: d.file, Line: at, Severity: Error, Rule: RuleYAML, Message: "is no YAML of one object: " + strings.TrimPrefix(text, "yaml: ")}
}

// maxDepth is how deep objects are looked into: deeper than any of Kubernetes.
const maxDepth = 64

// duplicates are the fields that are written twice, of which one would be lost.
func (d *document) duplicates(node *yamlv3.Node, path string, depth int) []Finding {
	if depth > maxDepth {
		return nil
	}
	var found []Finding
	switch node.Kind {
	case yamlv3.MappingNode:
		seen := map[string]bool{}
		for i := 0; i+1 < len(node.Content); i += 2 {
			key := node.Content[i]
			field := strings.TrimPrefix(path+"."+key.Value, ".")
			if seen[key.Value] && key.Value != "<<" {
				found = append(found, Finding{
					File: d.file, Line: d.before + key.Line, Severity: Error, Rule: RuleDuplicateField, Field: field,
					Message: "the field is written twice, and one of the two would be lost",
				})
			}
			seen[key.Value] = true
			found = append(found, d.duplicates(node.Content[i+1], field, depth+1)...)
		}
	case yamlv3.SequenceNode:
		for i, item := range node.Content {
			found = append(found, d.duplicates(item, fmt.Sprintf("%s[%d]", path, i), depth+1)...)
		}
	case yamlv3.DocumentNode, yamlv3.ScalarNode, yamlv3.AliasNode:
	}
	return found
}

// items are the objects of a List and of those in it, or the one that it is.
func (d *document) items() []*document {
	list, ok := d.object["items"].([]any)
	if kind, _ := d.object["kind"].(string); !ok || !strings.HasSuffix(kind, "List") {
		return []*document{d}
	}
	var documents []*document
	for i, item := range list {
		object, ok := item.(map[string]any)
		if !ok {
			continue
		}
		node, _ := d.find(fmt.Sprintf("items[%d]", i))
		one := &document{file: d.file, before: d.before, node: node, object: object}
		documents = append(documents, one.items()...)
	}
	return documents
}

// step is one step of a field's path: a name, or what stands in brackets.
var step = regexp.MustCompile(`[^.\[\]]+|\[[^\[\]]*\]`)

// line is where a field of the object is written, or the innermost of those
// around it that is.
func (d *document) line(path string) int {
	_, at := d.find(path)
	return d.before + at
}

func (d *document) find(path string) (node *yamlv3.Node, line int) {
	node, line = d.node, 1
	if node == nil {
		return nil, line
	}
	line = node.Line
	for _, name := range step.FindAllString(path, maxDepth) {
		next, at := child(node, strings.Trim(name, "[]"))
		if next == nil {
			return node, line
		}
		node, line = next, at
	}
	return node, line
}

// child is a field of a node, or an item, and the line where it begins; nil: it
// has none of the name.
func child(node *yamlv3.Node, name string) (next *yamlv3.Node, line int) {
	if node.Kind == yamlv3.AliasNode && node.Alias != nil {
		node = node.Alias
	}
	if node.Kind == yamlv3.SequenceNode {
		if n, err := strconv.Atoi(name); err == nil && n >= 0 && n < len(node.Content) {
			return node.Content[n], node.Content[n].Line
		}
		return nil, 0
	}
	// The last of two fields of a name counts.
	for i := len(node.Content) - 2; node.Kind == yamlv3.MappingNode && i >= 0; i -= 2 {
		if node.Content[i].Value == name {
			return node.Content[i+1], node.Content[i].Line
		}
	}
	return nil, 0
}
