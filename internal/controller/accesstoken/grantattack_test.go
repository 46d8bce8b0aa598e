// SPDX-License-Identifier: Apache-2.0

package accesstoken_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// strict plays a server that takes each refresh token once, and ends the login
// when it sees one again. Answer is what it says with the next one, which is added.
func (w *person) strict(answer func(n int) map[string]any) (ended *atomic.Bool) {
	ended = &atomic.Bool{}
	links := 0
	fault := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		spent := r.FormValue("refresh_token") != "link-"+strconv.Itoa(links) && links > 0
		if ended.Load() || spent {
			ended.Store(true)
			rw.WriteHeader(http.StatusBadRequest)
			_, _ = rw.Write([]byte(`{"error":"invalid_grant"}`))
			return
		}
		links++
		body := answer(links)
		body["refresh_token"] = "link-" + strconv.Itoa(links)
		_ = json.NewEncoder(rw).Encode(body)
	})
	w.fault.Store(&fault)
	return ended
}

func fine(n int) map[string]any {
	return map[string]any{"access_token": "access-" + strconv.Itoa(n), "token_type": "Bearer", "expires_in": tokenLife.Seconds()}
}

// The successor of a refresh token outlives writes that fail for long: its
// predecessor may be of no use any more.
func TestAnAPIServerThatTakesNoWritesLosesNoChain(t *testing.T) {
	for name, refusal := range map[string]error{
		"it is away":   errors.New("connection refused"),
		"it refuses":   apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "x", errors.New("exceeded quota: few")),
		"it is a race": apierrors.NewConflict(schema.GroupResource{Resource: "secrets"}, "x", errors.New("modified")),
	} {
		t.Run(name, func(t *testing.T) {
			w := newPerson(t)
			w.grants(seeded(), map[string]string{"seed": w.login()})
			ended := w.strict(fine)
			w.mustBeReady()
			asked := w.requests.Load()
			for range 2 {
				w.later()
				w.before = func() error { return refusal }
				for range 4 {
					_, _ = w.pass()
					w.now = w.now.Add(time.Second)
				}
				w.before = nil
				w.now = w.now.Add(2 * time.Minute)
				w.mustBeReady()
				require.False(t, ended.Load(), "no refresh token is used twice")
			}
			require.LessOrEqual(t, w.requests.Load(), asked+4, "nothing is asked for that cannot be kept")
		})
	}
}

// An answer of no use may bring the only refresh token that works.
func TestAnAnswerOfNoUseLosesNoChain(t *testing.T) {
	w := newPerson(t)
	w.grants(seeded(), map[string]string{"seed": w.login()})
	useless := true
	ended := w.strict(func(n int) map[string]any {
		body := fine(n)
		if useless {
			delete(body, "expires_in")
		}
		return body
	})
	_, _ = w.pass()
	require.Equal(t, v1alpha1.ReasonTokenServerUnavailable, w.ready().Reason, w.ready().Message)
	require.Equal(t, "link-1", w.chain())
	useless = false
	w.now = w.now.Add(2 * time.Minute)
	w.mustBeReady()
	require.False(t, ended.Load())
}

// Who does what LoginRequired asks for, waits for nothing.
func TestANewLoginIsTakenUpAtOnce(t *testing.T) {
	w := newPerson(t)
	theirs := w.grants(seeded(), map[string]string{"seed": "of-a-login-that-ended"})
	w.mustPass()
	require.Equal(t, v1alpha1.ReasonLoginRequired, w.ready().Reason, w.ready().Message)
	w.edit(theirs, func() { theirs.Data["seed"] = []byte(w.login()) })
	w.mustBeReady()
}

// A wrong password that is tried again and again locks its user out.
func TestAWrongPasswordIsRarelyTriedAgain(t *testing.T) {
	w := newPerson(t)
	theirs := w.grants(&v1alpha1.Grant{
		Type: v1alpha1.AccessTokenPassword, Password: &v1alpha1.PasswordGrant{SecretRef: v1alpha1.SecretReference{Name: "theirs"}},
	}, map[string]string{"username": "ulf", "password": "wrong"})
	w.mustPass()
	require.Equal(t, v1alpha1.ReasonTokenRefused, w.ready().Reason, w.ready().Message)
	for range 9 {
		w.now = w.now.Add(time.Minute)
		w.mustPass()
	}
	require.EqualValues(t, 1, w.requests.Load())
	w.edit(theirs, func() { theirs.Data["password"] = []byte(tokenservertest.Password) })
	w.mustBeReady()
}

// The Secret of a grant is needed when a token is due, and not before.
func TestASecretOfAGrantThatIsGoneTakesNoTokenAway(t *testing.T) {
	w := newPerson(t)
	theirs := w.grants(seeded(), map[string]string{"seed": w.login()})
	w.mustBeReady()
	require.NoError(t, plane.Client.Delete(t.Context(), theirs))
	result := w.mustPass()
	require.Equal(t, metav1.ConditionTrue, w.ready().Status, w.ready().Message)
	require.Positive(t, result.RequeueAfter)
	require.LessOrEqual(t, result.RequeueAfter, time.Minute, "no watch need tell when it is back")
	w.now = w.now.Add(2 * tokenLife)
	w.mustPass()
	require.Contains(t, w.ready().Message, "waiting for Secret theirs, which spec.grant names")
}

// Two Secrets of one name would take turns.
func TestTheSecretsOfAnAccessTokenHaveDifferentNames(t *testing.T) {
	w := newPerson(t)
	for name, c := range map[string]struct {
		change func()
		says   string
	}{
		"the token's and the chain's": {
			func() { w.token.Spec.Secret = &v1alpha1.TokenSecretSpec{Name: "gitproxy-refresh-token"} },
			"must not be metadata.name with -refresh-token, where refresh tokens are kept",
		},
		"the seed's and the chain's": {
			func() {
				w.token.Spec.Grant = seeded()
				w.token.Spec.Grant.RefreshToken.SeedSecretRef.Name = "gitproxy-refresh-token"
			},
			"must not be metadata.name with -refresh-token, where the manager keeps those that come after it",
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, w.read(w.token))
			c.change()
			require.ErrorContains(t, plane.Client.Update(t.Context(), w.token), c.says)
		})
	}
}

// A Secret under the name of the chain is waited for: no watch tells that it went.
func TestANameThatIsTakenIsLookedAtAgain(t *testing.T) {
	w := newPerson(t)
	w.grants(seeded(), map[string]string{"seed": w.login()})
	taken := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "gitproxy-refresh-token"}}
	plane.Create(t, taken)
	result := w.mustPass()
	require.Equal(t, v1alpha1.ReasonSecretNameTaken, w.ready().Reason)
	require.Positive(t, result.RequeueAfter, "it comes back")
	require.Zero(t, w.requests.Load())
	require.NoError(t, plane.Client.Delete(t.Context(), taken))
	w.now = w.now.Add(result.RequeueAfter)
	w.mustBeReady()
}

// What the manager writes into the Secret of a chain takes nothing of others away.
func TestTheSecretOfAChainKeepsWhatOthersWrote(t *testing.T) {
	w := newPerson(t)
	w.grants(seeded(), map[string]string{"seed": w.login()})
	w.mustBeReady()
	chain := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "gitproxy-refresh-token"}}
	w.edit(chain, func() { chain.Labels["team"], chain.Annotations["note"] = "blue", "theirs" })
	w.later()
	w.mustBeReady()
	require.NoError(t, w.read(chain))
	require.Equal(t, "blue", chain.Labels["team"])
	require.Equal(t, "theirs", chain.Annotations["note"])
}

// A login that is to be revoked ends though its last access token is no more.
func TestALoginIsRevokedWithoutAnAccessToken(t *testing.T) {
	for name, lose := range map[string]func(*person){
		"it has expired":     func(w *person) { w.now = w.now.Add(2 * tokenLife) },
		"its Secret is gone": func(w *person) { secret, _ := w.secret(); require.NoError(w, plane.Client.Delete(w.Context(), secret)) },
		"the seed is gone": func(w *person) {
			seed := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "theirs"}}
			require.NoError(w, plane.Client.Delete(w.Context(), seed))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newPerson(t)
			w.grants(seeded(), map[string]string{"seed": w.login()})
			w.edit(w.token, func() { w.token.Spec.DeletionPolicy = v1alpha1.TokenRevoke })
			w.mustBeReady()
			link := w.chain()
			lose(w)
			require.NoError(t, plane.Client.Delete(t.Context(), w.token))
			w.mustPass()
			require.Empty(t, w.post("grant_type", oauth.GrantRefreshToken, "refresh_token", link).AccessToken)
		})
	}
}

// To revoke a token needs nothing of the grant that it came by: all of it may be
// deleted at once.
func TestATokenIsRevokedWithoutTheSecretOfItsGrant(t *testing.T) {
	w := newPerson(t)
	theirs := w.grants(&v1alpha1.Grant{
		Type: v1alpha1.AccessTokenPassword, Password: &v1alpha1.PasswordGrant{SecretRef: v1alpha1.SecretReference{Name: "theirs"}},
	}, map[string]string{"username": "ulf", "password": tokenservertest.Password})
	w.mustBeReady()
	_, held := w.secret()
	require.True(t, w.accepted(held.AccessToken))
	require.NoError(t, plane.Client.Delete(t.Context(), theirs))
	require.NoError(t, plane.Client.Delete(t.Context(), w.token))
	w.told()
	w.mustPass()
	require.Empty(t, w.told())
	require.False(t, w.accepted(held.AccessToken))
}

// accepted asks the server about a user's access token.
func (w *person) accepted(token string) bool {
	w.Helper()
	request, err := http.NewRequestWithContext(w.Context(), http.MethodGet, w.server.URL+oauth.PathMe, nil)
	require.NoError(w, err)
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	require.NoError(w, err)
	require.NoError(w, response.Body.Close())
	return response.StatusCode == http.StatusOK
}

// A public app has no client secret that could be wrong.
func TestAPublicAppIsNotToldOfAClientSecret(t *testing.T) {
	b := newBench(t, func(a *v1alpha1.ConnectedApp) {
		a.Spec.ClientType = v1alpha1.ClientPublic
		a.Spec.GrantTypes = []v1alpha1.GrantType{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken}
		a.Spec.RedirectURIs = []v1alpha1.RedirectURI{callback}
	})
	plane.Create(t, theirs(b.namespace, "theirs", map[string]string{"seed": "of-a-login"}))
	b.edit(b.token, func() { b.token.Spec.Grant = seeded() })
	answer(http.StatusUnauthorized, `{"error":"invalid_client"}`)(b)
	b.mustPass()
	require.Equal(t, v1alpha1.ReasonTokenRefused, b.ready().Reason, b.ready().Message)
	require.Contains(t, b.ready().Message, "does not take ConnectedApp app as a client without a secret")
}

// A token is issued in the future of a pass that had to wait for the API server.
func TestATokenOfASlowPassIsPublished(t *testing.T) {
	b := newBench(t)
	b.withCredentials()
	began := true
	b.r.Now = func() time.Time {
		if began {
			began = false
			return time.Now().Add(-time.Minute)
		}
		return time.Now()
	}
	result := b.mustPass()
	_, held := b.secret()
	require.NotNil(t, held, b.ready().Message)
	require.Equal(t, metav1.ConditionTrue, b.ready().Status, b.ready().Message)
	require.Positive(t, result.RequeueAfter)
}

// A token that is asked for with credentials of no use tells nothing about the
// server.
func TestCredentialsOfNoUseSayNothingOfTheServer(t *testing.T) {
	b := newBench(t)
	answer(http.StatusServiceUnavailable, `{}`)(b)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "app-credentials"}}
	for n := range 12 {
		b.token = &v1alpha1.AccessToken{
			ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "gitproxy-" + strconv.Itoa(n)},
			Spec:       v1alpha1.AccessTokenSpec{ConnectedAppRef: v1alpha1.ConnectedAppReference{Name: "app"}},
		}
		plane.Create(t, b.token)
		id := b.clientID
		if n%3 == 2 {
			id = "another"
		}
		b.edit(secret, func() { secret.Data["client-id"] = []byte(id) })
		_, _ = b.pass()
	}
	require.EqualValues(t, 5, b.requests.Load(), "five failures in a row")
}

// An annotation has no bound, and the status does.
func TestALongRequestForATokenIsFollowed(t *testing.T) {
	b := newBench(t)
	b.withCredentials()
	b.mustPass()
	b.edit(b.token, func() {
		b.token.Annotations = map[string]string{v1alpha1.AnnotationRefreshRequestedAt: strings.Repeat("now", 100)}
	})
	for range 3 {
		b.mustPass()
	}
	require.EqualValues(t, 2, b.requests.Load())
	b.edit(b.token, func() { b.token.Annotations = nil })
	b.mustPass()
	require.EqualValues(t, 2, b.requests.Load(), "an annotation that was taken away asks for nothing")
	require.Equal(t, metav1.ConditionTrue, b.ready().Status)
}
