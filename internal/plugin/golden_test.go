// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

var update = flag.Bool("update", false, "write the files of testdata anew")

// What differs from run to run, and what stands for it.
var volatile = []struct {
	pattern     *regexp.Regexp
	replacement string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`), "<time>"},
	{regexp.MustCompile(`in \d+[smhd](\d+m)?`), "in <while>"},
	{regexp.MustCompile(`\d+[smhd](\d+m)? ago`), "<while> ago"},
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "<uuid>"},
	{regexp.MustCompile(`\b[0-9a-f]{32}\b`), "<client>"},
	{regexp.MustCompile(`client secrets? [A-Za-z0-9_-]{8,}`), "client secret <id>"},
	{regexp.MustCompile(`Unreachable: reading .*`), "Unreachable: <why>"},
	{regexp.MustCompile(`(127\.0\.0\.1|localhost):\d+`), "id.example.com"},
}

// golden holds an answer to testdata/NAME.
func golden(t *testing.T, name, got string, names ...string) {
	t.Helper()
	got = strings.NewReplacer(names...).Replace(got)
	for _, v := range volatile {
		got = v.pattern.ReplaceAllString(got, v.replacement)
	}
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o750))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "go test ./internal/plugin -run %s -update writes testdata/%s anew", t.Name(), name)
}

// team is an app team: its namespace, on a running token server, and the plugin as
// one of it, who has the namespace's rights alone.
type team struct {
	*site
	instance *tokenservertest.Instance
	server   *v1alpha1.TokenServer
}

// newTeam needs a running manager.
func newTeam(t *testing.T, options ...tokenservertest.Option) *team {
	t.Helper()
	a := &team{site: newSite(t), instance: tokenservertest.Start(t, options...)}
	a.server = plane.TokenServer(t, a.instance, func(s *v1alpha1.TokenServer) {
		rule := testenv.AllowAll("payments")
		rule.GrantTypes = []v1alpha1.GrantType{"client_credentials", "authorization_code", "refresh_token"}
		rule.Scopes = []v1alpha1.AccessScope{{Scope: "profile"}, {Scope: "view:*"}, {Scope: "offline_access"}}
		rule.NamespaceSelector = v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"kubernetes.io/metadata.name": v1alpha1.LabelValue(a.Namespace)}}
		s.Spec.Access = []v1alpha1.AccessRule{rule}
	})
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(a.server), a.server))
		c.True(status.IsReady(a.server), "conditions: %+v", a.server.Status.Conditions)
	})
	a.Client = a.as(t, "edit", appTeam...).Client
	return a
}

// made creates an app of the team and waits until a condition has a reason.
func (a *team) made(t *testing.T, name, condition, reason string, change ...func(*v1alpha1.ConnectedApp)) *v1alpha1.ConnectedApp {
	t.Helper()
	change = append([]func(*v1alpha1.ConnectedApp){func(app *v1alpha1.ConnectedApp) {
		app.Name, app.Spec.Scopes = name, []v1alpha1.ScopeAssignment{{Scope: "profile"}}
	}}, change...)
	app := plane.CreateApp(t, testenv.App(a.Namespace, a.server.Name, change...))
	a.until(t, app, condition, reason)
	a.told(t, name, reason)
	return app
}

// told waits until there is an Event of an object.
func (a *team) told(t *testing.T, name, reason string) {
	t.Helper()
	testenv.Eventually(t, func(c *require.Assertions) {
		events := &corev1.EventList{}
		c.NoError(plane.Client.List(t.Context(), events, client.InNamespace(a.Namespace), client.MatchingFields{"involvedObject.name": name, "reason": reason}))
		c.NotEmpty(events.Items)
	})
}

func (a *team) until(t *testing.T, object reported, condition, reason string) {
	t.Helper()
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(object), object))
		c.Equal(reason, testenv.Condition(*object.GetConditions(), condition).Reason, "conditions: %+v", *object.GetConditions())
	})
}

// says holds what a command of the team writes to testdata/NAME: the answer, and
// what is said beside it.
func (a *team) says(t *testing.T, name string, do func() error) {
	t.Helper()
	a.out.Reset()
	a.said.Reset()
	text := ""
	if err := do(); err != nil {
		text = "error: " + err.Error() + "\n"
	}
	said := a.out.String() + a.said.String() + text
	secrets := &corev1.SecretList{}
	require.NoError(t, plane.Client.List(t.Context(), secrets, client.InNamespace(a.Namespace)))
	for _, secret := range secrets.Items {
		for _, key := range []string{"client-secret", "access-token"} {
			if value := string(secret.Data[key]); value != "" {
				require.NotContains(t, said, value, "no command shows a secret")
			}
		}
	}
	golden(t, name, said, a.Namespace, "payments", a.server.Name, "default")
}
