// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/api/v1alpha1"
)

// Output is the form of an answer.
type Output string

// Forms of an answer.
const (
	// OutputText is for people.
	OutputText Output = ""
	// OutputJSON and OutputYAML are documents for programs.
	OutputJSON Output = "json"
	OutputYAML Output = "yaml"
	// OutputName is the names of the objects that the answer is about, as kubectl
	// writes and takes them.
	OutputName Output = "name"
)

// Outputs are all forms.
var Outputs = []Output{OutputText, OutputJSON, OutputYAML, OutputName}

// An answer is what a command has to say.
type answer struct {
	// document is the whole of it for programs.
	document any
	// names are those of the objects that it is about, in the form of nameOf.
	names []string
	// text writes it for people.
	text func(io.Writer)
}

// Kinds that commands are about.
const (
	kindApp   = "ConnectedApp"
	kindToken = "AccessToken"
)

// nameOf is how kubectl writes the name of an object of ours.
func nameOf(kind, name string) string {
	return strings.ToLower(kind) + "." + v1alpha1.GroupVersion.Group + "/" + name
}

// write writes an answer in the form that was asked for.
func (p *Plugin) write(a answer) error {
	var text strings.Builder
	switch p.Output {
	case OutputText:
		a.text(&text)
		_, err := io.WriteString(p.Out, text.String())
		return err
	case OutputName:
		for _, name := range a.names {
			_, _ = fmt.Fprintln(&text, name)
		}
	case OutputJSON, OutputYAML:
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(a.document); err != nil {
			return err
		}
		if p.Output == OutputYAML {
			return p.writeYAML(text.String())
		}
	}
	_, err := io.WriteString(p.Out, Visible(text.String()))
	return err
}

// writeYAML writes a JSON document as YAML.
func (p *Plugin) writeYAML(document string) error {
	text, err := yaml.JSONToYAML([]byte(document))
	if err != nil {
		return err
	}
	_, err = io.WriteString(p.Out, Visible(string(text)))
	return err
}
