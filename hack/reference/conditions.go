// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const conditionsSource = "api/v1alpha1/conditions.go"

// eventSources are where reasons of Events alone are found, by the beginning of their
// name.
var eventSources = []string{"internal/controller", "internal/bootstrap"}

var (
	kindsInOrder = []string{"ConnectedApp", "AccessToken", "TokenServer"}
	// otherKinds have Events of ours alone.
	otherKinds = []string{"ConfigMap", "Secret"}
	statuses   = []string{"True", "False", "Unknown", "Absent"}
)

// entry is a condition or a reason by its comment: its meaning, then a list.
type entry struct {
	constant
	meaning string
	items   []item
}

// item is what a comment says for some kinds.
type item struct {
	kinds []string
	// states are those of a condition, or the conditions that show a reason.
	states []string
	says   string
}

// of returns the item for a kind, or nil.
func (e *entry) of(kind string) []item {
	var found []item
	for _, i := range e.items {
		if slices.Contains(i.kinds, kind) {
			found = append(found, i)
		}
	}
	return found
}

var (
	listItem = regexp.MustCompile(`^ *- `)
	itemForm = regexp.MustCompile(`^(\w+(?: and \w+)*) ([^:]+?)(?:: (.+?))?$`)
	docsLink = regexp.MustCompile(`docs/([\w/.-]+\.md)(?:#([\w-]+))?`)
)

// entryOf reads the comment of a constant.
func entryOf(c constant) (entry, error) {
	e := entry{constant: c}
	var paragraphs []string
	for line := range strings.Lines(c.comment) {
		if listItem.MatchString(line) || len(paragraphs) == 0 {
			paragraphs = append(paragraphs, "")
		}
		paragraphs[len(paragraphs)-1] += " " + strings.TrimSpace(listItem.ReplaceAllString(line, ""))
	}
	if len(paragraphs) < 2 {
		return e, fmt.Errorf("the comment of %s does not say what it means and, in a list, of which kinds it is", c.name)
	}
	_, e.meaning, _ = strings.Cut(strings.TrimSpace(paragraphs[0]), " ")
	for _, p := range paragraphs[1:] {
		found := itemForm.FindStringSubmatch(strings.TrimSpace(p))
		if found == nil {
			return e, fmt.Errorf("the comment of %s has an item of another form than \"Kind Condition=Status, Condition: What to do.\": %s", c.name, p)
		}
		e.items = append(e.items, item{
			kinds: strings.Split(found[1], " and "), states: strings.Split(strings.TrimSuffix(found[2], "."), ", "), says: found[3],
		})
	}
	return e, nil
}

// sentence is text of a comment for a page: with a capital, a dot and links.
func sentence(s string) string {
	if s == "" {
		return "–"
	}
	s = text(strings.ToUpper(s[:1]) + s[1:])
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return docsLink.ReplaceAllStringFunc(s, func(link string) string {
		parts := docsLink.FindStringSubmatch(link)
		words, target := strings.TrimSuffix(path.Base(parts[1]), ".md"), "../"+parts[1]
		if parts[2] != "" {
			words, target = parts[2], target+"#"+parts[2]
		}
		return "[" + strings.ReplaceAll(words, "-", " ") + "](" + target + ")"
	})
}

// conditionsPage has the conditions of each kind, and the reasons of these and of
// Events.
func conditionsPage(root string) (map[string]string, error) {
	conditions, reasons, err := entries(root)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString(generated + `# Conditions and reasons

` + "`Ready`, `Reconciling` and `Stalled`" + ` follow [kstatus](https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md):
` + "`Ready`" + ` sums up, the other two are there only while they are True, and never both. A condition counts for the generation of the spec in its
` + "`observedGeneration`" + `. No condition and no Event ever holds a secret.

A reason is of ` + "`Ready`" + ` with the status in its column, and of what is beside it. Each change of ` + "`Ready`" + ` is an Event as well,
unless thousands of objects would tell what one TokenServer tells; other Events are named.
`)
	for _, kind := range kindsInOrder {
		b.WriteString("\n## " + kind + "\n\n" + conditionTable(kind, conditions) + "\n" + reasonTable(kind, reasons))
	}
	rows := [][]string{{"reason", "on", "what it means", "what to do"}}
	for _, r := range reasons {
		for _, i := range r.items {
			if slices.ContainsFunc(i.kinds, func(kind string) bool { return slices.Contains(otherKinds, kind) }) {
				rows = append(rows, []string{code(r.value), strings.Join(i.kinds, ", "), sentence(r.meaning), sentence(i.says)})
			}
		}
	}
	b.WriteString("\n## Events on other objects\n\n" + table(rows...))
	return map[string]string{"conditions.md": b.String()}, nil
}

// entries are the conditions and reasons below root.
func entries(root string) (conditions, reasons []entry, err error) {
	constants, err := constantsOf(filepath.Join(root, conditionsSource))
	if err != nil {
		return nil, nil, err
	}
	events, err := eventsBelow(root)
	if err != nil {
		return nil, nil, err
	}
	var problems []error
	for _, c := range append(constants, events...) {
		e, err := entryOf(c)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if strings.HasPrefix(c.name, "Condition") {
			conditions = append(conditions, e)
		} else {
			reasons = append(reasons, e)
		}
	}
	for i := range conditions {
		problems = append(problems, conditions[i].checkCondition())
	}
	for i := range reasons {
		problems = append(problems, reasons[i].checkReason(conditions))
	}
	return conditions, reasons, errors.Join(problems...)
}

// eventsBelow are the constants of reasons that only Events have.
func eventsBelow(root string) (events []constant, err error) {
	for _, folder := range eventSources {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			constants, err := constantsOf(path)
			for _, c := range constants {
				if strings.HasPrefix(c.name, "event") {
					events = append(events, c)
				}
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return events, nil
}

func (e *entry) checkCondition() error {
	for _, i := range e.items {
		for _, kind := range i.kinds {
			if !slices.Contains(kindsInOrder, kind) {
				return fmt.Errorf("the comment of %s: %s is no kind", e.name, kind)
			}
		}
		if len(i.states) != 1 || !slices.Contains(statuses, i.states[0]) || i.says == "" {
			return fmt.Errorf("the comment of %s: an item needs one of %s and what that says: %v", e.name, strings.Join(statuses, ", "), i.states)
		}
	}
	return nil
}

func (e *entry) checkReason(conditions []entry) error {
	for _, i := range e.items {
		for _, kind := range i.kinds {
			if !slices.Contains(slices.Concat(kindsInOrder, otherKinds), kind) {
				return fmt.Errorf("the comment of %s: %s is no kind", e.name, kind)
			}
			for _, state := range i.states {
				for _, shown := range strings.Split(state, " or ") {
					if !isShown(shown, kind, conditions) {
						return fmt.Errorf("the comment of %s: %s never shows %s", e.name, kind, shown)
					}
				}
			}
		}
	}
	return nil
}

// isShown tells whether a kind has Events, or the condition with the status.
func isShown(shown, kind string, conditions []entry) bool {
	if shown == "Events" {
		return true
	}
	condition, status, _ := strings.Cut(shown, "=")
	if condition == "Reconciling" || condition == "Stalled" {
		return status == "" && slices.Contains(kindsInOrder, kind)
	}
	for _, c := range conditions {
		if c.value == condition {
			return slices.ContainsFunc(c.of(kind), func(i item) bool { return i.states[0] == status })
		}
	}
	return false
}

func conditionTable(kind string, conditions []entry) string {
	rows := [][]string{{"condition", "True", "False", "Unknown", "absent"}}
	for _, c := range conditions {
		items := c.of(kind)
		if len(items) == 0 {
			continue
		}
		row := []string{code(c.value)}
		for _, status := range statuses {
			cell := ""
			for _, i := range items {
				if i.states[0] == status {
					cell = sentence(i.says)
				}
			}
			row = append(row, cell)
		}
		rows = append(rows, row)
	}
	return table(rows...)
}

func reasonTable(kind string, reasons []entry) string {
	rows := [][]string{{"reason", "`Ready`", "beside it", "what it means", "what to do"}}
	for _, r := range reasons {
		for _, i := range r.of(kind) {
			ready := ""
			var others []string
			for _, state := range i.states {
				if status, ok := strings.CutPrefix(state, "Ready="); ok {
					ready = status
				} else {
					others = append(others, strings.ReplaceAll(state, "=", " "))
				}
			}
			rows = append(rows, []string{code(r.value), ready, strings.Join(others, ", "), sentence(r.meaning), sentence(i.says)})
		}
	}
	return table(rows...)
}
