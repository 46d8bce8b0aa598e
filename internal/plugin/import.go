// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/plan"
	"connectedapps.dev/operator/internal/plugin/importer"
)

// ImportOptions say what to do with clients that were read.
type ImportOptions struct {
	// Access has the access rules written instead of the ConnectedApps.
	Access bool
	// Secrets has the client secrets written into Secrets of the cluster.
	Secrets bool
	// SecretsFile is a file for them instead; empty: none.
	SecretsFile string
}

// importOwner is the field manager of the Secrets of an import.
const importOwner = "connectedapps-import"

// Import writes ConnectedApps for clients that were read elsewhere, and what they
// do not say. Client secrets go nowhere but into Secrets. Only those need the
// cluster.
func (p *Plugin) Import(ctx context.Context, r *importer.Result, o ImportOptions) error {
	var secrets []*corev1.Secret
	for i := range r.Apps {
		if s := r.Apps[i].Secret; s != nil {
			secrets = append(secrets, s)
		}
	}
	if err := p.putSecrets(ctx, secrets, o); err != nil {
		return err
	}
	p.tellImport(r, len(secrets), o)
	names := make([]string, len(r.Apps))
	for i := range r.Apps {
		names[i] = nameOf(kindApp, r.Apps[i].Manifest.Name)
	}
	var failed error
	err := p.write(answer{r, names, func(w io.Writer) {
		if o.Access {
			failed = writeAccess(w, r)
		} else {
			failed = writeManifests(w, r)
		}
	}})
	return errors.Join(err, failed)
}

// tellImport says what the manifests do not.
func (p *Plugin) tellImport(r *importer.Result, secrets int, o ImportOptions) {
	t := table{{"CLIENT", "NOT-CARRIED-OVER", "WHY"}}
	for i := range r.Apps {
		for _, remark := range grouped(r.Apps[i].NotCarried) {
			t = append(t, []string{r.Apps[i].ClientID, remark.Field, remark.Why})
		}
	}
	for _, left := range r.NotImported {
		t = append(t, []string{left.ClientID, "the client", left.Why})
	}
	for _, remark := range grouped(r.NotCarried) {
		t = append(t, []string{"", remark.Field, remark.Why})
	}
	if p.Output == OutputText && len(t) > 1 {
		t.write(p.Err, false)
		p.say("")
	}
	p.say("%s", fmt.Sprintf("%s imported, %d not", some(len(r.Apps), "client"), len(r.NotImported)))
	switch {
	case secrets == 0:
	case o.Secrets:
		p.say("%d client secrets are in Secrets of namespace %s", secrets, p.Namespace)
	case o.SecretsFile != "":
		p.say("%d client secrets are in %s: apply it, and delete it", secrets, o.SecretsFile)
	default:
		p.say("%d client secrets are not in the manifests: --secrets writes them into Secrets of the cluster, --secrets-file into a file", secrets)
	}
}

// grouped are remarks with the fields of one reason together.
func grouped(remarks []importer.Remark) []importer.Remark {
	var groups []importer.Remark
	for _, remark := range remarks {
		i := slices.IndexFunc(groups, func(g importer.Remark) bool { return g.Why == remark.Why })
		if i < 0 {
			groups = append(groups, remark)
			continue
		}
		groups[i].Field += ", " + remark.Field
	}
	return groups
}

func writeManifests(w io.Writer, r *importer.Result) error {
	for i := range r.Apps {
		app := &r.Apps[i]
		_, _ = fmt.Fprintf(w, "---\n# Client %s\n", line(app.ClientID))
		for j, remark := range grouped(app.NotCarried) {
			if j == 0 {
				_, _ = fmt.Fprintln(w, "# Not carried over:")
			}
			_, _ = fmt.Fprintf(w, "#   %s: %s\n", line(remark.Field), line(remark.Why))
		}
		if err := writeVisible(w, app.Object()); err != nil {
			return err
		}
	}
	return nil
}

func writeAccess(w io.Writer, r *importer.Result) error {
	_, _ = fmt.Fprintln(w, "# For spec.access of the TokenServer")
	return writeVisible(w, r.Access)
}

// writeVisible writes a document as YAML, or as JSON, which is YAML as well, when
// a terminal would not show a text of it.
func writeVisible(w io.Writer, document any) error {
	text, err := yaml.Marshal(document)
	if err != nil {
		return err
	}
	if Visible(string(text)) == string(text) {
		_, err = w.Write(text)
		return err
	}
	if text, err = json.MarshalIndent(document, "", "  "); err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, Visible(string(text)))
	return err
}

// putSecrets writes the client secrets where they were asked for.
func (p *Plugin) putSecrets(ctx context.Context, secrets []*corev1.Secret, o ImportOptions) error {
	if o.SecretsFile != "" {
		return writeSecretsFile(o.SecretsFile, secrets)
	}
	if !o.Secrets {
		return nil
	}
	for _, s := range secrets {
		if err := p.mayApply(ctx, s); err != nil {
			return err
		}
	}
	for _, s := range secrets {
		wanted := corev1ac.Secret(s.Name, s.Namespace).WithLabels(s.Labels).WithType(s.Type).WithData(s.Data)
		if err := p.Client.Apply(ctx, wanted, client.FieldOwner(importOwner)); err != nil {
			return worded(err, "Secret "+s.Name)
		}
	}
	return nil
}

// mayApply refuses a Secret that is there for something else.
func (p *Plugin) mayApply(ctx context.Context, wanted *corev1.Secret) error {
	found := &corev1.Secret{}
	err := p.Client.Get(ctx, client.ObjectKeyFromObject(wanted), found)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return worded(err, "Secret "+wanted.Name)
	}
	isOurs := found.Labels[v1alpha1.LabelSecret] == v1alpha1.SecretReferenced &&
		string(found.Data[plan.KeyClientID]) == string(wanted.Data[plan.KeyClientID])
	if !isOurs {
		const format = "Secret %s is there and not of client %s: nothing was written; delete it, or import with --secrets-file"
		return fmt.Errorf(format, //nolint:staticcheck // a kind's name
			wanted.Name, line(string(wanted.Data[plan.KeyClientID])))
	}
	return nil
}

// writeSecretsFile makes a file that its owner alone can read.
func writeSecretsFile(path string, secrets []*corev1.Secret) error {
	var text strings.Builder
	for _, s := range secrets {
		document, err := yaml.Marshal(s)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(&text, "---\n%s", document)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("--secrets-file %s is there already: nothing was written; delete it, or name another", path)
	}
	if err != nil {
		return fmt.Errorf("writing the secrets: %w", err)
	}
	_, err = file.WriteString(text.String())
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("writing the secrets: %w", err)
	}
	return nil
}
