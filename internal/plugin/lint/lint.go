// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"connectedapps.dev/operator/api/v1alpha1"
)

// Severity is how bad a finding is.
type Severity string

// Severities.
const (
	// Error is for what does not work: the API server or the manager refuses it.
	Error Severity = "error"
	// Warning is for what works and may not do what was meant.
	Warning Severity = "warning"
)

// Names of rules. They stay.
const (
	RuleYAML           = "yaml"
	RuleObject         = "object"
	RuleVersion        = "api-version"
	RuleUnknownField   = "unknown-field"
	RuleDuplicateField = "duplicate-field"
	RuleMetadata       = "metadata"
	RuleSchema         = "schema"
	RuleCEL            = "validation-rule"
	RuleReservedName   = "reserved-name"
	RuleAccess         = "access-rule"
	RuleOrganization   = "organization-not-known"
	RuleNoTokenServer  = "tokenserver-not-given"
	RuleNoApp          = "app-not-given"
	RuleTokenUnfit     = "app-does-not-fit"
	RuleSecretInEnv    = "secret-in-environment"
	RuleSecretSubPath  = "secret-by-subpath"
)

// Finding is something that a reader of manifests should know.
type Finding struct {
	File     string   `json:"file"`
	Line     int      `json:"line,omitempty"`
	Severity Severity `json:"severity"`
	Rule     string   `json:"rule"`
	// Kind, Namespace and Name are the object's, as far as it has them.
	Kind      string `json:"kind,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	Field     string `json:"field,omitempty"`
	Message   string `json:"message"`
}

// Options say how manifests are judged.
type Options struct {
	// Namespace of objects that name none.
	Namespace string
	// SystemNamespace is the manager's.
	SystemNamespace string
	// NamespaceLabels are those of namespaces of which no manifest is given.
	NamespaceLabels map[string]string
	// Policy are manifests of TokenServers whose access rules apps are judged by;
	// nil: by none.
	Policy []File
}

// Report is what was found, by file and line.
type Report struct {
	// Objects is how many were judged: ours and workloads.
	Objects  int       `json:"objects"`
	Errors   int       `json:"errors"`
	Warnings int       `json:"warnings"`
	Findings []Finding `json:"findings"`
}

// object is one that is judged.
type object struct {
	*document
	kind string
	meta metav1.ObjectMeta
	// refused: the API server would not take it.
	refused bool
	// pod is where a workload has the spec of its Pods.
	pod []string
}

// inputs are all manifests of a run.
type inputs struct {
	Options
	report *Report
	// ours are the objects of our kinds, of the inputs and of the policy.
	apps    []*typed[*v1alpha1.ConnectedApp]
	tokens  []*typed[*v1alpha1.AccessToken]
	servers map[string]*v1alpha1.TokenServer
	// labels are those of namespaces that are given.
	labels    map[string]map[string]string
	workloads []*object
}

// typed is an object of ours that the API server would take.
type typed[T any] struct {
	*object
	value T
}

// Check judges manifests. Its error is not about them.
func Check(ctx context.Context, files []File, o Options) (*Report, error) {
	in := &inputs{
		Options: o, report: &Report{Findings: []Finding{}}, servers: map[string]*v1alpha1.TokenServer{}, labels: map[string]map[string]string{},
	}
	for _, file := range files {
		if err := in.read(ctx, file, false); err != nil {
			return nil, err
		}
	}
	for _, file := range o.Policy {
		if err := in.read(ctx, file, true); err != nil {
			return nil, err
		}
	}
	in.access()
	in.checkTokens()
	in.checkWorkloads()
	return in.done(files), nil
}

// done sorts and counts.
func (in *inputs) done(files []File) *Report {
	order := map[string]int{}
	for i, file := range files {
		order[file.Name] = i - len(files) // those of the policy come last
	}
	r := in.report
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(order[a.File], order[b.File]), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	r.Findings = slices.Compact(r.Findings)
	for _, f := range r.Findings {
		if f.Severity == Error {
			r.Errors++
		} else {
			r.Warnings++
		}
	}
	return r
}

// read judges the objects of a file one by one. Of a policy only TokenServers
// count.
func (in *inputs) read(ctx context.Context, file File, policy bool) error {
	documents, findings := parse(file)
	in.report.Findings = append(in.report.Findings, findings...)
	for _, d := range documents {
		o := in.object(d, file.Found)
		if o == nil {
			continue
		}
		group, err := schema.ParseGroupVersion(text(d.object["apiVersion"]))
		if err != nil {
			in.add(o, Error, RuleObject, "apiVersion", err.Error())
			continue
		}
		if group.Group != v1alpha1.GroupVersion.Group {
			in.other(o, group)
			continue
		}
		if policy && o.kind != "TokenServer" {
			continue
		}
		if err := in.own(ctx, o, group, policy); err != nil {
			return err
		}
	}
	return nil
}

// object is what a document says it is; nil: nothing that an API server knows.
func (in *inputs) object(d *document, found bool) *object {
	o := &object{document: d, kind: text(d.object["kind"])}
	version := text(d.object["apiVersion"])
	switch {
	case o.kind == "" && version == "" && found:
		return nil
	case o.kind == "" || version == "":
		in.add(o, Error, RuleObject, "", "is no object: it has no apiVersion, or no kind")
		return nil
	}
	// What is no text there is said when it matters.
	if meta, ok := d.object["metadata"].(map[string]any); ok {
		o.meta.Name = cmp.Or(text(meta["name"]), text(meta["generateName"]))
		o.meta.Namespace = text(meta["namespace"])
	}
	return o
}

// text is a value that may be one; empty for others.
func text(value any) string {
	s, _ := value.(string)
	return s
}

// own judges an object of our group.
func (in *inputs) own(ctx context.Context, o *object, version schema.GroupVersion, policy bool) error {
	known, err := kinds()
	if err != nil {
		return fmt.Errorf("reading the schemas: %w", err)
	}
	in.report.Objects++
	k, ok := known[o.kind]
	switch {
	case !ok:
		in.add(o, Error, RuleVersion, "kind", fmt.Sprintf("there is no kind %s in %s", o.kind, v1alpha1.GroupVersion))
		return nil
	case version != v1alpha1.GroupVersion:
		in.add(o, Error, RuleVersion, "apiVersion", fmt.Sprintf("%s is not served; use %s", version, v1alpha1.GroupVersion))
		return nil
	}
	if k.namespaced {
		o.meta.Namespace = cmp.Or(o.meta.Namespace, in.Namespace)
	} else {
		o.meta.Namespace = ""
	}
	for _, f := range k.judge(ctx, o.object, in.Namespace) {
		o.refused = true
		in.add(o, Error, f.rule, f.field, f.text)
	}
	if err := in.reserved(o); err != nil {
		return err
	}
	return in.keep(o, policy)
}

// keep remembers an object for what is judged of several.
func (in *inputs) keep(o *object, policy bool) error {
	app, token, server := &v1alpha1.ConnectedApp{}, &v1alpha1.AccessToken{}, &v1alpha1.TokenServer{}
	var value any
	switch o.kind {
	case "ConnectedApp":
		value = app
		in.apps = append(in.apps, &typed[*v1alpha1.ConnectedApp]{o, app})
	case "AccessToken":
		value = token
		in.tokens = append(in.tokens, &typed[*v1alpha1.AccessToken]{o, token})
	case "TokenServer":
		value = server
		if policy && !o.refused {
			in.servers[o.meta.Name] = server
		}
	}
	if o.refused { // nothing but its name counts
		return nil
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.object, value); err != nil {
		return fmt.Errorf("%s %s, which the schema takes: %w", o.kind, o.meta.Name, err)
	}
	return nil
}

// other remembers what matters of other groups.
func (in *inputs) other(o *object, version schema.GroupVersion) {
	if version.Group == "" && o.kind == "Namespace" {
		labels := map[string]string{}
		if meta, ok := o.object["metadata"].(map[string]any); ok {
			all, _ := meta["labels"].(map[string]any)
			for key, value := range all {
				labels[key] = text(value)
			}
		}
		in.labels[o.meta.Name] = labels
		return
	}
	if o.pod = podSpecs[version.Group+"/"+o.kind]; o.pod == nil {
		return
	}
	in.report.Objects++
	o.meta.Namespace = cmp.Or(o.meta.Namespace, in.Namespace)
	in.workloads = append(in.workloads, o)
}

func (in *inputs) add(o *object, severity Severity, rule, field, message string) {
	if field == "<nil>" { // the object as a whole
		field = ""
	}
	in.report.Findings = append(in.report.Findings, Finding{
		File: o.file, Line: o.line(field), Severity: severity, Rule: rule,
		Kind: o.kind, Namespace: o.meta.Namespace, Name: o.meta.Name, Field: field, Message: strings.TrimSpace(message),
	})
}
