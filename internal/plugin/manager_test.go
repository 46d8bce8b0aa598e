// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// Every command does with the manager at work what its help says.
func TestWithTheManager(t *testing.T) {
	s := &loginSite{site: newSite(t), server: tokenservertest.Start(t)}
	plane.StartManager(t)
	server := plane.TokenServer(t, s.server, func(server *v1alpha1.TokenServer) {
		server.Spec.Access[0].RedirectHosts = []v1alpha1.RedirectHost{"127.0.0.1"}
	})
	plane.CreateApp(t, testenv.App(s.Namespace, server.Name, func(a *v1alpha1.ConnectedApp) {
		a.Name, a.Spec.Scopes = "reports", []v1alpha1.ScopeAssignment{{Scope: "profile"}}
	}))
	plane.CreateApp(t, testenv.App(s.Namespace, server.Name, func(a *v1alpha1.ConnectedApp) {
		a.Name = "gitproxy"
		a.Spec.GrantTypes = []v1alpha1.GrantType{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken}
		a.Spec.RedirectURIs = []v1alpha1.RedirectURI{"http://127.0.0.1/callback"}
		a.Spec.Scopes = []v1alpha1.ScopeAssignment{{Scope: "profile"}, {Scope: "offline_access"}}
	}))
	// answer is what a command writes to standard output.
	answer := func(do func() error) string {
		t.Helper()
		s.out.Reset()
		require.NoError(t, do(), s.said)
		return s.out.String()
	}
	token := func(what string) string {
		t.Helper()
		printed := strings.TrimSpace(answer(func() error { return s.Token(t.Context(), what, TokenOptions{}) }))
		requireAccepted(t, s.server, printed)
		return printed
	}
	ready := func(c *require.Assertions) *Overview {
		s.Output = OutputJSON
		defer func() { s.Output = OutputText }()
		s.out.Reset()
		c.NoError(s.Status(t.Context()))
		o := &Overview{}
		c.NoError(json.Unmarshal(s.out.Bytes(), o))
		for _, a := range o.ConnectedApps {
			c.Equal(metav1.ConditionTrue, a.Ready, a.Message)
		}
		for _, a := range o.AccessTokens {
			c.Equal(metav1.ConditionTrue, a.Ready, a.Message)
		}
		return o
	}
	testenv.Eventually(t, func(c *require.Assertions) { c.Len(ready(c).ConnectedApps, 2) })

	token("reports")
	require.Contains(t, answer(func() error {
		return s.Rotate(t.Context(), "reports", WaitOptions{Timeout: time.Minute, Every: 50 * time.Millisecond})
	}), "Secret reports-credentials holds another client secret of ConnectedApp reports\n")
	token("app/reports")

	manifest := answer(func() error {
		return s.Login(t.Context(), "gitproxy", LoginOptions{Open: s.browser(t, nil), Timeout: time.Minute})
	})
	plane.Kubectl(t).Run(t, manifest, "apply", "-f", "-")
	testenv.Eventually(t, func(c *require.Assertions) { c.Len(ready(c).AccessTokens, 1) })
	require.Equal(t, token("gitproxy"), token("accesstoken/gitproxy"), "the one in the Secret")
}
