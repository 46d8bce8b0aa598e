// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/refresher"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// loginSite is a site with an app that people log in to, on a real token server.
type loginSite struct {
	*site
	server *tokenservertest.Instance
	client oauth.ConnectedApp
}

func newLoginSite(t *testing.T, change ...func(*v1alpha1.ConnectedApp)) *loginSite {
	t.Helper()
	s := &loginSite{site: newSite(t), server: tokenservertest.Start(t)}
	s.client = s.register(t)
	s.app(t, "gitproxy", append([]func(*v1alpha1.ConnectedApp){func(a *v1alpha1.ConnectedApp) {
		a.Spec.GrantTypes = []v1alpha1.GrantType{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken}
		a.Spec.RedirectURIs = []v1alpha1.RedirectURI{"https://example.com/", "http://127.0.0.1/callback"}
		a.Spec.Scopes = []v1alpha1.ScopeAssignment{{Scope: "profile"}, {Scope: "offline_access"}}
	}}, change...)...)
	s.secret(t, "gitproxy-credentials", map[string][]byte{
		"client-id": []byte(s.client.ClientID), "client-secret": []byte(s.client.ClientSecret),
		"authorization-url": []byte(s.server.URL + oauth.PathAuthorize), "token-url": []byte(s.server.URL + oauth.PathToken),
	})
	return s
}

func (s *loginSite) register(t *testing.T) oauth.ConnectedApp {
	t.Helper()
	token, err := tokenOf(t.Context(), &refresher.Credentials{
		ClientID: s.server.AdminClientID, ClientSecret: s.server.AdminClientSecret, TokenURL: s.server.URL + oauth.PathToken, AuthMethod: oauth.AuthMethodSecretPost,
	}, nil)
	require.NoError(t, err)
	body, err := json.Marshal(map[string]any{
		"client_name": "gitproxy", "grant_types": []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken},
		"redirect_uris": []string{"http://127.0.0.1/callback"}, "scopes": []string{"profile", "offline_access"},
		"public_keys": []string{}, "audience": oauth.AudienceInternal,
	})
	require.NoError(t, err)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.server.URL+oauth.PathConnectedApps, bytes.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+token.AccessToken)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	require.Equal(t, http.StatusCreated, response.StatusCode)
	var app oauth.ConnectedApp
	require.NoError(t, json.NewDecoder(response.Body).Decode(&app))
	return app
}

// browser logs the user in: the token server takes the request, and the code is
// stored as its pages do once the user said yes.
func (s *loginSite) browser(t *testing.T, change func(back url.Values)) func(string) error {
	return func(address string) error {
		asked, code := consented(t, s.server, address)
		back := url.Values{"code": {code}, "state": {asked.Get("state")}}
		if change != nil {
			change(back)
		}
		go func() {
			page, err := http.Get(asked.Get("redirect_uri") + "?" + back.Encode())
			if err == nil {
				_ = page.Body.Close()
			}
		}()
		return nil
	}
}

// consented is what the address of an authorization request asks for, and the code
// that a person gets who says yes to it.
func consented(t *testing.T, server *tokenservertest.Instance, address string) (asked url.Values, code string) {
	t.Helper()
	response, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Get(address)
	require.NoError(t, err)
	_ = response.Body.Close()
	require.Less(t, response.StatusCode, 400, "the token server takes the request")

	u, err := url.Parse(address)
	require.NoError(t, err)
	asked, raw, now := u.Query(), rand.Text(), time.Now()
	require.Equal(t, "S256", asked.Get("code_challenge_method"))
	hash := sha256.Sum256([]byte(raw))
	epoch, err := server.Store.Epoch(t.Context(), storage.EpochUser, tokenservertest.UserID)
	require.NoError(t, err)
	require.NoError(t, server.Store.CreateCode(t.Context(), storage.AuthorizationCode{
		Hash: hash[:], ClientID: asked.Get("client_id"), Epochs: storage.Epochs{User: epoch.Value}, UserID: tokenservertest.UserID, OrgID: server.OrgID,
		RedirectURI: asked.Get("redirect_uri"), Scopes: strings.Fields(asked.Get("scope")), Challenge: asked.Get("code_challenge"),
		AuthTime: now, SessionID: "sid", GrantID: uuid.NewString(), CreatedAt: now, ExpiresAt: now.Add(time.Minute),
	}))
	return asked, raw
}

// A login ends in a Secret that an AccessToken goes on from.
func TestLogin(t *testing.T) {
	s := newLoginSite(t)
	for range 2 { // the second replaces the first
		s.out.Reset()
		require.NoError(t, s.Login(t.Context(), "gitproxy", LoginOptions{Open: s.browser(t, nil), Timeout: time.Minute}))
		secret := &corev1.Secret{}
		require.NoError(t, plane.Client.Get(t.Context(), client.ObjectKey{Namespace: s.Namespace, Name: "gitproxy-login"}, secret))
		require.Equal(t, v1alpha1.SecretReferenced, secret.Labels[v1alpha1.LabelSecret], "the manager may read it")
		token, err := tokenOf(t.Context(), &refresher.Credentials{
			ClientID: s.client.ClientID, ClientSecret: s.client.ClientSecret, TokenURL: s.server.URL + oauth.PathToken,
			GrantType: oauth.GrantRefreshToken, RefreshToken: string(secret.Data["refresh-token"]),
		}, nil)
		require.NoError(t, err)
		require.Contains(t, token.Scope, "offline_access")
		require.NotContains(t, s.said.String()+s.out.String(), string(secret.Data["refresh-token"]), "it is not shown")
	}
	require.Contains(t, s.out.String(), "seedSecretRef: {name: gitproxy-login, key: refresh-token}")

	s.accessToken(t, "gitproxy", func(a *v1alpha1.AccessToken) {
		a.Spec.Grant = &v1alpha1.Grant{Type: v1alpha1.AccessTokenRefreshToken, RefreshToken: &v1alpha1.RefreshTokenGrant{
			SeedSecretRef: v1alpha1.SecretKeyReference{Name: "gitproxy-login", Key: "refresh-token"},
		}}
	})
	s.out.Reset()
	require.NoError(t, s.Login(t.Context(), "gitproxy", LoginOptions{Open: s.browser(t, nil), Timeout: time.Minute}))
	require.Contains(t, s.said.String(), "AccessToken gitproxy goes on from it")
	require.Empty(t, s.out.String())
}

// What comes from somebody else's page, or without the user's yes, is no login.
func TestWhatIsNoLogin(t *testing.T) {
	s := newLoginSite(t)
	err := s.Login(t.Context(), "gitproxy", LoginOptions{Timeout: time.Minute, Open: s.browser(t, func(back url.Values) {
		back.Del("code")
		back.Set("error", "access_denied")
	})})
	require.EqualError(t, err, "the token server says access_denied")
	err = s.Login(t.Context(), "gitproxy", LoginOptions{Timeout: time.Minute, Open: s.browser(t, func(back url.Values) { back.Set("code", "stolen") })})
	require.ErrorContains(t, err, "the token server does not redeem the code: invalid_grant")
	stopped, stop := context.WithCancel(t.Context())
	err = s.Login(stopped, "gitproxy", LoginOptions{Timeout: time.Minute, Open: func(string) error { stop(); return nil }})
	require.EqualError(t, err, "stopped before the login was done: nothing was stored")
	err = s.Login(t.Context(), "gitproxy", LoginOptions{Timeout: 2 * time.Second, Open: s.browser(t, func(back url.Values) { back.Set("state", "of another") })})
	require.EqualError(t, err, "nobody came back from the browser in time")
	require.True(t, isNotFound(s.get(t.Context(), "gitproxy-login", "Secret", &corev1.Secret{})), "nothing was stored")
}

// What is missing is said before anybody is asked to log in.
func TestWhatALoginNeeds(t *testing.T) {
	never := func(string) error {
		t.Error("the browser is opened")
		return nil
	}
	for name, c := range map[string]struct {
		change func(*v1alpha1.ConnectedApp)
		says   string
	}{
		"the grant": {func(a *v1alpha1.ConnectedApp) {
			a.Spec.GrantTypes = []v1alpha1.GrantType{oauth.GrantAuthorizationCode}
		}, "does not have refresh_token among its spec.grantTypes"},
		"an address to come back to": {func(a *v1alpha1.ConnectedApp) {
			a.Spec.RedirectURIs = []v1alpha1.RedirectURI{"https://example.com/", "http://localhost/callback"}
		}, "add http://127.0.0.1/callback"},
		"offline access": {func(a *v1alpha1.ConnectedApp) { a.Spec.Scopes = a.Spec.Scopes[:1] }, "does not have offline_access among its spec.scopes"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newLoginSite(t, c.change)
			require.ErrorContains(t, s.Login(t.Context(), "gitproxy", LoginOptions{Open: never}), c.says)
		})
	}
	t.Run("a port that is free", func(t *testing.T) {
		running := httptest.NewServer(http.NotFoundHandler())
		t.Cleanup(running.Close)
		own := v1alpha1.RedirectURI(running.URL + "/callback")
		s := newLoginSite(t, func(a *v1alpha1.ConnectedApp) { a.Spec.RedirectURIs = []v1alpha1.RedirectURI{own} })
		require.ErrorContains(t, s.Login(t.Context(), "gitproxy", LoginOptions{Open: never}), "with http://127.0.0.1/callback among spec.redirectURIs any port serves")
		s = newLoginSite(t, func(a *v1alpha1.ConnectedApp) {
			a.Spec.RedirectURIs = append([]v1alpha1.RedirectURI{own}, a.Spec.RedirectURIs...)
		})
		require.NoError(t, s.Login(t.Context(), "gitproxy", LoginOptions{Open: s.browser(t, nil), Timeout: time.Minute}))
	})
	for name, c := range map[string]struct{ key, value, says string }{
		"an address that a browser opens": {
			"authorization-url", "file:///usr/bin/calculator", "the Secret gitproxy-credentials of ConnectedApp gitproxy: authorization-url is not an http or https URL",
		},
		"an address that is no option":     {"authorization-url", "--help", "authorization-url is not an http or https URL"},
		"an address that nobody overhears": {"token-url", "http://id.example.com/token", "token-url is http on another host than loopback"},
		"certificates":                     {"ca.crt", "none", "ca.crt holds no PEM certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newLoginSite(t)
			secret := &corev1.Secret{}
			require.NoError(t, s.get(t.Context(), "gitproxy-credentials", "Secret", secret))
			secret.Data[c.key] = []byte(c.value)
			require.NoError(t, plane.Client.Update(t.Context(), secret))
			require.ErrorContains(t, s.Login(t.Context(), "gitproxy", LoginOptions{Open: never}), c.says)
		})
	}
	t.Run("what authenticates the app", func(t *testing.T) {
		s := newLoginSite(t, func(a *v1alpha1.ConnectedApp) {
			a.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsServiceAccount, ServiceAccounts: []v1alpha1.ServiceAccountReference{{Name: "web"}}}
		})
		require.EqualError(t, s.Login(t.Context(), "gitproxy", LoginOptions{Open: never}),
			"ConnectedApp gitproxy has spec.credentials.type ServiceAccount, and what authenticates it is in its Pods alone: "+
				"read the token that the refresher writes there")
	})
	t.Run("the right to keep it", func(t *testing.T) {
		s := newLoginSite(t)
		s.Client = interceptor.NewClient(plane.Client, interceptor.Funcs{
			Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error {
				return apierrors.NewForbidden(corev1.Resource("secrets"), "gitproxy-login", errors.New("no"))
			},
		})
		require.ErrorContains(t, s.Login(t.Context(), "gitproxy", LoginOptions{Open: never}), "Secret gitproxy-login: secrets \"gitproxy-login\" is forbidden")
	})
	t.Run("a Secret that can change", func(t *testing.T) {
		s := newLoginSite(t)
		require.NoError(t, plane.Client.Create(t.Context(), &corev1.Secret{Immutable: new(true), ObjectMeta: metav1.ObjectMeta{
			Namespace: s.Namespace, Name: "gitproxy-login", Labels: map[string]string{v1alpha1.LabelSecret: v1alpha1.SecretReferenced},
		}}))
		require.EqualError(t, s.Login(t.Context(), "gitproxy", LoginOptions{Open: never}), "Secret gitproxy-login is immutable: name another with --secret, or delete it")
	})
	t.Run("a Secret of its own", func(t *testing.T) {
		s := newLoginSite(t)
		err := s.Login(t.Context(), "gitproxy", LoginOptions{Open: never, Secret: "gitproxy-credentials"})
		require.EqualError(t, err, "Secret gitproxy-credentials is there and not of a login: name another with --secret, or delete it")
	})
}

// The user has logged in: what happens to the Secret meanwhile loses nothing.
func TestALoginOutlivesWhatHappensToItsSecret(t *testing.T) {
	for name, meanwhile := range map[string]func(*loginSite, *corev1.Secret) error{
		"made":    func(_ *loginSite, secret *corev1.Secret) error { return plane.Client.Create(t.Context(), secret) },
		"changed": func(_ *loginSite, secret *corev1.Secret) error { return plane.Client.Update(t.Context(), secret) },
		"deleted": func(_ *loginSite, secret *corev1.Secret) error { return plane.Client.Delete(t.Context(), secret) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newLoginSite(t)
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
				Namespace: s.Namespace, Name: "gitproxy-login", Labels: map[string]string{v1alpha1.LabelSecret: v1alpha1.SecretReferenced},
			}}
			if name != "made" {
				require.NoError(t, plane.Client.Create(t.Context(), secret))
			}
			write := func() error {
				if meanwhile == nil || name == "changed" && secret.Annotations != nil {
					return nil
				}
				secret.Annotations = map[string]string{"seen": "by another"}
				do := meanwhile
				meanwhile = nil
				return do(s, secret)
			}
			dry := func(options []string) bool { return len(options) > 0 }
			s.Client = interceptor.NewClient(plane.Client, interceptor.Funcs{
				Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
					if all := (&client.CreateOptions{}).ApplyOptions(options); !dry(all.DryRun) {
						require.NoError(t, write())
					}
					return c.Create(ctx, o, options...)
				},
				Update: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.UpdateOption) error {
					if all := (&client.UpdateOptions{}).ApplyOptions(options); !dry(all.DryRun) {
						require.NoError(t, write())
					}
					return c.Update(ctx, o, options...)
				},
			})
			require.NoError(t, s.Login(t.Context(), "gitproxy", LoginOptions{Open: s.browser(t, nil), Timeout: time.Minute}))
			require.Nil(t, meanwhile)
			kept := &corev1.Secret{}
			require.NoError(t, s.get(t.Context(), "gitproxy-login", "Secret", kept))
			require.NotEmpty(t, kept.Data["refresh-token"])
		})
	}
}

// An AccessToken that is at work is not changed by applying what is printed.
func TestALoginTouchesNoOtherAccessToken(t *testing.T) {
	s := newLoginSite(t)
	s.accessToken(t, "gitproxy")
	s.accessToken(t, "other", func(a *v1alpha1.AccessToken) {
		a.Spec.ConnectedAppRef.Name = "other"
		a.Spec.Grant = &v1alpha1.Grant{Type: v1alpha1.AccessTokenRefreshToken, RefreshToken: &v1alpha1.RefreshTokenGrant{
			SeedSecretRef: v1alpha1.SecretKeyReference{Name: "gitproxy-login", Key: "refresh-token"},
		}}
	})
	require.NoError(t, s.Login(t.Context(), "gitproxy", LoginOptions{Open: s.browser(t, nil), Timeout: time.Minute}))
	require.Contains(t, s.out.String(), "  name: gitproxy-login\n  namespace: "+s.Namespace+"\nspec:\n  connectedAppRef: {name: gitproxy}\n")
	require.NotContains(t, s.said.String(), "other goes on")
}

// What opens a browser may have been started and find none.
func TestTheAddressIsShownWhateverBecomesOfTheBrowser(t *testing.T) {
	s := newLoginSite(t)
	var opened string
	browser := s.browser(t, nil)
	require.NoError(t, s.Login(t.Context(), "gitproxy", LoginOptions{Timeout: time.Minute, Open: func(address string) error {
		opened = address
		return browser(address)
	}}))
	require.Contains(t, s.said.String(), "\n  "+opened+"\n")
}

// The client secret is sent as the app's Secret says, and a server that does not
// answer as it should is named.
func TestACodeIsRedeemedAsTheSecretSays(t *testing.T) {
	s := newLoginSite(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _, basic := r.BasicAuth()
		assert.True(t, basic)
		assert.Empty(t, r.FormValue("client_secret"))
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer server.Close()
	secret := &corev1.Secret{}
	require.NoError(t, s.get(t.Context(), "gitproxy-credentials", "Secret", secret))
	secret.Data["token-url"], secret.Data["auth-method"] = []byte(server.URL), []byte("client_secret_basic\n")
	require.NoError(t, plane.Client.Update(t.Context(), secret))
	err := s.Login(t.Context(), "gitproxy", LoginOptions{Open: s.browser(t, nil), Timeout: time.Minute})
	require.EqualError(t, err, "the token server does not redeem the code: it answered 502 Bad Gateway")
}

// An app may have a scope for several organizations, with others between.
func TestAScopeIsAskedForOnce(t *testing.T) {
	app := &v1alpha1.ConnectedApp{Spec: v1alpha1.ConnectedAppSpec{
		GrantTypes: []v1alpha1.GrantType{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken}, RedirectURIs: []v1alpha1.RedirectURI{"http://127.0.0.1/callback"},
		Scopes: []v1alpha1.ScopeAssignment{{Scope: "view:x"}, {Scope: "offline_access"}, {Scope: "view:x"}},
	}}
	for _, asked := range [][]string{nil, {"offline_access", "view:x"}} {
		_, scopes, err := loginOf(app, asked)
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"offline_access", "view:x"}, scopes)
	}
}
