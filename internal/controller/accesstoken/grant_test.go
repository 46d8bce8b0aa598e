// SPDX-License-Identifier: Apache-2.0

package accesstoken_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/registrar"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// passwordHash is made once: it is slow on purpose.
var passwordHash = sync.OnceValues(func() (string, error) { return user.HashPassword(tokenservertest.Password) })

const callback = "https://example.com/callback"

// person is a bench whose app acts for people.
type person struct {
	*bench
	key *ecdsa.PrivateKey
}

func newPerson(t *testing.T) *person {
	t.Helper()
	hash, err := passwordHash()
	require.NoError(t, err)
	grants := []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken, oauth.GrantPassword, oauth.GrantJWTBearer}
	w := &person{bench: newBenchOn(t, []tokenservertest.Option{tokenservertest.WithPasswordHash(hash)}, func(a *v1alpha1.ConnectedApp) {
		a.Spec.GrantTypes = nil
		for _, grant := range grants[:3] {
			a.Spec.GrantTypes = append(a.Spec.GrantTypes, v1alpha1.GrantType(grant))
		}
		a.Spec.RedirectURIs = []v1alpha1.RedirectURI{callback}
	})}
	w.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(w.key.Public())
	require.NoError(t, err)
	w.edit(w.app, func() {
		w.app.Spec.GrantTypes = append(w.app.Spec.GrantTypes, oauth.GrantJWTBearer)
		w.app.Spec.PublicKeys = []v1alpha1.PublicKey{{PEM: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}}
	})
	name, audience := "web", oauth.AudienceInternal
	registered, err := w.manager.Register(t.Context(), "", registrar.Fields{
		ClientName: &name, GrantTypes: &grants, Audience: &audience, RedirectURIs: &[]string{callback},
		Scopes: &[]string{"profile", "offline_access"}, PublicKeys: &[]string{w.app.Spec.PublicKeys[0].PEM},
		IdentityProviders: &[]string{tokenservertest.ProviderID},
	})
	require.NoError(t, err)
	w.clientID, w.clientSecret = registered.App.ClientID, registered.App.ClientSecret
	w.setApp(func() { w.summarise(nil) })
	w.withCredentials()
	return w
}

// login is what a login of the user gives: a refresh token.
func (w *person) login() string {
	w.Helper()
	verifier := rand.Text() + rand.Text()
	challenge := sha256.Sum256([]byte(verifier))
	raw, now := rand.Text(), time.Now()
	hash := sha256.Sum256([]byte(raw))
	epoch, err := w.server.Store.Epoch(w.Context(), storage.EpochUser, tokenservertest.UserID)
	require.NoError(w, err)
	require.NoError(w, w.server.Store.CreateCode(w.Context(), storage.AuthorizationCode{
		Hash: hash[:], ClientID: w.clientID, Epochs: storage.Epochs{User: epoch.Value}, UserID: tokenservertest.UserID, OrgID: w.server.OrgID,
		RedirectURI: callback, Scopes: []string{"profile", "offline_access"}, Challenge: base64.RawURLEncoding.EncodeToString(challenge[:]),
		AuthTime: now, SessionID: "sid", GrantID: uuid.NewString(), CreatedAt: now, ExpiresAt: now.Add(time.Minute),
	}))
	answer := w.post("grant_type", oauth.GrantAuthorizationCode, "code", raw, "redirect_uri", callback, "code_verifier", verifier)
	require.NotEmpty(w, answer.RefreshToken)
	return answer.RefreshToken
}

// post asks the token endpoint as the app, and not as the manager.
func (w *person) post(fields ...string) oauth.TokenResponse {
	w.Helper()
	form := url.Values{"client_id": {w.clientID}, "client_secret": {w.clientSecret}}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	request, err := http.NewRequestWithContext(w.Context(), http.MethodPost, w.server.URL+oauth.PathToken, strings.NewReader(form.Encode()))
	require.NoError(w, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("User-Agent", managerAgent) // it is not counted
	response, err := http.DefaultClient.Do(request)
	require.NoError(w, err)
	defer func() { _ = response.Body.Close() }()
	var answer oauth.TokenResponse
	require.NoError(w, json.NewDecoder(response.Body).Decode(&answer))
	return answer
}

// grants makes the AccessToken use a grant, and the Secret that it names.
func (w *person) grants(grant *v1alpha1.Grant, data map[string]string) *corev1.Secret {
	w.Helper()
	secret := theirs(w.namespace, "theirs", data)
	plane.Create(w.T, secret)
	w.edit(w.token, func() { w.token.Spec.Grant = grant })
	return secret
}

func seeded() *v1alpha1.Grant {
	return &v1alpha1.Grant{
		Type:         v1alpha1.AccessTokenRefreshToken,
		RefreshToken: &v1alpha1.RefreshTokenGrant{SeedSecretRef: v1alpha1.SecretKeyReference{Name: "theirs", Key: "seed"}},
	}
}

// chain is the refresh token that the manager keeps.
func (w *person) chain() string {
	w.Helper()
	secret := &corev1.Secret{}
	require.NoError(w, plane.Client.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: "gitproxy-refresh-token"}, secret))
	require.True(w, metav1.IsControlledBy(secret, w.token))
	return string(secret.Data["refresh-token"])
}

// later is when the token that is held is due.
func (w *person) later() { w.now = w.now.Add(tokenLife * 13 / 16) }

func (w *person) mustBeReady() {
	w.Helper()
	w.mustPass()
	require.Equal(w, metav1.ConditionTrue, w.ready().Status, w.ready().Message)
}

func (w *person) privateKey() string {
	der, err := x509.MarshalPKCS8PrivateKey(w.key)
	require.NoError(w, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// Each way to act for a user brings a token, and another one when its Secret
// changes.
func TestEachGrantBringsAToken(t *testing.T) {
	for name, c := range map[string]struct {
		grant       *v1alpha1.Grant
		data        func(*person) map[string]string
		key, second string
	}{
		"a password": {
			grant: &v1alpha1.Grant{
				Type: v1alpha1.AccessTokenPassword, Password: &v1alpha1.PasswordGrant{SecretRef: v1alpha1.SecretReference{Name: "theirs"}},
			},
			data: func(*person) map[string]string {
				return map[string]string{"username": "ulf", "password": tokenservertest.Password + "\n"}
			},
			key: "username", second: "olga",
		},
		"an assertion": {
			grant: &v1alpha1.Grant{Type: v1alpha1.AccessTokenJWTBearer, JWTBearer: &v1alpha1.JWTBearerGrant{
				Subject:             "v2|" + tokenservertest.ProviderID + "|jsmith|john|smith|jsmith@gmail.com|[community]",
				PrivateKeySecretRef: v1alpha1.SecretKeyReference{Name: "theirs", Key: "key.pem"},
			}},
			data: func(w *person) map[string]string { return map[string]string{"key.pem": w.privateKey()} },
			key:  "key.pem", second: "-- the same key, written otherwise",
		},
		"a refresh token": {
			grant: seeded(),
			data:  func(w *person) map[string]string { return map[string]string{"seed": w.login()} },
			key:   "seed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newPerson(t)
			secret := w.grants(c.grant, c.data(w))
			w.mustBeReady()
			_, before := w.secret()
			w.mustPass()
			require.EqualValues(t, 1, w.requests.Load(), "it is kept")
			w.edit(secret, func() {
				metav1.SetMetaDataLabel(&secret.ObjectMeta, "team", "payments")
				secret.StringData = map[string]string{"note": "of nobody's use"}
			})
			w.mustBeReady()
			require.EqualValues(t, 1, w.requests.Load(), "what it does not use asks for nothing")

			switch {
			case c.second == "":
				c.second = w.login()
			case c.key == "key.pem":
				c.second = w.privateKey() + c.second
			}
			w.edit(secret, func() { secret.StringData = map[string]string{c.key: c.second} })
			w.mustBeReady()
			_, after := w.secret()
			require.NotEqual(t, before.AccessToken, after.AccessToken)
		})
	}
}

// A chain goes on from link to link, and the seed is used once.
func TestAChainOfRefreshTokensGoesOn(t *testing.T) {
	w := newPerson(t)
	seed := w.login()
	theirs := w.grants(seeded(), map[string]string{"seed": seed})
	w.mustBeReady()
	links := map[string]bool{seed: true}
	for range 3 {
		link := w.chain()
		require.False(t, links[link], "each link is another")
		links[link] = true
		w.later()
		w.r = w.reconciler() // all that is needed is in the Secrets
		w.mustBeReady()
	}
	require.NoError(t, w.read(theirs))
	require.Equal(t, seed, string(theirs.Data["seed"]), "the seed is never written")
	token, _ := w.secret()
	require.NotContains(t, token.Data, "refresh-token", "readers of the token have no use for it")
}

// Whichever write fails, or ends the process, the chain is not lost.
func TestAKillAtEachStepLosesNoChain(t *testing.T) {
	for step := range 6 {
		t.Run(strconv.Itoa(step), func(t *testing.T) {
			w := newPerson(t)
			w.grants(seeded(), map[string]string{"seed": w.login()})
			for range 3 {
				left, failed := step, false
				w.before = func() error {
					if left--; left == -1 {
						failed = true
						return errors.New("the process was killed")
					}
					return nil
				}
				_, _ = w.pass()
				w.before = nil
				w.r = w.reconciler()
				w.mustBeReady()
				if !failed {
					break // there are not so many writes
				}
				w.later()
				w.mustBeReady()
				w.later()
			}
			require.NotEmpty(t, w.post("grant_type", oauth.GrantRefreshToken, "refresh_token", w.chain()).AccessToken)
		})
	}
}

// What another process stored meanwhile is not overwritten: it may be the only
// link that works.
func TestAnOlderLinkNeverReplacesANewerOne(t *testing.T) {
	w := newPerson(t)
	w.grants(seeded(), map[string]string{"seed": w.login()})
	w.mustBeReady()
	w.later()
	newer := ""
	w.before = func() error {
		if newer != "" {
			return nil
		}
		link := w.post("grant_type", oauth.GrantRefreshToken, "refresh_token", w.chain()).RefreshToken
		newer = w.post("grant_type", oauth.GrantRefreshToken, "refresh_token", link).RefreshToken
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "gitproxy-refresh-token"}}
		w.edit(secret, func() { secret.Data["refresh-token"] = []byte(newer) })
		return nil
	}
	_, _ = w.pass()
	require.Equal(t, newer, w.chain())
	w.now = w.now.Add(2 * time.Minute)
	w.mustBeReady()
}

// A chain that has ended, as after an old backup of the cluster, is told clearly,
// and a new login begins another.
func TestAChainThatEndedNeedsALogin(t *testing.T) {
	w := newPerson(t)
	theirs := w.grants(seeded(), map[string]string{"seed": w.login()})
	w.mustBeReady()
	old := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "gitproxy-refresh-token"}}
	require.NoError(t, w.read(old))
	for range 3 { // the server goes on, and the cluster is put back
		w.later()
		w.mustBeReady()
	}
	present := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: old.Name}}
	w.edit(present, func() { present.Data = old.Data })
	w.now = w.now.Add(2 * tokenLife)
	w.mustPass()
	require.Equal(t, v1alpha1.ReasonLoginRequired, w.ready().Reason, w.ready().Message)
	require.Contains(t, w.ready().Message, "put the refresh token of a new login into key seed of Secret theirs")
	asked := w.requests.Load()
	w.now = w.now.Add(time.Minute)
	w.mustPass()
	require.Equal(t, asked, w.requests.Load(), "it is not tried again and again")

	w.edit(theirs, func() { theirs.Data["seed"] = []byte(w.login()) })
	w.now = time.Now().Add(10 * time.Minute)
	w.mustBeReady()
}

// A seed that its owner does not share is not read.
func TestASeedIsReadOnlyWithItsOwnersLeave(t *testing.T) {
	w := newPerson(t)
	secret := w.grants(seeded(), map[string]string{"seed": w.login()})
	w.edit(secret, func() { secret.Labels = nil })
	w.mustPass()
	require.Equal(t, "Secret theirs of spec.grant does not have the label connectedapps.dev/secret: referenced, by which its owner lets it be read", w.ready().Message)
	require.Zero(t, w.requests.Load())
}

// The app has to have the grant, whichever it is.
func TestTheAppHasToHaveTheGrant(t *testing.T) {
	b := newBench(t)
	b.withCredentials()
	b.edit(b.token, func() { b.token.Spec.Grant = seeded() })
	b.mustPass()
	require.Equal(t, v1alpha1.ReasonGrantNotAllowed, b.ready().Reason)
	require.Contains(t, b.ready().Message, "refresh_token")
}

// Deleting an AccessToken leaves the user's login, unless it is to be revoked.
func TestWhatADeletionDoesWithALogin(t *testing.T) {
	for policy, lives := range map[v1alpha1.TokenDeletionPolicy]bool{"": true, v1alpha1.TokenRetain: true, v1alpha1.TokenRevoke: false} {
		t.Run(string(policy), func(t *testing.T) {
			w := newPerson(t)
			w.grants(seeded(), map[string]string{"seed": w.login()})
			w.edit(w.token, func() { w.token.Spec.DeletionPolicy = policy })
			w.mustBeReady()
			link := w.chain()
			require.NoError(t, plane.Client.Delete(t.Context(), w.token))
			_, err := w.pass()
			require.NoError(t, err)
			require.Empty(t, w.told()[1:], "nothing went wrong")
			require.Equal(t, lives, w.post("grant_type", oauth.GrantRefreshToken, "refresh_token", link).AccessToken != "")
		})
	}
}

// Refresh tokens of a grant that is no longer wanted are not kept.
func TestRefreshTokensOfAFormerGrantGo(t *testing.T) {
	w := newPerson(t)
	secret := w.grants(seeded(), map[string]string{"seed": w.login()})
	w.mustBeReady()
	w.chain()
	w.edit(secret, func() {
		secret.StringData = map[string]string{"username": "ulf", "password": tokenservertest.Password}
	})
	w.edit(w.token, func() {
		w.token.Spec.Grant = &v1alpha1.Grant{
			Type: v1alpha1.AccessTokenPassword, Password: &v1alpha1.PasswordGrant{SecretRef: v1alpha1.SecretReference{Name: "theirs"}},
		}
	})
	w.mustBeReady()
	err := plane.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "gitproxy-refresh-token"}, &corev1.Secret{})
	require.Error(t, client.IgnoreAlreadyExists(err))
}
