// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

type schema = apiextensionsv1.JSONSchemaProps

// kindPages are the pages of the kinds whose CRDs are in a folder.
func kindPages(root, crds string) (map[string]string, error) {
	files, err := filepath.Glob(filepath.Join(crds, "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("there are no CRDs in %s", crds)
	}
	pages := map[string]string{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(data, &crd); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		sample, err := sampleOf(root, crd.Spec.Names.Singular)
		if err != nil {
			return nil, err
		}
		page, err := kindPage(&crd, sample)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", crd.Spec.Names.Kind, err)
		}
		pages[crd.Spec.Names.Singular+".md"] = page
	}
	return pages, nil
}

// sampleOf is the first object of a kind's sample.
func sampleOf(root, singular string) (string, error) {
	data, err := os.ReadFile(filepath.Join(root, "config/samples/connectedapps_v1alpha1_"+singular+".yaml"))
	if err != nil {
		return "", err
	}
	first, _, _ := strings.Cut(string(data), "\n---\n")
	_, sample, _ := strings.Cut(first, "\n") // without the licence
	return sample, nil
}

func kindPage(crd *apiextensionsv1.CustomResourceDefinition, sample string) (string, error) {
	names, version := crd.Spec.Names, crd.Spec.Versions[0]
	root := version.Schema.OpenAPIV3Schema
	k := &kind{name: names.Kind}
	k.rules("", root)
	spec, status := root.Properties["spec"], root.Properties["status"]
	k.rules("spec", &spec)
	fields := k.object("spec", 2, &spec) + k.object("status", 2, &status)
	if len(k.problems) > 0 {
		return "", fmt.Errorf("%s", strings.Join(k.problems, "\n"))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s# %s\n\n%s\n\n", generated, names.Kind, text(root.Description))
	fmt.Fprintf(&b, "[How to work with it](../spec/v1alpha1/%s.md).\n\n", names.Plural)
	b.WriteString(table(
		[]string{"", ""},
		[]string{"apiVersion", code(crd.Spec.Group + "/" + version.Name)},
		[]string{"kind", code(names.Kind)},
		[]string{"scope", map[apiextensionsv1.ResourceScope]string{"Cluster": "the cluster", "Namespaced": "a namespace"}[crd.Spec.Scope]},
		[]string{"for kubectl", codes(slices.Concat([]string{names.Plural, names.Singular}, names.ShortNames)) + "; among others " + codes(names.Categories)},
		[]string{"columns of `kubectl get`", columns(version.AdditionalPrinterColumns, 0)},
		[]string{"and of `-o wide`", columns(version.AdditionalPrinterColumns, 1)},
	))
	b.WriteString("\n## Example\n\n" + fenced("yaml", sample))
	if rules := rulesAmong("object", root); rules != "" {
		b.WriteString("\n## metadata\n" + rules)
	}
	b.WriteString(fields)
	b.WriteString("\n## Rules\n\nWhat the messages above stand for, in CEL, as the API server evaluates it:\n\n" + fenced("", strings.Join(k.cel(), "\n\n")))
	return b.String(), nil
}

// columns are the titles of those with a priority.
func columns(all []apiextensionsv1.CustomResourceColumnDefinition, priority int32) string {
	var titles []string
	for _, c := range all {
		if c.Priority == priority {
			titles = append(titles, c.Name)
		}
	}
	return strings.Join(titles, ", ")
}

// kind collects what a page tells at its end, and what the schema lacks.
type kind struct {
	name     string
	noted    []rule
	problems []string
}

// rule is a rule in CEL, and where it holds.
type rule struct {
	paths         []string
	message, rule string
}

// object is the section of an object and those of the objects in it.
func (k *kind) object(path string, level int, s *schema) string {
	var b, below strings.Builder
	fmt.Fprintf(&b, "\n%s %s\n\n", strings.Repeat("#", level), path)
	ofSpec := strings.HasPrefix(path, "spec")
	head := []string{"field", "type", "what it is"}
	if ofSpec {
		head = []string{"field", "type", "omitted", "what it is"}
	}
	rows := [][]string{head}
	for _, name := range inOrder(s) {
		field := s.Properties[name]
		at := path + "." + name
		k.rules(at, &field)
		if field.Description == "" {
			k.problems = append(k.problems, at+" has no comment that says what it is")
		}
		what, omitted := field.Description, ""
		if ofSpec {
			what, omitted = split(what)
		}
		row := []string{code(name), "", named(name, what) + valid(&field)}
		if ofSpec {
			row = slices.Insert(row, 2, k.omitted(at, omitted, slices.Contains(s.Required, name), &field))
		}
		if at == "status.conditions" {
			row[1] = "list of [conditions](conditions.md#" + strings.ToLower(k.name) + ")"
		} else {
			var nested string
			row[1], nested = k.kindOf(at, level, &field)
			below.WriteString(nested)
		}
		rows = append(rows, row)
	}
	b.WriteString(table(rows...))
	b.WriteString(rulesAmong(path, s))
	if s.Default != nil {
		fmt.Fprintf(&b, "\nOf a new object it is %s, until the manager has seen it.\n", code(string(s.Default.Raw)))
	}
	return b.String() + below.String()
}

// inOrder are the names of an object's fields, first those that are required.
func inOrder(s *schema) []string {
	required := slices.Sorted(slices.Values(s.Required))
	others := slices.DeleteFunc(slices.Sorted(maps.Keys(s.Properties)), func(name string) bool { return slices.Contains(required, name) })
	return append(required, others...)
}

// kindOf is the type of a field in words, and the sections of the objects in it.
func (k *kind) kindOf(path string, level int, s *schema) (words, below string) {
	// Lists within objects within lists would need more levels than there are.
	level = min(level+1, 4)
	switch {
	case s.Type == "array":
		item := s.Items.Schema
		k.rules(path+"[]", item)
		words, below = k.kindOf(path+"[]", level-1, item)
		if s.XListType != nil && *s.XListType == "set" {
			return "set of " + words, below
		}
		return "list of " + words, below
	case s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil:
		k.rules(path+"{}", s.AdditionalProperties.Schema)
		return "map of " + s.AdditionalProperties.Schema.Type, ""
	case s.Type == "object":
		anchor := strings.ToLower(regexp.MustCompile(`[^\w-]`).ReplaceAllString(path, ""))
		return "[object](#" + anchor + ")", k.object(path, level, s)
	case s.Format == "date-time":
		return "time", ""
	}
	return s.Type, ""
}

// rules notes the rules of a schema for the end of the page.
func (k *kind) rules(path string, s *schema) {
	for _, r := range s.XValidations {
		if r.Message == "" {
			k.problems = append(k.problems, path+" has a rule without a message: "+r.Rule)
		}
		at := strings.TrimPrefix(path+r.FieldPath, ".")
		same := slices.IndexFunc(k.noted, func(other rule) bool { return other.message == r.Message && other.rule == r.Rule })
		if same < 0 {
			k.noted = append(k.noted, rule{paths: []string{at}, message: r.Message, rule: r.Rule})
		} else {
			k.noted[same].paths = append(k.noted[same].paths, at)
		}
	}
}

// cel are the rules that were noted, each below its message.
func (k *kind) cel() []string {
	texts := make([]string, len(k.noted))
	for i, r := range k.noted {
		texts[i] = fmt.Sprintf("// %s: %s\n%s", strings.Join(r.paths, ", "), r.message, r.rule)
	}
	return texts
}

// rulesAmong are the messages of rules about several fields of an object.
func rulesAmong(path string, s *schema) string {
	var b strings.Builder
	for _, r := range s.XValidations {
		about := strings.TrimPrefix(r.FieldPath, ".")
		if about == "" {
			about = path
		}
		fmt.Fprintf(&b, "- %s: %s\n", code(about), text(r.Message))
	}
	if b.Len() == 0 {
		return ""
	}
	return "\n" + b.String()
}

var (
	omission    = regexp.MustCompile(`(?:^| )Omitted: (.*?)\.(?: |$)`)
	requirement = regexp.MustCompile(`(?:^| )Required (.*?)\.(?: |$)`)
)

// split returns a description without what it says of the field's absence, and that.
func split(description string) (what, omitted string) {
	what = strings.Join(strings.Fields(description), " ")
	if found := omission.FindStringSubmatch(what); found != nil {
		return omission.ReplaceAllString(what, " "), text(found[1])
	}
	if found := requirement.FindStringSubmatch(what); found != nil {
		return requirement.ReplaceAllString(what, " "), "required " + text(found[1])
	}
	return what, ""
}

// named is a description whose first word is the name in Go, as comments begin: with
// the name as it is written, unless it is a plain word.
func named(name, description string) string {
	what := text(description)
	first, rest, _ := strings.Cut(what, " ")
	if strings.EqualFold(first, name) && name != strings.ToLower(name) {
		return code(name) + " " + rest
	}
	return what
}

// omitted is the cell about the absence of a field of spec.
func (k *kind) omitted(path, omitted string, required bool, s *schema) string {
	switch {
	case required:
		return "required"
	case s.Default != nil:
		return code(string(s.Default.Raw))
	case omitted == "":
		k.problems = append(k.problems, path+`: its comment does not say what an omitted field means: end it with "Omitted: …." or "Required with …."`)
	}
	return omitted
}

// valid says what a field may hold, beside its type, on lines of their own.
func valid(s *schema) string {
	var says []string
	switch {
	case s.Type == "array":
		says = append(says, between(s.MinItems, s.MaxItems, "item")...)
		says = append(says, scalar(s.Items.Schema, "each ")...)
		if len(s.XListMapKeys) > 0 {
			says = append(says, "no two of the same "+strings.Join(s.XListMapKeys, " and "))
		}
	case s.AdditionalProperties != nil:
		says = append(says, between(s.MinProperties, s.MaxProperties, "entry")...)
		says = append(says, scalar(s.AdditionalProperties.Schema, "each value ")...)
	default:
		says = scalar(s, "")
	}
	if s.Type != "object" || s.AdditionalProperties != nil {
		for _, rule := range s.XValidations {
			says = append(says, text(rule.Message))
		}
	}
	if len(says) == 0 {
		return ""
	}
	return "<br>" + strings.Join(says, "<br>")
}

// scalar is what a value may be; each is before it, if there are many.
func scalar(s *schema, each string) (says []string) {
	if s == nil || s.Type == "object" {
		return nil
	}
	if len(s.Enum) > 0 {
		var values []string
		for _, value := range s.Enum {
			values = append(values, strings.Trim(string(value.Raw), `"`))
		}
		says = append(says, each+"one of "+codes(values))
	}
	for _, bound := range between(s.MinLength, s.MaxLength, "character") {
		says = append(says, each+bound)
	}
	for _, bound := range between(whole(s.Minimum), whole(s.Maximum), "") {
		says = append(says, each+bound)
	}
	if s.Pattern != "" {
		says = append(says, each+"matches "+code(s.Pattern))
	}
	if each != "" {
		for _, rule := range s.XValidations {
			says = append(says, each+text(rule.Message))
		}
	}
	return says
}

func whole(f *float64) *int64 {
	if f == nil {
		return nil
	}
	n := int64(*f)
	return &n
}

// between is a range in words.
func between(least, most *int64, unit string) []string {
	units := func(n int64) string {
		switch {
		case unit == "":
			return fmt.Sprint(n)
		case n == 1:
			return "1 " + unit
		case unit == "entry":
			return fmt.Sprintf("%d entries", n)
		}
		return fmt.Sprintf("%d %ss", n, unit)
	}
	switch {
	case least != nil && most != nil && *least == *most:
		return []string{units(*most)}
	case least != nil && most != nil:
		return []string{fmt.Sprintf("%d to %s", *least, units(*most))}
	case most != nil:
		return []string{"at most " + units(*most)}
	case least != nil:
		return []string{"at least " + units(*least)}
	}
	return nil
}
