// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/refresher"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

func hour(h int) *metav1.Time {
	return new(metav1.NewTime(time.Now().Add(time.Duration(h)*time.Hour + 30*time.Second).Truncate(time.Second)))
}

// payments has an app that rotates, one that waits, and a token of each.
func payments(t *testing.T) *site {
	t.Helper()
	s := newSite(t)
	s.app(t, "gitproxy", func(a *v1alpha1.ConnectedApp) {
		a.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsSecret, Rotation: &v1alpha1.Rotation{Interval: &metav1.Duration{Duration: 720 * time.Hour}}}
		a.Status = v1alpha1.ConnectedAppStatus{
			ClientID: "f9c7", Binding: &v1alpha1.SecretBinding{Name: "gitproxy-credentials"},
			Secrets:    []v1alpha1.ClientSecretStatus{{ID: "1", CreatedAt: hour(-100)}},
			Conditions: []metav1.Condition{condition("Ready", "True", "Ready", "as the spec says")},
		}
	})
	s.app(t, "late", func(a *v1alpha1.ConnectedApp) {
		a.Status.Conditions = []metav1.Condition{condition("Ready", "False", "AccessDenied", "no access rule allows scope admin")}
	})
	s.app(t, "new")
	s.accessToken(t, "web", func(a *v1alpha1.AccessToken) {
		a.Status = v1alpha1.AccessTokenStatus{
			Binding: &v1alpha1.SecretBinding{Name: "web-token"}, ExpiresAt: hour(2), NextRefreshTime: hour(1),
			Conditions: []metav1.Condition{condition("Ready", "True", "Ready", "fresh")},
		}
	})
	return s
}

func TestStatusIsATableAndWhatIsWrong(t *testing.T) {
	s := payments(t)
	require.NoError(t, s.Status(t.Context()))
	lines := strings.Split(s.out.String(), "\n")
	require.Equal(t, []string{"CONNECTEDAPP", "READY", "REASON", "CLIENT-ID", "SECRET", "NEXT-ROTATION"}, strings.Fields(lines[0]))
	require.Regexp(t, `^gitproxy +True +Ready +f9c7 +gitproxy-credentials +in 2\dd$`, lines[1])
	require.Regexp(t, `^late +False +AccessDenied +- +- +-$`, lines[2])
	require.Regexp(t, `^new +Unknown +- +- +- +-$`, lines[3])
	require.Empty(t, lines[4])
	require.Equal(t, []string{"ACCESSTOKEN", "READY", "REASON", "APP", "SECRET", "EXPIRES", "NEXT-REFRESH"}, strings.Fields(lines[5]))
	require.Regexp(t, `^web +True +Ready +gitproxy +web-token +in 2h0m +in 1h0m$`, lines[6])
	require.Contains(t, s.out.String(), "\nConnectedApp late: no access rule allows scope admin\nConnectedApp new: the manager has not seen it yet\n")
	require.NotContains(t, s.out.String(), "\x1b", "colours are for terminals")
	require.Equal(t, strings.Index(lines[0], "READY"), strings.Index(lines[2], "False"), "columns stand below each other")
}

func TestColoursDoNotMoveColumns(t *testing.T) {
	s := payments(t)
	require.NoError(t, s.Status(t.Context()))
	plain := s.out.String()
	s.out.Reset()
	s.Color = true
	require.NoError(t, s.Status(t.Context()))
	require.Contains(t, s.out.String(), "\x1b[32mTrue\x1b[0m")
	require.Contains(t, s.out.String(), "\x1b[31mFalse\x1b[0m")
	require.Contains(t, s.out.String(), "\x1b[33mUnknown\x1b[0m")
	require.Equal(t, plain, strings.NewReplacer("\x1b[32m", "", "\x1b[31m", "", "\x1b[33m", "", "\x1b[0m", "").Replace(s.out.String()))
}

func TestStatusOfAllNamespaces(t *testing.T) {
	one, other := payments(t), payments(t)
	all := one.platformTeam(t, "system:aggregate-to-view")
	all.Namespace = metav1.NamespaceAll
	require.NoError(t, all.Status(t.Context()))
	lines := strings.Split(all.out.String(), "\n")
	require.Equal(t, []string{"NAMESPACE", "CONNECTEDAPP", "READY", "REASON", "CLIENT-ID", "SECRET", "NEXT-ROTATION"}, strings.Fields(lines[0]))
	for _, s := range []*site{one, other} {
		require.Regexp(t, `(?m)^`+s.Namespace+` +late +False +AccessDenied +- +- +-$`, all.out.String())
		require.Regexp(t, `(?m)^`+s.Namespace+` +web +True +Ready +gitproxy +web-token +in 2h0m +in 1h0m$`, all.out.String())
		require.Contains(t, all.out.String(), "\nConnectedApp "+s.Namespace+"/late: no access rule allows scope admin\n")
	}
	plain := all.out.String()
	all.out.Reset()
	all.Color = true
	require.NoError(t, all.Status(t.Context()))
	require.Regexp(t, `(?m)^`+one.Namespace+" +late +\x1b\\[31mFalse\x1b\\[0m ", all.out.String(), plain)

	all.out.Reset()
	all.Output = OutputJSON
	require.NoError(t, all.Status(t.Context()))
	var o Overview
	require.NoError(t, json.Unmarshal(all.out.Bytes(), &o))
	require.Empty(t, o.Namespace)
	found := map[string]int{}
	for _, app := range o.ConnectedApps {
		found[app.Namespace]++
	}
	require.Equal(t, [2]int{3, 3}, [2]int{found[one.Namespace], found[other.Namespace]})
	all.out.Reset()
	all.Output = OutputName
	require.NoError(t, all.Status(t.Context()))
	require.Contains(t, all.out.String(), "accesstoken.connectedapps.dev/web\n")

	member := one.as(t, "member", appTeam...)
	member.Namespace = metav1.NamespaceAll
	require.EqualError(t, member.Status(t.Context()), "listing ConnectedApps: you, user member-"+one.Namespace+", may not list connectedapps "+
		"in the whole cluster: ask the platform team, or name one namespace with -n in place of --all-namespaces")
	require.Empty(t, member.out.String())
}

// What somebody wrote into a status, or a Secret, does nothing to a terminal.
func TestATerminalIsToldTexts(t *testing.T) {
	const evil = "\x1b]0;owned\x07 \u009b2J \u202etxet\nConnectedApp late: all is well"
	s := newSite(t)
	app := s.app(t, "late", func(a *v1alpha1.ConnectedApp) {
		a.Status.ClientID = "\x1b[2J"
		a.Status.Conditions = []metav1.Condition{condition("Ready", "False", "AccessDenied", evil)}
	})
	require.NoError(t, s.Status(t.Context()))
	s.say("%s", progress(app))
	require.NoError(t, s.StatusOf(t.Context(), "late"))
	difference := Difference{ConnectedApps: []AppDifference{{
		Namespace: evil, Name: evil, ClientID: evil, Why: evil, Secret: evil, Notes: []string{evil},
		Actions: []DiffAction{{Action: evil, Changes: []DiffChange{{Field: evil, Before: evil, After: evil}, {Field: evil, After: evil}}}},
	}}}
	difference.print(s.out, false, false)
	difference.print(s.out, false, true)
	require.NoError(t, s.report(&Rotation{ConnectedApp: "late", Done: true, Secret: "x", Message: evil}))
	for text := range strings.Lines(s.out.String() + s.said.String()) {
		require.False(t, strings.HasPrefix(text, "ConnectedApp late: all is well"), "nobody speaks for us")
	}
	s.Output = OutputJSON
	require.NoError(t, s.Status(t.Context()))
	require.NotRegexp(t, "[\x00-\x09\x0b-\x1f\x7f\u0080-\u009f\u202e]", s.out.String()+s.said.String())
	var o Overview
	_, object, _ := strings.Cut(s.out.String(), "{")
	require.NoError(t, json.Unmarshal([]byte("{"+object), &o))
	require.Equal(t, evil, o.ConnectedApps[0].Message, "and programs read what was written")
}

func TestStatusForPrograms(t *testing.T) {
	s := payments(t)
	s.Output = OutputJSON
	require.NoError(t, s.Status(t.Context()))
	var o Overview
	require.NoError(t, json.Unmarshal(s.out.Bytes(), &o))
	require.Equal(t, s.Namespace, o.Namespace)
	require.Len(t, o.ConnectedApps, 3)
	require.Equal(t, "f9c7", o.ConnectedApps[0].ClientID)
	require.WithinDuration(t, time.Now().Add(27*24*time.Hour), o.ConnectedApps[0].NextRotation, 4*24*time.Hour)
	require.Equal(t, "no access rule allows scope admin", o.ConnectedApps[1].Message)
	require.Equal(t, metav1.ConditionTrue, o.AccessTokens[0].Ready)

	s.out.Reset()
	s.Output = OutputYAML
	require.NoError(t, s.Status(t.Context()))
	var same Overview
	require.NoError(t, yaml.UnmarshalStrict(s.out.Bytes(), &same))
	require.Equal(t, o, same)
	s.out.Reset()
	s.Output = OutputName
	require.NoError(t, s.Status(t.Context()))
	plane.Kubectl(t).Run(t, "", append([]string{"get", "-n", s.Namespace}, strings.Fields(s.out.String())...)...)
	require.Len(t, strings.Fields(s.out.String()), len(o.ConnectedApps)+len(o.AccessTokens))

	empty := newSite(t)
	empty.Output = OutputJSON
	require.NoError(t, empty.Status(t.Context()))
	require.JSONEq(t, `{"namespace": "`+empty.Namespace+`", "connectedApps": [], "accessTokens": []}`, empty.out.String())
	empty.Output = OutputText
	require.NoError(t, empty.Status(t.Context()))
	require.Equal(t, "No ConnectedApps and no AccessTokens in namespace "+empty.Namespace+".\n", empty.said.String())
}

func TestTheTokenOfAnAccessTokenIsPrinted(t *testing.T) {
	s := newSite(t)
	s.accessToken(t, "web", func(a *v1alpha1.AccessToken) {
		a.Status.Conditions = []metav1.Condition{condition("Ready", "False", "TokenRefused", "the token server gives no token")}
	})
	require.EqualError(t, s.Token(t.Context(), "web", TokenOptions{}), "AccessToken web has no Secret web-token yet: TokenRefused: the token server gives no token")

	token := &refresher.Token{AccessToken: "the-token", Scope: "profile", ExpiresAt: time.Now().Add(time.Hour)}
	s.secret(t, "web-token", refresher.Files(token))
	for _, name := range []string{"web", "accesstoken/web", "atok/web"} {
		s.out.Reset()
		require.NoError(t, s.Token(t.Context(), name, TokenOptions{}))
		require.Equal(t, "the-token\n", s.out.String())
	}
	s.out.Reset()
	s.Output = OutputJSON
	require.NoError(t, s.Token(t.Context(), "web", TokenOptions{}))
	require.JSONEq(t, string(refresher.Files(token)["token.json"]), s.out.String())
	require.Empty(t, s.said.String())
	require.ErrorContains(t, s.Token(t.Context(), "atok/web", TokenOptions{Scopes: []string{"x"}}), "--scope is for app/gitproxy")

	secret := &corev1.Secret{}
	require.NoError(t, plane.Client.Get(t.Context(), client.ObjectKey{Namespace: s.Namespace, Name: "web-token"}, secret))
	token.ExpiresAt = time.Now().Add(-time.Hour)
	secret.Data = refresher.Files(token)
	require.NoError(t, plane.Client.Update(t.Context(), secret))
	s.out.Reset()
	require.ErrorContains(t, s.Token(t.Context(), "web", TokenOptions{}), "is of no use: token expired at")
	require.Empty(t, s.out.String())
}

func TestATokenOfAnAppIsMade(t *testing.T) {
	server := tokenservertest.Start(t)
	client := registered(t, server)
	s := newSite(t)
	s.app(t, "gitproxy")
	require.ErrorContains(t, s.Token(t.Context(), "gitproxy", TokenOptions{}), "ConnectedApp gitproxy has no Secret gitproxy-credentials yet")
	s.secret(t, "gitproxy-credentials", map[string][]byte{
		"client-id": []byte(client.ClientID), "client-secret": []byte(client.ClientSecret), "auth-method": []byte("client_secret_post"),
		"token-url": []byte(server.URL + oauth.PathToken), "internal-token-url": []byte("https://inside.invalid/token"),
	})
	for _, what := range []string{"gitproxy", "app/gitproxy", "capp/gitproxy"} {
		s.out.Reset()
		require.NoError(t, s.Token(t.Context(), what, TokenOptions{Scopes: []string{"profile"}}))
		requireAccepted(t, server, strings.TrimSpace(s.out.String()))
	}
	require.Contains(t, s.said.String(), `made a token of ConnectedApp gitproxy for "profile", valid until 20`)
	require.NotContains(t, s.said.String(), strings.TrimSpace(s.out.String()))

	err := s.Token(t.Context(), "gitproxy", TokenOptions{Scopes: []string{"nonsense"}})
	require.ErrorContains(t, err, "no token of ConnectedApp gitproxy: ")
	require.ErrorContains(t, err, "invalid_scope")
	require.NotContains(t, err.Error(), client.ClientSecret)
}

// The keys of the Secrets are those that the spec names, in two Secrets.
func TestATokenOfAnAppWithAnExistingSecret(t *testing.T) {
	server := tokenservertest.Start(t)
	client := registered(t, server)
	s := newSite(t)
	s.app(t, "gitproxy", func(a *v1alpha1.ConnectedApp) {
		a.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsExistingSecret, Secret: &v1alpha1.CredentialsSecretSpec{
			Name: "vault", Keys: map[string]v1alpha1.SecretKey{"client-secret": "password"},
		}}
	})
	s.secret(t, "vault", map[string][]byte{"password": []byte(client.ClientSecret)})
	s.secret(t, "gitproxy-credentials", map[string][]byte{"client-id": []byte(client.ClientID), "token-url": []byte(server.URL + oauth.PathToken)})
	require.NoError(t, s.Token(t.Context(), "gitproxy", TokenOptions{}))
	requireAccepted(t, server, strings.TrimSpace(s.out.String()))
}

func TestNoTokenIsThereForOthers(t *testing.T) {
	s := newSite(t)
	s.app(t, "web", func(a *v1alpha1.ConnectedApp) {
		a.Spec.GrantTypes, a.Spec.RedirectURIs = []v1alpha1.GrantType{"authorization_code"}, []v1alpha1.RedirectURI{"https://example.com/callback"}
	})
	s.app(t, "signs", func(a *v1alpha1.ConnectedApp) {
		a.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsPrivateKey}
		a.Spec.PublicKeys = []v1alpha1.PublicKey{{ConfigMapRef: &v1alpha1.ConfigMapKeyReference{Name: "keys", Key: "public.pem"}}}
	})
	s.app(t, "pods", func(a *v1alpha1.ConnectedApp) {
		a.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsServiceAccount, ServiceAccounts: []v1alpha1.ServiceAccountReference{{Name: "pods"}}}
	})
	for what, want := range map[string]string{
		"signs":            "ConnectedApp signs has spec.credentials.type PrivateKey, and what authenticates it is in its Pods alone",
		"pods":             "ConnectedApp pods has spec.credentials.type ServiceAccount, and what authenticates it is in its Pods alone",
		"nobody":           "there is neither an AccessToken nor a ConnectedApp nobody in namespace " + s.Namespace + "; kubectl connectedapp status -n " + s.Namespace + " shows what there is",
		"app/nobody":       "there is no ConnectedApp nobody in namespace",
		"atok/nobody":      "there is no AccessToken nobody in namespace",
		"pod/web":          `"pod/web" is neither app/NAME, for a ConnectedApp, nor accesstoken/NAME`,
		"connectedapp/":    `"connectedapp/" names nothing`,
		"connectedapp/web": "ConnectedApp web does not have client_credentials among its spec.grantTypes [authorization_code]",
	} {
		require.ErrorContains(t, s.Token(t.Context(), what, TokenOptions{}), want)
		require.Empty(t, s.out.String())
	}
}

// syncBuffer may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// manage plays the manager: it follows the request of the app, and says before
// what it does.
func manage(t *testing.T, s *site, name string, said *syncBuffer) {
	ctx, key := t.Context(), client.ObjectKey{Namespace: s.Namespace, Name: name}
	go func() {
		app := &v1alpha1.ConnectedApp{}
		for ctx.Err() == nil {
			if plane.Client.Get(ctx, key, app) != nil || app.Annotations[v1alpha1.AnnotationRotateRequestedAt] == "" {
				continue
			}
			if len(app.Status.Conditions) == 0 {
				app.Status.Conditions = []metav1.Condition{condition("Ready", "False", "TokenServerUnavailable", "the token server does not answer, trying again")}
			} else if strings.Contains(said.String(), "the token server does not answer") {
				app.Status.LastHandledRotateAt = app.Annotations[v1alpha1.AnnotationRotateRequestedAt]
				app.Status.Binding = &v1alpha1.SecretBinding{Name: "gitproxy-credentials"}
				app.Status.Conditions = []metav1.Condition{condition("Rotating", "True", "Overlap", "client secret 1 is accepted beside the one in the Secret until noon")}
			}
			_ = plane.Client.Status().Update(ctx, app)
		}
	}()
}

func TestRotateWaitsUntilItIsDone(t *testing.T) {
	s := newSite(t)
	said := &syncBuffer{}
	s.Err = said
	s.app(t, "gitproxy")
	manage(t, s, "gitproxy", said)
	require.NoError(t, s.Rotate(t.Context(), "gitproxy", WaitOptions{Timeout: time.Minute, Every: 10 * time.Millisecond}))
	require.Equal(t, "Secret gitproxy-credentials holds another client secret of ConnectedApp gitproxy\n"+
		"client secret 1 is accepted beside the one in the Secret until noon\n", s.out.String())
	require.Contains(t, said.String(), "waiting for the manager\n")
	require.Equal(t, 1, strings.Count(said.String(), "ConnectedApp gitproxy: TokenServerUnavailable: the token server does not answer, trying again\n"))
}

// An app that is ready has nothing to tell while its manager begins: whatever was
// said of that would read as a failure.
func TestRotateOfAReadyAppSaysThatItWaitsAndNothingElse(t *testing.T) {
	s := newSite(t)
	s.app(t, "gitproxy", func(a *v1alpha1.ConnectedApp) {
		a.Status.Conditions = []metav1.Condition{condition("Ready", "True", "Ready", "registered")}
	})
	require.Error(t, s.Rotate(t.Context(), "gitproxy", WaitOptions{Timeout: 200 * time.Millisecond, Every: 10 * time.Millisecond}))
	require.Equal(t, "asked for another client secret of ConnectedApp gitproxy, waiting for the manager\n", s.said.String())
}

func TestRotateThatNobodyFollowsSaysSo(t *testing.T) {
	s := newSite(t)
	s.app(t, "gitproxy")
	err := s.Rotate(t.Context(), "gitproxy", WaitOptions{Timeout: 200 * time.Millisecond, Every: 10 * time.Millisecond})
	require.ErrorContains(t, err, "ConnectedApp gitproxy has no other client secret after 200ms; the request stands")
	require.Contains(t, s.said.String(), "the manager has not seen it yet")

	ctx, cancel := context.WithCancel(t.Context())
	s.Err = writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
	require.ErrorContains(t, s.Rotate(ctx, "gitproxy", WaitOptions{Timeout: time.Hour}), "stopped waiting for another client secret of ConnectedApp gitproxy; the request stands")
}

func TestRotateWithoutWaitingAsks(t *testing.T) {
	s := newSite(t)
	app := s.app(t, "gitproxy")
	s.Output = OutputJSON
	require.NoError(t, s.Rotate(t.Context(), "gitproxy", WaitOptions{}))
	var r Rotation
	require.NoError(t, json.Unmarshal(s.out.Bytes(), &r))
	require.NoError(t, plane.Client.Get(t.Context(), client.ObjectKeyFromObject(app), app))
	require.Equal(t, app.Annotations[v1alpha1.AnnotationRotateRequestedAt], r.RequestedAt)
	require.False(t, r.Done)
	require.LessOrEqual(t, len(r.RequestedAt), 64, "the manager repeats a longer value as its digest")
}

func TestWhatCannotBeRotatedIsLeftAlone(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*v1alpha1.ConnectedApp)
		want   string
	}{
		"suspended": {func(a *v1alpha1.ConnectedApp) { a.Spec.Suspend = new(true) }, "is suspended, and its manager leaves it alone: set spec.suspend to false first"},
		"somebody else's": {func(a *v1alpha1.ConnectedApp) {
			a.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsExistingSecret, Secret: &v1alpha1.CredentialsSecretSpec{Name: "vault"}}
		}, "is made by somebody else: put a new one into Secret vault"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			app := s.app(t, "gitproxy", test.change)
			require.ErrorContains(t, s.Rotate(t.Context(), "gitproxy", WaitOptions{}), test.want)
			require.NoError(t, plane.Client.Get(t.Context(), client.ObjectKeyFromObject(app), app))
			require.Empty(t, app.Annotations)
		})
	}
	s := newSite(t)
	require.ErrorContains(t, s.Rotate(t.Context(), "nobody", WaitOptions{}), "there is no ConnectedApp nobody in namespace")
}
