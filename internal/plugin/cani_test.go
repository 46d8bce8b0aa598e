// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/testenv"
)

// withRules has a TokenServer, of a name of its own, with access rules.
func withRules(t *testing.T, rules ...v1alpha1.AccessRule) *v1alpha1.TokenServer {
	t.Helper()
	server := &v1alpha1.TokenServer{ObjectMeta: metav1.ObjectMeta{Name: "server-" + rand.String(8)}}
	server.Spec = v1alpha1.TokenServerSpec{
		URL: "https://id.example.com", OrganizationID: "org-1", Access: rules,
		Credentials: v1alpha1.TokenServerCredentials{Type: v1alpha1.TokenServerCredentialsSecret, SecretRef: &v1alpha1.SecretReference{Name: "admin"}},
	}
	plane.Create(t, server)
	server.Status.OrganizationID = "org-1"
	require.NoError(t, plane.Client.Status().Update(t.Context(), server))
	t.Cleanup(func() { _ = plane.Client.Delete(t.Context(), server) })
	return server
}

func rulesOf(namespace string) []v1alpha1.AccessRule {
	here := v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"kubernetes.io/metadata.name": v1alpha1.LabelValue(namespace)}}
	return []v1alpha1.AccessRule{
		{
			Name: "batch", NamespaceSelector: here, GrantTypes: []v1alpha1.GrantType{"client_credentials"},
			Scopes: []v1alpha1.AccessScope{{Scope: "view:*"}, {Scope: "manage:runtime", EnvironmentIDs: []v1alpha1.Identifier{"prod"}}},
		},
		{
			Name: "web", NamespaceSelector: here, GrantTypes: []v1alpha1.GrantType{"authorization_code", "refresh_token"},
			Scopes: []v1alpha1.AccessScope{{Scope: "profile"}}, RedirectHosts: []v1alpha1.RedirectHost{"*.example.com"},
			Audiences:        []v1alpha1.Audience{"internal", "everyone"},
			DeletionPolicies: []v1alpha1.DeletionPolicy{"Delete"}, ClientIDs: []v1alpha1.ClientID{"f9c7"}, AllowSkipUserConsent: new(true),
		},
		{
			Name:              "others",
			NamespaceSelector: v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"team": "others"}}, GrantTypes: []v1alpha1.GrantType{"password"},
		},
	}
}

// questions are what is asked, and what is answered whoever asks.
var questions = map[string]struct {
	ask     CanIOptions
	allowed bool
	rule    string
	says    string
}{
	"a scope and a grant":            {CanIOptions{Scopes: []string{"view:environment"}, GrantTypes: []string{"client_credentials"}}, true, "batch", "access rule batch allows the app"},
	"a redirect host":                {CanIOptions{GrantTypes: []string{"authorization_code"}, RedirectHosts: []string{"shop.example.com"}}, true, "web", "access rule web allows the app"},
	"a scope in an environment":      {CanIOptions{Scopes: []string{"manage:runtime"}, EnvironmentID: "prod", GrantTypes: []string{"client_credentials"}}, true, "batch", ""},
	"the same in another one":        {CanIOptions{Scopes: []string{"manage:runtime"}, EnvironmentID: "dev", GrantTypes: []string{"client_credentials"}}, false, "batch", "manage:runtime in environment prod"},
	"a scope that no rule has":       {CanIOptions{Scopes: []string{"full"}, GrantTypes: []string{"client_credentials"}}, false, "batch", "the nearest, batch, does not allow scope full (rule batch allows view:*, manage:runtime in environment prod)"},
	"a host that no rule has":        {CanIOptions{GrantTypes: []string{"authorization_code"}, RedirectHosts: []string{"example.org"}}, false, "web", "allows *.example.com"},
	"two things of different rules":  {CanIOptions{Scopes: []string{"view:x"}, GrantTypes: []string{"authorization_code"}, RedirectHosts: []string{"a.example.com"}}, false, "web", "no access rule of the TokenServer allows all of the app"},
	"a rule of another namespace":    {CanIOptions{GrantTypes: []string{"password"}}, false, "", "does not allow grant type password"},
	"an audience that no rule has":   {CanIOptions{Audience: "everyone", GrantTypes: []string{"client_credentials"}}, false, "batch", "audience everyone"},
	"a grant by its short name only": {CanIOptions{GrantTypes: []string{"jwt-bearer"}}, false, "", "urn:ietf:params:oauth:grant-type:jwt-bearer"},
}

func exitOf(t *testing.T, err error) int {
	t.Helper()
	if err == nil {
		return 0
	}
	exit, ok := errors.AsType[*Exit](err)
	require.True(t, ok, err)
	return exit.Status
}

func (s *site) ask(t *testing.T, o CanIOptions) (*Verdict, error) {
	t.Helper()
	s.out.Reset()
	s.Output = OutputJSON
	err := s.CanI(t.Context(), o)
	s.Output = OutputText
	v := &Verdict{}
	if s.out.Len() > 0 {
		require.NoError(t, json.Unmarshal(s.out.Bytes(), v))
	}
	return v, err
}

func TestCanIAnswersByTheAccessRules(t *testing.T) {
	s := newSite(t)
	server := withRules(t, rulesOf(s.Namespace)...)
	platform := s.platformTeam(t, "system:aggregate-to-view")
	for name, question := range questions {
		t.Run(name, func(t *testing.T) {
			question.ask.TokenServer = server.Name
			v, err := platform.ask(t, question.ask)
			require.Equal(t, map[bool]int{true: 0, false: ExitNo}[question.allowed], exitOf(t, err), "%v", err)
			require.Equal(t, question.allowed, v.Allowed, v.Message)
			require.Equal(t, question.allowed, len(v.Missing) == 0)
			require.Contains(t, v.Message, question.says)
			require.Equal(t, byRules, v.By)
			if question.rule != "" {
				require.Equal(t, question.rule, v.Rule)
			}
		})
	}
}

// accessPolicy puts config/admission/access.yaml in force for a test, and waits
// until it knows a TokenServer.
func accessPolicy(t *testing.T, s *site, server string) {
	t.Helper()
	file := filepath.Join(testenv.ModuleRoot(), "config", "admission", "access.yaml")
	plane.Kubectl(t).Run(t, "", "apply", "-f", file)
	t.Cleanup(func() {
		for _, object := range []client.Object{
			&admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: "connectedapps-access"}},
			&admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "connectedapps-access"}},
		} {
			require.NoError(t, plane.Client.Delete(context.Background(), object))
		}
		// The API server goes on with it for a moment, which the next test would meet.
		refused := testenv.App(s.Namespace, server, func(a *v1alpha1.ConnectedApp) { a.GenerateName, a.Name = "probe-", "" })
		refused.Spec.GrantTypes, refused.Spec.Scopes = []v1alpha1.GrantType{"password"}, nil
		for attempts := 0; ; attempts++ {
			err := plane.Client.Create(context.Background(), refused.DeepCopy(), client.DryRunAll)
			if err == nil {
				return
			}
			require.Less(t, attempts, 3000, "the policy is still in force: %v", err)
			time.Sleep(10 * time.Millisecond)
		}
	})
	testenv.Eventually(t, func(c *require.Assertions) {
		v, _ := s.ask(t, CanIOptions{TokenServer: server, GrantTypes: []string{"password"}})
		c.False(v.Allowed)
		c.NotEmpty(v.Message)
	})
}

// An app team that may not read TokenServers hears the same, but for the name of
// the rule that allows it.
func TestCanIAnswersAnAppTeamByADryRun(t *testing.T) {
	s := newSite(t)
	server := withRules(t, rulesOf(s.Namespace)...)
	member := s.as(t, "member", appTeam...)
	_, err := member.ask(t, CanIOptions{TokenServer: server.Name, GrantTypes: []string{"client_credentials"}})
	require.Equal(t, ExitNotKnown, exitOf(t, err), "without the policy a dry run takes everything")
	require.ErrorContains(t, err, "cannot tell whether it is allowed: you may not read TokenServer "+server.Name+", and the cluster has no admission policy for access rules")

	accessPolicy(t, member, server.Name)
	for name, question := range questions {
		t.Run(name, func(t *testing.T) {
			question.ask.TokenServer = server.Name
			v, err := member.ask(t, question.ask)
			require.Equal(t, map[bool]int{true: 0, false: ExitNo}[question.allowed], exitOf(t, err), "%v", err)
			require.Equal(t, question.allowed, v.Allowed)
			require.Equal(t, byDryRun, v.By)
			if question.allowed {
				require.Equal(t, "an access rule of TokenServer "+server.Name+" allows it; which one is for the platform team to see", v.Message)
			} else {
				require.Contains(t, v.Message, strings.Replace(question.says, "of the TokenServer", "of TokenServer "+server.Name, 1))
			}
		})
	}
	apps := &v1alpha1.ConnectedAppList{}
	require.NoError(t, plane.Client.List(t.Context(), apps, client.InNamespace(s.Namespace)))
	require.Empty(t, apps.Items, "nothing is made by asking")

	_, err = member.ask(t, CanIOptions{TokenServer: server.Name, Scopes: []string{"view:x"}})
	require.Equal(t, ExitNotKnown, exitOf(t, err))
	require.ErrorContains(t, err, "a dry run needs a whole app: give --grant")
	_, err = member.ask(t, CanIOptions{TokenServer: "nowhere", GrantTypes: []string{"client_credentials"}})
	require.ErrorContains(t, err, "or no TokenServer nowhere")
	err = member.CanIList(t.Context(), server.Name)
	require.Equal(t, ExitNotKnown, exitOf(t, err))
	require.EqualError(t, err, "cannot tell what is allowed: you may not read TokenServer "+server.Name)

	_, err = s.as(t, "nobody").ask(t, CanIOptions{TokenServer: server.Name, GrantTypes: []string{"client_credentials"}})
	require.Equal(t, ExitNotKnown, exitOf(t, err), "no right is no answer")
	require.ErrorContains(t, err, "and you may not create a ConnectedApp in namespace "+s.Namespace+" either")
}

// What no app can have is refused to everybody, also by somebody without rights and
// without an admission policy, and although a rule lists it.
func TestCanISaysNoToWhatNoAppCanHave(t *testing.T) {
	s := newSite(t)
	rule := testenv.AllowAll(s.Namespace)
	server := withRules(t, rule)
	people := map[string]*site{"platform team": s.platformTeam(t, "system:aggregate-to-view"), "app team": s.as(t, "member", appTeam...), "nobody": s.user(t, "nobody")}
	for name, test := range map[string]struct {
		ask  CanIOptions
		says string
	}{
		"a scope of users for an app of its own": {
			CanIOptions{GrantTypes: []string{"client_credentials"}, Scopes: []string{"openid"}},
			"spec.scopes: openid, email and offline_access are for apps that act for users, not for client_credentials",
		},
		"two grants that exclude each other": {
			CanIOptions{GrantTypes: []string{"client_credentials", "refresh_token"}}, "spec.grantTypes: client_credentials must be the only grant type",
		},
		"a redirect host for an app of its own": {
			CanIOptions{GrantTypes: []string{"client_credentials"}, RedirectHosts: []string{"shop.example.com"}}, "spec.redirectURIs: ",
		},
		"an environment for an app of users": {
			CanIOptions{GrantTypes: []string{"authorization_code"}, Scopes: []string{"profile"}, EnvironmentID: "prod"},
			"spec.scopes: organizationID and environmentID are for apps with client_credentials",
		},
		"a grant that is misspelled": {CanIOptions{GrantTypes: []string{"client_credential"}}, `spec.grantTypes[0]: Unsupported value: "client_credential"`},
		"an audience that is none":   {CanIOptions{GrantTypes: []string{"client_credentials"}, Audience: "all"}, `spec.audience: Unsupported value: "all"`},
	} {
		for who, asks := range people {
			test.ask.TokenServer = server.Name
			v, err := asks.ask(t, test.ask)
			require.Equal(t, ExitNo, exitOf(t, err), "%s, %s: %v", name, who, err)
			require.False(t, v.Allowed)
			require.Equal(t, "validation rules", v.By)
			require.Contains(t, v.Message, "no app can have that; "+test.says)
			require.NotEmpty(t, v.Missing)
		}
	}
	v, err := people["platform team"].ask(t, CanIOptions{TokenServer: server.Name, GrantTypes: []string{"authorization_code", "refresh_token"}, Scopes: []string{"openid"}})
	require.NoError(t, err, "where people are sent was not asked")
	require.True(t, v.Allowed)
}

func TestCanIOfAPlatformTeam(t *testing.T) {
	s := newSite(t)
	server := withRules(t, rulesOf(s.Namespace)...)
	platform := s.platformTeam(t, "system:aggregate-to-view")
	require.NoError(t, platform.CanI(t.Context(), CanIOptions{TokenServer: server.Name, GrantTypes: []string{"client_credentials"}}))
	require.Equal(t, "yes: access rule batch allows the app\n", platform.out.String())
	platform.out.Reset()
	err := platform.CanI(t.Context(), CanIOptions{TokenServer: server.Name, GrantTypes: []string{"password"}})
	require.Equal(t, ExitNo, exitOf(t, err))
	require.Regexp(t, `^no: no access rule of the TokenServer allows all of the app; the nearest, .*\n$`, platform.out.String())
	_, err = platform.ask(t, CanIOptions{TokenServer: "nowhere", GrantTypes: []string{"password"}})
	require.Equal(t, ExitNotKnown, exitOf(t, err))
	require.EqualError(t, err, "there is no TokenServer nowhere")

	platform.out.Reset()
	require.NoError(t, platform.CanIList(t.Context(), server.Name))
	require.Equal(t, `rule batch
  grant types          client_credentials
  scopes               view:*, manage:runtime in environment prod

rule web
  grant types          authorization_code, refresh_token
  scopes               profile
  redirect hosts       *.example.com
  audiences            internal, everyone
  deletion policies    Delete
  clients to adopt     f9c7
  also                 skipUserConsent
`, platform.out.String())
	platform.Output = OutputJSON
	platform.out.Reset()
	require.NoError(t, platform.CanIList(t.Context(), server.Name))
	var all Allowance
	require.NoError(t, json.Unmarshal(platform.out.Bytes(), &all))
	require.Equal(t, server.Spec.Access[:2], all.Rules)

	elsewhere := withRules(t, rulesOf("elsewhere")...)
	platform.Output = OutputText
	platform.out.Reset()
	require.NoError(t, platform.CanIList(t.Context(), elsewhere.Name))
	require.Empty(t, platform.out.String())
	require.Contains(t, platform.said.String(), "no access rule of the TokenServer selects namespace "+s.Namespace+" by its labels")
	v, err := platform.ask(t, CanIOptions{TokenServer: elsewhere.Name, GrantTypes: []string{"password"}})
	require.Equal(t, ExitNo, exitOf(t, err))
	require.Empty(t, v.Rule)
}
