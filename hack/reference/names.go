// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// sourcesOfNames have what the programs call labels, annotations and finalizers.
var sourcesOfNames = []string{"api/v1alpha1/names.go", "internal/refresher/kubesecret/secret.go"}

// whereAndWho is how the comment of a name ends.
var whereAndWho = regexp.MustCompile(`^(.*) On: (.+?)\. Set by: (.+?)\.$`)

// namesPage has the labels, annotations and finalizers.
func namesPage(root string) (map[string]string, error) {
	titles := []string{"Annotations", "Labels", "Finalizers"}
	sections := map[string][][]string{}
	var problems []error
	for _, path := range sourcesOfNames {
		constants, err := constantsOf(filepath.Join(root, path))
		if err != nil {
			return nil, err
		}
		for _, c := range constants {
			// Others are values, or repeat what has its comment elsewhere.
			if !strings.Contains(c.value, "connectedapps.dev/") || strings.ToUpper(c.name[:1]) != c.name[:1] {
				continue
			}
			var title string
			for _, t := range titles {
				if strings.HasPrefix(c.name, strings.TrimSuffix(t, "s")) {
					title = t
				}
			}
			found := whereAndWho.FindStringSubmatch(strings.Join(strings.Fields(c.comment), " "))
			if title == "" || found == nil {
				problems = append(problems, fmt.Errorf("%s: %s needs a name that begins with Annotation, Label or Finalizer, "+
					"and a comment that ends with \"On: …. Set by: ….\"", path, c.name))
				continue
			}
			_, meaning, _ := strings.Cut(withValues(found[1], constants), " ")
			name := c.value
			if strings.HasSuffix(name, "/") {
				name += "…"
			}
			sections[title] = append(sections[title], []string{code(name), text(found[2]), text(found[3]), text(meaning)})
		}
	}
	var b strings.Builder
	b.WriteString(generated + `# Annotations, labels and finalizers

All names are of ` + "`connectedapps.dev`" + `. What a person sets is a request or a permission; the rest is the programs' own. The label and
annotations by which a Pod gets the sidecar are in [Injection](../token-delivery.md#injection).
`)
	for _, title := range titles {
		rows := [][]string{{strings.ToLower(strings.TrimSuffix(title, "s")), "on", "set by", "what it says"}}
		b.WriteString("\n## " + title + "\n\n" + table(append(rows, sections[title]...)...))
	}
	return map[string]string{"annotations.md": b.String()}, errors.Join(problems...)
}
