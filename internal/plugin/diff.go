// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/resource"

	"connectedapps.dev/operator/api/v1alpha1"
)

// Exit statuses of Diff, as those of kubectl diff but for the last.
const (
	// DiffChanges: something would change on a token server.
	DiffChanges = 1
	// DiffFailed: it is not known.
	DiffFailed = 2
	// DiffRefused: access rules do not allow all of an app.
	DiffRefused = 3
)

// DiffOptions say how Diff compares.
type DiffOptions struct {
	// ServerSide tries a server-side apply in place of kubectl's own, FieldManager
	// is whose.
	ServerSide   bool
	FieldManager string
	// Live asks the token server what there is, with the credentials of the manager;
	// otherwise it is what the object in the cluster says.
	Live bool
	// Markdown writes the answer for a pull request.
	Markdown bool
}

// Difference is what an apply would change on the token servers.
type Difference struct {
	ConnectedApps []AppDifference `json:"connectedApps"`
}

// AppDifference is what an apply would change of one app.
type AppDifference struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// ClientID is the app's client; empty: it has none.
	ClientID string `json:"clientID,omitempty"`
	// Verdict is allowed, refused or unknown, Why is by which access rule, or why not.
	Verdict string `json:"verdict"`
	Why     string `json:"why"`
	// Actions are what the manager would do, in their order; none: nothing changes.
	Actions []DiffAction `json:"actions"`
	// Secret says what becomes of the client secret.
	Secret string `json:"secret"`
	// Notes are what else there is to know.
	Notes []string `json:"notes"`
}

// DiffAction is something that the manager would do.
type DiffAction struct {
	Action  string       `json:"action"`
	Changes []DiffChange `json:"changes"`
}

// DiffChange is a field of the registration; Before is empty for what is new.
type DiffChange struct {
	Field  string `json:"field"`
	Before string `json:"before,omitempty"`
	After  string `json:"after"`
}

// Verdicts of access rules.
const (
	allowed = "allowed"
	refused = "refused"
	unknown = "unknown"
)

// Manifest is an object as somebody wrote it.
type Manifest struct {
	*unstructured.Unstructured
	// Source is its file, or what else it came from.
	Source string
}

// Resources reads manifests as kubectl does: files, folders, URLs, a kustomization,
// and - for standard input. It asks no cluster.
func Resources(o resource.FilenameOptions, stdin io.Reader) ([]Manifest, error) {
	for _, name := range o.Filenames {
		if err := checkManifests(name, o.Recursive); err != nil {
			return nil, fmt.Errorf("reading manifests: %w", err)
		}
	}
	builder := resource.NewLocalBuilder().Unstructured().ContinueOnError().Flatten()
	if i := slices.Index(o.Filenames, "-"); i >= 0 {
		o.Filenames = slices.Delete(slices.Clone(o.Filenames), i, i+1)
		builder = builder.Stream(stdin, "standard input")
	}
	if len(o.Filenames) > 0 || o.Kustomize != "" {
		builder = builder.FilenameParam(false, &o)
	}
	infos, err := builder.Do().Infos()
	if err != nil {
		return nil, fmt.Errorf("reading manifests: %w", err)
	}
	list := make([]Manifest, 0, len(infos))
	for _, info := range infos {
		if u, ok := info.Object.(*unstructured.Unstructured); ok {
			list = append(list, Manifest{u, info.Source})
		}
	}
	return list, nil
}

// checkManifests refuses what kubectl's reader would wait for.
func checkManifests(path string, recursive bool) error {
	files := []string{path}
	switch info, err := os.Stat(path); {
	case err != nil:
		files = nil // a URL, a pattern, or not there: the reader finds out
	case info.IsDir():
		if files, err = manifestsIn(path, recursive); err != nil {
			return err
		}
	}
	for _, file := range files {
		if err := checkInput(file, MaxInput); err != nil {
			return err
		}
	}
	return nil
}

// Diff shows what an apply of manifests would change on the token servers. Only
// ConnectedApps count: nothing else is there. Its end tells programs (Exit).
func (p *Plugin) Diff(ctx context.Context, manifests []Manifest, o DiffOptions) error {
	d, found := Difference{ConnectedApps: []AppDifference{}}, 0
	var failed []error
	for _, manifest := range manifests {
		if kind := manifest.GroupVersionKind(); kind.Group != v1alpha1.GroupVersion.Group || kind.Kind != kindApp {
			continue
		}
		found++
		one, err := p.diff(ctx, manifest, o)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: ConnectedApp %s/%s: %w", manifest.Source, manifest.GetNamespace(), manifest.GetName(), err))
			continue
		}
		d.ConnectedApps = append(d.ConnectedApps, *one)
	}
	if found == 0 {
		p.say("No ConnectedApp among %d objects: an apply changes nothing on a token server.", len(manifests))
	}
	if found > 0 || p.Output != OutputText {
		if err := p.write(answer{d, d.changed(), func(w io.Writer) { d.print(w, p.Color, o.Markdown) }}); err != nil {
			return &Exit{DiffFailed, err}
		}
	}
	return d.exit(errors.Join(failed...))
}

// changed are the names of the apps that would change.
func (d *Difference) changed() []string {
	var names []string
	for _, a := range d.ConnectedApps {
		if len(a.Actions) > 0 {
			names = append(names, nameOf(kindApp, a.Name))
		}
	}
	return names
}

// exit is how the command ends.
func (d *Difference) exit(failed error) error {
	switch {
	case failed != nil:
		return &Exit{DiffFailed, failed}
	case slices.ContainsFunc(d.ConnectedApps, func(a AppDifference) bool { return a.Verdict == refused }):
		return &Exit{DiffRefused, nil}
	case len(d.changed()) > 0:
		return &Exit{DiffChanges, nil}
	}
	return nil
}
