// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/plan"
)

// Overview is the state of a namespace, or of all.
type Overview struct {
	// Namespace is empty when it is of all.
	Namespace     string          `json:"namespace,omitempty"`
	ConnectedApps []AppOverview   `json:"connectedApps"`
	AccessTokens  []TokenOverview `json:"accessTokens"`
}

// AppOverview is the state of a ConnectedApp.
type AppOverview struct {
	Namespace string                 `json:"namespace"`
	Name      string                 `json:"name"`
	Ready     metav1.ConditionStatus `json:"ready"`
	Reason    string                 `json:"reason,omitempty"`
	Message   string                 `json:"message,omitempty"`
	ClientID  string                 `json:"clientID,omitempty"`
	Secret    string                 `json:"secret,omitempty"`
	// NextRotation is when the client secret is replaced by schedule.
	NextRotation time.Time `json:"nextRotation,omitzero"`
}

// TokenOverview is the state of an AccessToken.
type TokenOverview struct {
	Namespace    string                 `json:"namespace"`
	Name         string                 `json:"name"`
	ConnectedApp string                 `json:"connectedApp"`
	Ready        metav1.ConditionStatus `json:"ready"`
	Reason       string                 `json:"reason,omitempty"`
	Message      string                 `json:"message,omitempty"`
	Secret       string                 `json:"secret,omitempty"`
	ExpiresAt    time.Time              `json:"expiresAt,omitzero"`
	NextRefresh  time.Time              `json:"nextRefresh,omitzero"`
}

// Status shows the ConnectedApps and AccessTokens of the namespace, or of all when
// it is metav1.NamespaceAll.
func (p *Plugin) Status(ctx context.Context) error {
	overview, err := p.overview(ctx)
	if err != nil {
		return err
	}
	if p.Output == OutputText && len(overview.ConnectedApps)+len(overview.AccessTokens) == 0 {
		where := "in namespace " + p.Namespace
		if p.Namespace == metav1.NamespaceAll {
			where = "in any namespace"
		}
		p.say("No ConnectedApps and no AccessTokens %s.", where)
		return nil
	}
	var names []string
	for _, app := range overview.ConnectedApps {
		names = append(names, nameOf(kindApp, app.Name))
	}
	for _, token := range overview.AccessTokens {
		names = append(names, nameOf(kindToken, token.Name))
	}
	return p.write(answer{overview, names, func(w io.Writer) { overview.print(w, p.Color, time.Now()) }})
}

func (p *Plugin) overview(ctx context.Context) (*Overview, error) {
	apps, tokens := &v1alpha1.ConnectedAppList{}, &v1alpha1.AccessTokenList{}
	if err := p.Client.List(ctx, apps, client.InNamespace(p.Namespace)); err != nil {
		return nil, p.unlisted(err, "ConnectedApps")
	}
	if err := p.Client.List(ctx, tokens, client.InNamespace(p.Namespace)); err != nil {
		return nil, p.unlisted(err, "AccessTokens")
	}
	o := &Overview{Namespace: p.Namespace, ConnectedApps: []AppOverview{}, AccessTokens: []TokenOverview{}}
	for i := range apps.Items {
		o.ConnectedApps = append(o.ConnectedApps, appOverview(&apps.Items[i]))
	}
	for i := range tokens.Items {
		o.AccessTokens = append(o.AccessTokens, tokenOverview(&tokens.Items[i]))
	}
	return o, nil
}

// unlisted adds to an error what was listed, and what is left to do without the right
// to all namespaces.
func (p *Plugin) unlisted(err error, what string) error {
	if right := asLacking(err); right != nil && p.Namespace == metav1.NamespaceAll {
		return fmt.Errorf("listing %s: %w, or name one namespace with -n in place of --all-namespaces", what, right)
	}
	return worded(err, "listing "+what)
}

func appOverview(app *v1alpha1.ConnectedApp) AppOverview {
	o := AppOverview{Namespace: app.Namespace, Name: app.Name, ClientID: app.Status.ClientID, Secret: bound(app.Status.Binding)}
	o.Ready, o.Reason, o.Message = ready(app)
	if c := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionRotating); c == nil || c.Reason != v1alpha1.ReasonRotationNotPossible {
		o.NextRotation = plan.NextRotation(app)
	}
	return o
}

func tokenOverview(token *v1alpha1.AccessToken) TokenOverview {
	o := TokenOverview{
		Namespace: token.Namespace, Name: token.Name, ConnectedApp: token.Spec.ConnectedAppRef.Name, Secret: bound(token.Status.Binding),
		ExpiresAt: timeOf(token.Status.ExpiresAt), NextRefresh: timeOf(token.Status.NextRefreshTime),
	}
	o.Ready, o.Reason, o.Message = ready(token)
	return o
}

func bound(b *v1alpha1.SecretBinding) string {
	if b == nil {
		return ""
	}
	return b.Name
}

// print writes a table for each kind, and why what is not ready is not.
func (o *Overview) print(w io.Writer, color bool, now time.Time) {
	apps := table{{"CONNECTEDAPP", "READY", "REASON", "CLIENT-ID", "SECRET", "NEXT-ROTATION"}}
	tokens := table{{"ACCESSTOKEN", "READY", "REASON", "APP", "SECRET", "EXPIRES", "NEXT-REFRESH"}}
	var problems []string
	note := func(kind, namespace, name string, status metav1.ConditionStatus, message string) {
		if status == metav1.ConditionTrue || message == "" {
			return
		}
		if o.Namespace == metav1.NamespaceAll {
			name = namespace + "/" + name
		}
		problems = append(problems, fmt.Sprintf("%s %s: %s", kind, name, line(message)))
	}
	for _, a := range o.ConnectedApps {
		apps = append(apps, []string{a.Name, string(a.Ready), a.Reason, a.ClientID, a.Secret, until(a.NextRotation, now)})
		note(kindApp, a.Namespace, a.Name, a.Ready, a.Message)
	}
	for _, t := range o.AccessTokens {
		tokens = append(tokens, []string{t.Name, string(t.Ready), t.Reason, t.ConnectedApp, t.Secret, until(t.ExpiresAt, now), until(t.NextRefresh, now)})
		note(kindToken, t.Namespace, t.Name, t.Ready, t.Message)
	}
	if o.Namespace == metav1.NamespaceAll {
		apps.prepend("NAMESPACE", func(i int) string { return o.ConnectedApps[i].Namespace })
		tokens.prepend("NAMESPACE", func(i int) string { return o.AccessTokens[i].Namespace })
	}
	written := false
	for _, t := range []table{apps, tokens} {
		if len(t) == 1 {
			continue
		}
		if written {
			_, _ = fmt.Fprintln(w)
		}
		t.write(w, color)
		written = true
	}
	if len(problems) > 0 {
		_, _ = fmt.Fprintf(w, "\n%s\n", strings.Join(problems, "\n"))
	}
}

// table is rows of cells, the first row the headings.
type table [][]string

// prepend adds a column before the others.
func (t table) prepend(heading string, cell func(row int) string) {
	t[0] = append([]string{heading}, t[0]...)
	for i := range t[1:] {
		t[i+1] = append([]string{cell(i)}, t[i+1]...)
	}
}

func (t table) write(w io.Writer, color bool) {
	widths := make([]int, len(t[0]))
	ready := slices.Index(t[0], "READY") // a condition's status
	for _, row := range t {
		for i := range row {
			row[i] = cmp.Or(line(row[i]), "-")
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	for r, row := range t {
		text := ""
		for i, cell := range row {
			padding := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+3)
			if color && r > 0 && i == ready {
				cell = colored(cell)
			}
			text += cell + padding
		}
		_, _ = fmt.Fprintln(w, strings.TrimRight(text, " "))
	}
}

// colored is a status in its colour.
func colored(status string) string { return painted(status, status) }

// painted is green for True, red for False and yellow for all else.
func painted(status, text string) string {
	code := map[string]string{string(metav1.ConditionTrue): "32", string(metav1.ConditionFalse): "31"}[status]
	return "\x1b[" + cmp.Or(code, "33") + "m" + text + "\x1b[0m"
}
