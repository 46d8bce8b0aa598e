// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/testenv"
)

func TestStatusOfAnObjectAnswersWhyItIsNotReady(t *testing.T) {
	stop := plane.StartManager(t)
	a := newTeam(t)
	status := func(what string) func() error { return func() error { return a.StatusOf(t.Context(), what) } }
	app := a.made(t, "gitproxy", "Ready", "Ready", func(app *v1alpha1.ConnectedApp) {
		app.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsSecret, Rotation: &v1alpha1.Rotation{Interval: &metav1.Duration{Duration: 720 * time.Hour}}}
	})
	token := &v1alpha1.AccessToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: "web"},
		Spec:       v1alpha1.AccessTokenSpec{ConnectedAppRef: v1alpha1.ConnectedAppReference{Name: "gitproxy"}},
	}
	plane.Create(t, token)
	a.until(t, token, "Ready", "Ready")
	a.told(t, "web", "TokenIssued")
	a.made(t, "reports", "Ready", "NotAllowed", func(app *v1alpha1.ConnectedApp) {
		app.Spec.Scopes = append(app.Spec.Scopes, v1alpha1.ScopeAssignment{Scope: "manage:orgconnapps"})
	})
	a.made(t, "vault", "Ready", "WaitingForSecret", func(app *v1alpha1.ConnectedApp) {
		app.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsExistingSecret, Secret: &v1alpha1.CredentialsSecretSpec{Name: "vault"}}
	})

	t.Run("of an app team", func(t *testing.T) {
		a.says(t, "status-ready.txt", status("gitproxy"))
		a.says(t, "status-not-allowed.txt", status("app/reports"))
		a.says(t, "status-waiting.txt", status("vault"))
		a.says(t, "status-token.txt", status("web"))
		a.says(t, "status-nothing.txt", status("nobody"))
	})
	team := a.Client
	t.Run("of who may view, and read no Secret", func(t *testing.T) {
		a.Client = a.as(t, "view", "connectedapps-aggregate-to-view").Client
		a.says(t, "status-view.txt", status("gitproxy"))
	})
	t.Run("of who has no right", func(t *testing.T) {
		a.Client = a.user(t, "nobody").Client
		a.says(t, "status-no-rights.txt", status("gitproxy"))
	})
	t.Run("of the platform team, and the token server is away", func(t *testing.T) {
		a.Client = plane.Client
		a.instance.Stop(t)
		testenv.Eventually(t, func(c *require.Assertions) {
			c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(a.server), a.server))
			c.Equal("Unreachable", testenv.Condition(a.server.Status.Conditions, "Ready").Reason)
		})
		late := testenv.App(a.Namespace, a.server.Name, func(late *v1alpha1.ConnectedApp) { late.Name, late.Spec = "late", app.Spec })
		a.until(t, plane.CreateApp(t, late), "Ready", "TokenServerUnavailable")
		a.says(t, "status-server-away.txt", status("late"))
	})
	t.Run("for programs", func(t *testing.T) {
		a.Client, a.Output = team, OutputJSON
		defer func() { a.Output = OutputText }()
		a.out.Reset()
		require.NoError(t, a.StatusOf(t.Context(), "app/reports"))
		var report Report
		require.NoError(t, json.Unmarshal(a.out.Bytes(), &report))
		require.Equal(t, []NextStep{stepFor("NotAllowed")}, report.NextSteps)
		a.Output = OutputName
		a.out.Reset()
		require.NoError(t, a.StatusOf(t.Context(), "web"))
		require.Equal(t, "accesstoken.connectedapps.dev/web\n", a.out.String())
	})
	t.Run("of an object that no manager looked at", func(t *testing.T) {
		stop()
		a.Client = team
		require.NoError(t, plane.Client.Create(t.Context(), testenv.App(a.Namespace, a.server.Name, func(app *v1alpha1.ConnectedApp) { app.Name = "new" })))
		a.says(t, "status-no-manager.txt", status("new"))
		require.NoError(t, plane.Client.Get(t.Context(), client.ObjectKeyFromObject(app), app))
		app.Spec.ClientName = "GitProxy"
		require.NoError(t, plane.Client.Update(t.Context(), app))
		require.NoError(t, a.StatusOf(t.Context(), "gitproxy"))
		require.Contains(t, a.out.String(), "Next step      The manager has not looked at the last change of the spec.")
	})
}

// What is not well beside is on the same screen, with a step of its own.
func TestStatusOfAnObjectTellsAllThatIsNotWell(t *testing.T) {
	a := &team{site: newSite(t), server: &v1alpha1.TokenServer{}}
	a.server.Name = "default"
	ready := func(reason, message string) metav1.Condition {
		c := condition("Ready", "False", reason, message)
		c.ObservedGeneration = 1
		return c
	}
	restarts := condition("WorkloadsCurrent", "False", "WorkloadNotFound", "there is no Deployment web")
	a.app(t, "gitproxy", func(app *v1alpha1.ConnectedApp) {
		app.Status = v1alpha1.ConnectedAppStatus{
			ClientID: "f9c7", Binding: &v1alpha1.SecretBinding{Name: "gitproxy-credentials"},
			Secrets: []v1alpha1.ClientSecretStatus{
				{ID: "one", CreatedAt: hour(-100), ReplacedAt: hour(-2), ExpiresAt: hour(22), LastUsedAt: hour(-1)},
				{ID: "two", CreatedAt: hour(-200), ReplacedAt: hour(-100)},
				{ID: "three", CreatedAt: hour(-2)},
			},
			Conditions: []metav1.Condition{
				ready("SecretContested", "field manager kubectl overwrites secret gitproxy-credentials"),
				condition("PolicyAccepted", "True", "Accepted", "access rule payments allows the app"),
				condition("Registered", "True", "Registered", "registered as client f9c7"),
				condition("SecretPublished", "False", "SecretContested", "field manager kubectl overwrites secret gitproxy-credentials"),
				condition("Drifted", "True", "DriftDetected", "changed on the token server: audience"),
				condition("Rotating", "True", "FormerSecretHeld", "Pods took it when they started: web-1"),
				restarts,
			},
		}
	})
	a.secret(t, "gitproxy-credentials", map[string][]byte{"client-id": []byte("other"), "client-secret": []byte("hidden-value")})
	a.accessToken(t, "web", func(token *v1alpha1.AccessToken) {
		token.Status.Conditions = []metav1.Condition{ready("LoginRequired", "the chain has ended"), restarts}
	})
	a.Color = true
	a.says(t, "status-troubles.txt", func() error { return a.StatusOf(t.Context(), "app/gitproxy") })
	a.Color = false
	a.says(t, "status-token-troubles.txt", func() error { return a.StatusOf(t.Context(), "atok/web") })
	require.ErrorContains(t, a.StatusOf(t.Context(), "pod/web"), "is neither app/NAME")
	require.NotContains(t, a.out.String(), "hidden-value")
}
