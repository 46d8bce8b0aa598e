// SPDX-License-Identifier: Apache-2.0

package accesstoken_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

func lifetime(d time.Duration) []tokenservertest.Option {
	return []tokenservertest.Option{tokenservertest.WithTokenLifetime(d)}
}

func minimum(d time.Duration) testenv.ManagerOption {
	return testenv.WithOptions(func(o *controller.Options) { o.MinimumTokenLifetime = d })
}

func TestATokenIsPublishedAndAccepted(t *testing.T) {
	w := newWorld(t, nil)
	token := w.token("gitproxy", func(a *v1alpha1.AccessToken) {
		a.Spec.Secret = &v1alpha1.TokenSecretSpec{Metadata: &v1alpha1.SecretMetadata{
			Labels:      map[string]v1alpha1.LabelValue{"team": "payments"},
			Annotations: map[string]v1alpha1.AnnotationValue{"example.com/owner": "payments"},
		}}
	})
	waiting := w.condition(token, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonAppNotFound)
	require.Contains(t, waiting.Message, "there is no ConnectedApp gitproxy")
	require.Equal(t, status.InProgressStatus, w.kstatus(token))

	w.create(w.app)
	held, secret := w.ready(token)
	require.True(t, w.accepted(held))
	require.Equal(t, "gitproxy-token", secret.Name)
	require.Equal(t, "bearer", string(secret.Data["token-type"]))
	require.Equal(t, held.AccessToken, string(secret.Data["access-token"]))
	require.Equal(t, held.ExpiresAt.UTC().Format(time.RFC3339), string(secret.Data["expires-at"]))
	require.Equal(t, "managed", secret.Labels[v1alpha1.LabelSecret])
	require.Equal(t, "payments", secret.Labels["team"])
	require.Equal(t, "payments", secret.Annotations["example.com/owner"])
	require.True(t, metav1.IsControlledBy(secret, token))

	require.Equal(t, status.CurrentStatus, w.kstatus(token))
	require.WithinDuration(t, held.ExpiresAt, token.Status.ExpiresAt.Time, 0)
	life := token.Status.ExpiresAt.Sub(token.Status.IssuedAt.Time)
	share := float64(token.Status.NextRefreshTime.Sub(token.Status.IssuedAt.Time)) / float64(life)
	require.InDelta(t, 0.65, share, 0.1001)
	require.Equal(t, "gitproxy-token", token.Status.Binding.Name)
	require.EqualValues(t, 1, w.requests.Load(), "one token is one request")
}

func TestATokenIsReplacedBeforeItExpires(t *testing.T) {
	w := newWorld(t, lifetime(5*time.Second))
	w.create(w.app)
	token := w.token("gitproxy")
	held, _ := w.ready(token)
	for range 2 {
		after := w.changed(token, held)
		require.True(t, time.Now().Before(held.ExpiresAt), "the one before is still valid when the next is there")
		require.True(t, w.accepted(after))
		held = after
		require.NotEqual(t, metav1.ConditionFalse, testenv.Condition(token.Status.Conditions, v1alpha1.ConditionReady).Status)
	}
}

func TestAChangedSecretIsMadeGood(t *testing.T) {
	w := newWorld(t, nil)
	w.create(w.app)
	token := w.token("gitproxy")
	held, secret := w.ready(token)

	require.NoError(t, plane.Client.Delete(t.Context(), secret))
	held = w.changed(token, held)
	require.True(t, w.accepted(held))

	_, secret = w.ready(token)
	w.edit(secret, func() { secret.Data["access-token"] = []byte("garbage") })
	held = w.changed(token, held)
	require.True(t, w.accepted(held))

	_, secret = w.ready(token)
	w.edit(secret, func() { secret.Labels = nil })
	testenv.Eventually(t, func(c *require.Assertions) {
		again, err := w.read("gitproxy-token", secret)
		c.NoError(err)
		c.Equal("managed", secret.Labels[v1alpha1.LabelSecret])
		c.Equal(held.AccessToken, again.AccessToken, "a label costs no token")
	})
}

func TestARestartAsksForNoToken(t *testing.T) {
	w := newWorld(t, nil)
	w.create(w.app)
	token := w.token("gitproxy")
	held, _ := w.ready(token)
	w.stop()
	w.stop = plane.StartManager(t)
	// The manager has seen the object when this change of it is through.
	w.edit(token, func() {
		token.Spec.Secret = &v1alpha1.TokenSecretSpec{Metadata: &v1alpha1.SecretMetadata{Labels: map[string]v1alpha1.LabelValue{"after": "restart"}}}
	})
	testenv.Eventually(t, func(c *require.Assertions) {
		secret := &corev1.Secret{}
		again, err := w.read("gitproxy-token", secret)
		c.NoError(err)
		c.Equal("restart", secret.Labels["after"])
		c.Equal(held.AccessToken, again.AccessToken)
	})
	require.EqualValues(t, 1, w.requests.Load())
}

func TestAnotherPurposeNeedsAnotherToken(t *testing.T) {
	w := newWorld(t, nil)
	w.create(w.app)
	token := w.token("gitproxy")
	held, _ := w.ready(token)

	w.edit(token, func() { token.Spec.Scopes = []string{"profile"} })
	held = w.changed(token, held)
	require.Equal(t, "profile", held.Scope)

	w.edit(token, func() {
		metav1.SetMetaDataAnnotation(&token.ObjectMeta, v1alpha1.AnnotationRefreshRequestedAt, "2026-11-23T21:00:00Z")
	})
	held = w.changed(token, held)
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(token), token))
		c.Equal("2026-11-23T21:00:00Z", token.Status.LastHandledRefreshAt)
	})

	w.edit(w.app, func() {
		w.app.Spec.Scopes = []v1alpha1.ScopeAssignment{{Scope: "profile"}, {Scope: "view:environment"}}
	})
	held = w.changed(token, held)
	require.True(t, w.accepted(held))
}

func TestASecretOfAnotherNameTakesThePlace(t *testing.T) {
	w := newWorld(t, nil)
	w.create(w.app)
	token := w.token("gitproxy")
	w.ready(token)
	w.edit(token, func() { token.Spec.Secret = &v1alpha1.TokenSecretSpec{Name: "renamed"} })
	testenv.Eventually(t, func(c *require.Assertions) {
		_, err := w.read("renamed", &corev1.Secret{})
		c.NoError(err)
		_, err = w.read("gitproxy-token", &corev1.Secret{})
		c.True(apierrors.IsNotFound(err), "%v", err)
	})
	w.ready(token)
	require.Equal(t, "renamed", token.Status.Binding.Name)
}

func TestASecretOfSomebodyElseIsLeftAlone(t *testing.T) {
	w := newWorld(t, nil)
	w.create(w.app)
	theirs := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "gitproxy-token", Labels: map[string]string{v1alpha1.LabelSecret: v1alpha1.SecretManaged}},
		Data:       map[string][]byte{"access-token": []byte("theirs")},
	}
	w.create(theirs)
	token := w.token("gitproxy")
	taken := w.condition(token, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretNameTaken)
	require.Contains(t, taken.Message, "gitproxy-token")
	require.Equal(t, status.FailedStatus, w.kstatus(token))
	require.Zero(t, w.requests.Load(), "no token is asked for that has no place")

	w.edit(token, func() { token.Spec.Secret = &v1alpha1.TokenSecretSpec{Name: "free"} })
	w.ready(token)
	again := &corev1.Secret{}
	require.NoError(t, plane.Client.Get(t.Context(), client.ObjectKeyFromObject(theirs), again))
	require.Equal(t, theirs.ResourceVersion, again.ResourceVersion)
}

func TestALifeTooShortForASecretIsRefused(t *testing.T) {
	w := newWorld(t, lifetime(time.Minute), minimum(10*time.Minute))
	w.create(w.app)
	token := w.token("gitproxy")
	short := w.condition(token, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonLifetimeTooShort)
	require.Contains(t, short.Message, "live 1m0s; in a Secret they must live at least 10m0s")
	_, err := w.read("gitproxy-token", &corev1.Secret{})
	require.True(t, apierrors.IsNotFound(err))
}

func TestAnAppWithoutTheGrantIsNamed(t *testing.T) {
	w := newWorld(t, nil)
	w.app.Spec.GrantTypes = []v1alpha1.GrantType{oauth.GrantAuthorizationCode}
	w.app.Spec.RedirectURIs = []v1alpha1.RedirectURI{"https://example.com/"}
	w.create(w.app)
	token := w.token("gitproxy")
	w.condition(token, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonGrantNotAllowed)
	require.Equal(t, status.FailedStatus, w.kstatus(token))
}

func TestRefusedScopesAreToldAndMended(t *testing.T) {
	w := newWorld(t, nil)
	w.create(w.app)
	token := w.token("gitproxy", func(a *v1alpha1.AccessToken) { a.Spec.Scopes = []string{"manage:everything"} })
	refused := w.condition(token, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTokenRefused)
	require.Contains(t, refused.Message, "invalid_scope")
	w.edit(token, func() { token.Spec.Scopes = nil })
	w.ready(token)
}

func TestASuspendedTokenIsNotRefreshed(t *testing.T) {
	w := newWorld(t, lifetime(4*time.Second))
	w.create(w.app)
	token := w.token("gitproxy")
	w.ready(token)
	w.edit(token, func() { token.Spec.Suspend = new(true) })
	w.condition(token, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonSuspended)
	asked := w.requests.Load()
	w.condition(token, v1alpha1.ConditionTokenFresh, metav1.ConditionFalse, v1alpha1.ReasonTokenExpired)
	require.Equal(t, asked, w.requests.Load())
	require.Empty(t, testenv.Condition(token.Status.Conditions, v1alpha1.ConditionReady).Type, "nobody waits for it")
	require.Equal(t, "Current", string(testenv.KStatus(t, token)))

	w.edit(token, func() { token.Spec.Suspend = nil })
	held, _ := w.ready(token)
	require.True(t, w.accepted(held))
}

// faults are ways for a token endpoint to be in trouble.
func faults() map[string]http.HandlerFunc {
	answer := func(status int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	return map[string]http.HandlerFunc{
		"an HTML page":     answer(200, "text/html", "<html>Welcome</html>"),
		"a failure":        answer(500, "application/json", `{"error":"server_error"}`),
		"half a token":     answer(200, "application/json", `{"access_token":"ha`),
		"an expired token": answer(200, "application/json", `{"access_token":"x","token_type":"bearer","expires_in":0}`),
		"a cut connection": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}
}

func TestTroubleOfTheServerIsToldAndPasses(t *testing.T) {
	w := newWorld(t, nil)
	w.create(w.app)
	w.ready(w.token("first"))
	for name, fault := range faults() {
		t.Run(name, func(t *testing.T) {
			w.setFault(fault)
			token := w.token("a" + strings.ReplaceAll(strings.ToLower(name), " ", "-"))
			w.condition(token, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTokenServerUnavailable)
			require.Equal(t, status.InProgressStatus, w.kstatus(token), "nobody has to act")
			_, err := w.read(token.SecretName(), &corev1.Secret{})
			require.True(t, apierrors.IsNotFound(err), "nothing half is published")
			w.mend()
			held, _ := w.ready(token)
			require.True(t, w.accepted(held))
		})
	}
}

func TestRefusedCredentialsAreToldAndPass(t *testing.T) {
	w := newWorld(t, nil)
	w.create(w.app)
	w.setFault(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(rw, `{"error":"invalid_client"}`)
	})
	token := w.token("gitproxy")
	w.condition(token, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTokenRefused)
	w.mend()
	w.ready(token)
}

func TestWhileTheServerIsInTroubleTheLastTokenStays(t *testing.T) {
	w := newWorld(t, lifetime(6*time.Second))
	w.create(w.app)
	token := w.token("gitproxy")
	held, secret := w.ready(token)
	w.setFault(faults()["a failure"])
	before := w.requests.Load()
	testenv.Eventually(t, func(c *require.Assertions) { c.Greater(w.requests.Load(), before) })
	if time.Until(held.ExpiresAt) > time.Second {
		// Only a machine that stood still for seconds gets here too late.
		require.NoError(t, plane.Client.Get(t.Context(), client.ObjectKeyFromObject(token), token))
		ready := testenv.Condition(token.Status.Conditions, v1alpha1.ConditionReady)
		require.Equal(t, metav1.ConditionTrue, ready.Status, "readers notice nothing: %s", ready.Message)
	}
	w.condition(token, v1alpha1.ConditionTokenFresh, metav1.ConditionFalse, v1alpha1.ReasonTokenExpired)
	w.condition(token, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTokenServerUnavailable)
	last, err := w.read(secret.Name, secret)
	require.NoError(t, err, "the Secret stays, so that Pods start")
	require.Equal(t, held.AccessToken, last.AccessToken)

	w.mend()
	w.changed(token, held)
	fresh, _ := w.ready(token)
	require.True(t, w.accepted(fresh), "it recovers by itself")
}

func TestASilentServerDelaysNobodyElse(t *testing.T) {
	w := newWorld(t, nil)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	w.create(w.app)
	first := w.token("first")
	w.ready(first)
	var silent atomic.Bool
	w.setFault(func(rw http.ResponseWriter, r *http.Request) {
		if silent.CompareAndSwap(false, true) {
			select {
			case <-release:
			case <-r.Context().Done():
			}
			return
		}
		w.mend()
		http.Error(rw, "again", http.StatusServiceUnavailable)
	})
	w.token("slow")
	testenv.Eventually(t, func(c *require.Assertions) { c.True(silent.Load()) })
	w.ready(w.token("quick"))
}

func TestDeletionFinishesAndRevokes(t *testing.T) {
	w := newWorld(t, nil)
	w.create(w.app)
	token, retained := w.token("revoked"), w.token("retained", func(a *v1alpha1.AccessToken) { a.Spec.DeletionPolicy = v1alpha1.TokenRetain })
	held, _ := w.ready(token)
	kept, _ := w.ready(retained)
	require.NotEmpty(t, token.Finalizers)
	require.Empty(t, retained.Finalizers)

	for _, o := range []*v1alpha1.AccessToken{token, retained} {
		require.NoError(t, plane.Client.Delete(t.Context(), o))
		testenv.Eventually(t, func(c *require.Assertions) {
			c.True(apierrors.IsNotFound(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(o), o)))
		})
	}
	require.True(t, w.accepted(kept))
	if w.offersRevocation() {
		require.False(t, w.accepted(held), "the token ended with its object")
	}
}

func (w *world) offersRevocation() bool {
	server := &v1alpha1.TokenServer{}
	require.NoError(w, plane.Client.Get(w.Context(), client.ObjectKey{Name: w.namespace}, server))
	return server.Status.Endpoints.Revocation != ""
}

func TestCredentialsAreReadUnderEveryName(t *testing.T) {
	for name, spec := range map[string]v1alpha1.CredentialsSecretSpec{
		"snake":          {Preset: v1alpha1.PresetSnake},
		"env":            {Preset: v1alpha1.PresetEnv},
		"servicebinding": {Preset: v1alpha1.PresetServiceBinding},
		"renamed":        {Keys: map[string]v1alpha1.SecretKey{"client-id": "user", "client-secret": "password", "token-url": "address"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.app.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsSecret, Secret: &spec}
			w.create(w.app)
			held, _ := w.ready(w.token("gitproxy"))
			require.True(t, w.accepted(held))
		})
	}
}
