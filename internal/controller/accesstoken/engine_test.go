// SPDX-License-Identifier: Apache-2.0

package accesstoken_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/accesstoken"
	"connectedapps.dev/operator/internal/registrar"
	"connectedapps.dev/operator/internal/testenv"
)

// Whoever may edit the Secrets of a namespace sends the manager nowhere.
func TestATenantDoesNotSteerTheManager(t *testing.T) {
	var reached atomic.Int32
	theirs := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reached.Add(1)
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_grant","error_description":"read me"}`))
	}))
	t.Cleanup(theirs.Close)
	certificate := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: theirs.Certificate().Raw}))
	for name, edit := range map[string]map[string]string{
		"the address":          {"token-url": theirs.URL, "ca.crt": certificate},
		"the internal address": {"internal-token-url": theirs.URL, "ca.crt": certificate},
		"whom to trust":        {"ca.crt": certificate},
		"no address at all":    {"token-url": ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			secret := b.withCredentials()
			b.edit(secret, func() { secret.StringData = edit })
			b.mustPass()
			require.Equal(t, metav1.ConditionTrue, b.ready().Status, b.ready().Message)
			require.EqualValues(t, 1, b.requests.Load())
			require.Zero(t, reached.Load())
		})
	}
}

// What the server asked to wait is waited, whatever wakes the manager meanwhile;
// all else is not waited for once it is changed.
func TestRetryAfterOutlivesWakeUps(t *testing.T) {
	b := newBench(t)
	b.withCredentials()
	busy := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "300")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	b.fault.Store(&busy)
	require.InDelta(t, 300, b.mustPass().RequeueAfter.Seconds(), 1)
	for range 3 {
		b.now = b.now.Add(time.Minute)
		b.mustPass()
		require.EqualValues(t, 1, b.requests.Load())
		require.Equal(t, v1alpha1.ReasonTokenServerUnavailable, b.ready().Reason, "it is told all the same")
	}
	b.fault.Store(nil)
	b.now = b.now.Add(2*time.Minute + time.Second)
	b.mustPass()
	require.Equal(t, metav1.ConditionTrue, b.ready().Status, b.ready().Message)
}

// A client that asks too often is its own trouble, and a server that fails is
// that of all who ask it: one asks on their behalf.
func TestAServerThatFailsIsAskedByFew(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		asked  int32
	}{
		"it fails at one client":    {http.StatusInternalServerError, 12},
		"its proxy cannot reach it": {http.StatusBadGateway, 5},
		"it is busy":                {http.StatusServiceUnavailable, 5},
		"one client asks too often": {http.StatusTooManyRequests, 12},
		"one client is refused":     {http.StatusUnauthorized, 12},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			answer(c.status, `{"error":"invalid_request"}`)(b)
			for n := range 12 {
				b.token = &v1alpha1.AccessToken{
					ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "gitproxy-" + strconv.Itoa(n)},
					Spec:       v1alpha1.AccessTokenSpec{ConnectedAppRef: v1alpha1.ConnectedAppReference{Name: "app"}},
				}
				plane.Create(t, b.token)
				_, _ = b.pass()
				require.Equal(t, metav1.ConditionFalse, b.ready().Status)
			}
			require.Equal(t, c.asked, b.requests.Load())
		})
	}
}

// A server that is back is asked at once for the tokens that failed, however long
// it was away, and the others are not looked at.
func TestAServerThatIsBackIsAskedAtOnce(t *testing.T) {
	b := newBench(t)
	b.withCredentials()
	b.mustPass()
	well := b.token
	var failed []reconcile.Request
	answer(http.StatusServiceUnavailable, "")(b)
	for n := range 8 {
		b.token = &v1alpha1.AccessToken{
			ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "failed-" + strconv.Itoa(n)},
			Spec:       v1alpha1.AccessTokenSpec{ConnectedAppRef: v1alpha1.ConnectedAppReference{Name: "app"}},
		}
		plane.Create(t, b.token)
		failed = append(failed, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(b.token)})
		for range 3 {
			_, _ = b.pass()
			b.now = b.now.Add(2 * time.Minute)
		}
	}
	b.fault.Store(nil)
	server := &v1alpha1.TokenServer{ObjectMeta: metav1.ObjectMeta{Name: b.app.TokenServerName()}}
	woken := accesstoken.TokensOfServer(b.r, t.Context(), server)
	require.ElementsMatch(t, failed, woken, "%s has its token", well.Name)
	b.now = b.now.Add(-2 * time.Minute) // as of the last failure
	b.mustPass()
	require.Equal(t, metav1.ConditionTrue, b.ready().Status, b.ready().Message)
}

// A clock that was set back keeps no token that may be dead.
func TestAClockThatWasSetBackKeepsNoToken(t *testing.T) {
	b := newBench(t)
	b.withCredentials()
	b.mustPass()
	secret, before := b.secret()
	b.r = b.reconciler() // another process
	b.edit(secret, func() {
		secret.Annotations[v1alpha1.AnnotationIssuedAt] = b.now.Add(time.Hour).UTC().Format(time.RFC3339)
	})
	b.mustPass()
	_, after := b.secret()
	require.NotEqual(t, before.AccessToken, after.AccessToken)
}

// The server does not take a secret that the manager believes good: somebody has
// to look, and at once.
func TestASecretThatIsRefusedMakesTheManagerLook(t *testing.T) {
	b := newBench(t)
	var doubted []types.NamespacedName
	b.r.Doubt = func(app types.NamespacedName) { doubted = append(doubted, app) }
	answer(http.StatusBadRequest, `{"error":"invalid_scope"}`)(b)
	b.mustPass()
	require.Empty(t, doubted)
	b.now = b.now.Add(time.Minute)
	answer(http.StatusUnauthorized, `{"error":"invalid_client"}`)(b)
	b.mustPass()
	require.Equal(t, []types.NamespacedName{client.ObjectKeyFromObject(b.app)}, doubted)
}

// With all controllers at work: a client that somebody deleted on the server
// comes back as soon as a token is asked for, long before the next resync.
func TestAClientThatIsGoneComesBackWhenATokenIsDue(t *testing.T) {
	w := newWorld(t, nil)
	w.create(w.app)
	token := w.token("gitproxy")
	before, _ := w.ready(token)
	require.NoError(t, plane.Client.Get(t.Context(), client.ObjectKeyFromObject(w.app), w.app))
	admin, err := registrar.New(registrar.Config{URL: w.server.URL, ClientID: w.server.AdminClientID, ClientSecret: w.server.AdminClientSecret})
	require.NoError(t, err)
	t.Cleanup(admin.Close)
	require.NoError(t, admin.Delete(t.Context(), w.app.Status.ClientID))
	w.edit(token, func() { token.Annotations = map[string]string{v1alpha1.AnnotationRefreshRequestedAt: "now"} })
	after := w.changed(token, before)
	require.True(t, w.accepted(after))
}

// A new value of an ExistingSecret brings a new token.
func TestANewExistingSecretBringsANewToken(t *testing.T) {
	w := newWorld(t, nil)
	existing("theirs", v1alpha1.CredentialsSecretSpec{})(w.app)
	secret := theirs(w.namespace, "theirs", map[string]string{"client-secret": "a-secret-that-somebody-chose"})
	w.create(secret)
	w.create(w.app)
	token := w.token("gitproxy")
	before, _ := w.ready(token)
	w.edit(secret, func() { secret.Data["client-secret"] = []byte("another-secret-that-somebody-chose") })
	after := w.changed(token, before)
	require.True(t, w.accepted(after))
}

// A server that never answers delays no other's tokens, however many wait for it.
func TestAServerThatHangsDelaysNoOther(t *testing.T) {
	w := newWorld(t, nil)
	w.create(w.app)
	w.ready(w.token("first"))
	hanging := make(chan struct{})
	t.Cleanup(func() { close(hanging) })
	w.setFault(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hanging:
		case <-r.Context().Done():
		}
	})
	for n := range 40 {
		w.token("hangs-" + strconv.Itoa(n))
	}
	testenv.Eventually(t, func(c *require.Assertions) { c.Greater(w.requests.Load(), int32(1)) })

	other := w.another()
	other.create(other.app)
	held, _ := other.ready(other.token("healthy"))
	require.True(t, other.accepted(held))
	require.LessOrEqual(t, w.requests.Load(), int32(1+4), "one namespace holds no more than its share")
	require.NoError(t, plane.Client.Delete(t.Context(), &v1alpha1.AccessToken{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "first"}}))
	testenv.Eventually(t, func(c *require.Assertions) {
		var gone v1alpha1.AccessToken
		c.Error(plane.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "first"}, &gone), "what ends waits for nothing that lives")
	})
}

// The app of a token never changes: the former one's would stay valid.
func TestTheAppOfATokenNeverChanges(t *testing.T) {
	b := newBench(t)
	b.token.Spec.ConnectedAppRef.Name = "other"
	err := plane.Client.Update(t.Context(), b.token)
	require.ErrorContains(t, err, "spec.connectedAppRef: Invalid value")
	require.ErrorContains(t, err, "is immutable: delete this AccessToken and create one for the other app")
}
