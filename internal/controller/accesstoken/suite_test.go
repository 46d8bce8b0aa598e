// SPDX-License-Identifier: Apache-2.0

package accesstoken_test

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
	"testing"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/refresher"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

var plane *testenv.ControlPlane

// logged is what the managers of all tests log.
var logged lockedBuffer

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.FromSlogHandler(slog.NewJSONHandler(&logged, nil)))
	os.Exit(testenv.RunDocumented(m, &plane))
}

// world is a namespace with an app on a real token server and the manager at
// work.
type world struct {
	*testing.T
	server    *tokenservertest.Instance
	namespace string
	app       *v1alpha1.ConnectedApp
	// fault answers token requests while it is set.
	fault atomic.Pointer[http.HandlerFunc]
	// requests counts those for tokens of apps, log-ins of the manager aside.
	requests atomic.Int32
	stop     func()
}

// newWorld starts a server, the manager and an app of grant client_credentials.
func newWorld(t *testing.T, server []tokenservertest.Option, manager ...testenv.ManagerOption) *world {
	t.Helper()
	w := &world{T: t}
	w.stop = plane.StartManager(t, manager...)
	w.fill(server)
	return w
}

// another is a world with a server and a namespace of its own, of the same
// manager.
func (w *world) another() *world {
	w.Helper()
	other := &world{T: w.T, stop: w.stop}
	other.fill(nil)
	return other
}

func (w *world) fill(server []tokenservertest.Option) {
	w.Helper()
	w.server = tokenservertest.Start(w.T, append(server, tokenservertest.WithMiddleware(w.middleware))...)
	w.namespace = plane.Namespace(w.T, nil)
	name := w.namespace
	w.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: testenv.SystemNamespace, Name: name + "-admin"},
		Data:       map[string][]byte{"client-id": []byte(w.server.AdminClientID), "client-secret": []byte(w.server.AdminClientSecret)},
	})
	w.create(&v1alpha1.TokenServer{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.TokenServerSpec{
			URL: w.server.URL,
			Credentials: v1alpha1.TokenServerCredentials{
				Type: v1alpha1.TokenServerCredentialsSecret, SecretRef: &v1alpha1.SecretReference{Name: name + "-admin"},
			},
			Access: []v1alpha1.AccessRule{{
				Name: "all", GrantTypes: []v1alpha1.GrantType{oauth.GrantClientCredentials, oauth.GrantAuthorizationCode},
				Scopes: []v1alpha1.AccessScope{{Scope: "*"}}, RedirectHosts: []v1alpha1.RedirectHost{"example.com"},
			}},
		},
	})
	w.app = &v1alpha1.ConnectedApp{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "gitproxy"},
		Spec: v1alpha1.ConnectedAppSpec{
			TokenServerRef: &v1alpha1.TokenServerReference{Name: name},
			GrantTypes:     []v1alpha1.GrantType{oauth.GrantClientCredentials},
			Scopes:         []v1alpha1.ScopeAssignment{{Scope: "profile"}, {Scope: "read:applications"}},
		},
	}
}

// middleware plays faults at the token endpoint. The manager's own log-in is
// let through: the trouble is to be the apps'.
func (w *world) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == oauth.PathToken && r.UserAgent() != "connectedapps-manager" {
			w.requests.Add(1)
			if fault := w.fault.Load(); fault != nil {
				(*fault)(rw, r)
				return
			}
		}
		next.ServeHTTP(rw, r)
	})
}

func (w *world) setFault(h http.HandlerFunc) { w.fault.Store(&h) }

func (w *world) mend() { w.fault.Store(nil) }

// create makes an object that is gone, finalizers and all, when the test is: the
// managers of later tests shall not meet it.
func (w *world) create(o client.Object) {
	w.Helper()
	plane.Create(w.T, o)
	w.Cleanup(func() {
		ctx := context.Background() // the test's has ended, and its manager
		release := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
		require.NoError(w, client.IgnoreNotFound(plane.Client.Delete(ctx, o)))
		require.NoError(w, client.IgnoreNotFound(plane.Client.Patch(ctx, o, release)))
	})
}

// token makes an AccessToken of the app.
func (w *world) token(name string, change ...func(*v1alpha1.AccessToken)) *v1alpha1.AccessToken {
	w.Helper()
	token := &v1alpha1.AccessToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec:       v1alpha1.AccessTokenSpec{ConnectedAppRef: v1alpha1.ConnectedAppReference{Name: w.app.Name}},
	}
	for _, f := range change {
		f(token)
	}
	w.create(token)
	return token
}

// edit changes an object as a person would.
func (w *world) edit(o client.Object, change func()) {
	w.Helper()
	testenv.Eventually(w.T, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(w.Context(), client.ObjectKeyFromObject(o), o))
		change()
		c.NoError(plane.Client.Update(w.Context(), o))
	})
}

// ready waits until the AccessToken is so at its newest generation, and returns
// the token in its Secret.
func (w *world) ready(token *v1alpha1.AccessToken) (*refresher.Token, *corev1.Secret) {
	w.Helper()
	secret := &corev1.Secret{}
	var held *refresher.Token
	testenv.Eventually(w.T, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(w.Context(), client.ObjectKeyFromObject(token), token))
		ready := testenv.Condition(token.Status.Conditions, v1alpha1.ConditionReady)
		c.Equal(metav1.ConditionTrue, ready.Status, ready.Reason+": "+ready.Message)
		c.Equal(token.Generation, token.Status.ObservedGeneration)
		c.Equal(token.Generation, ready.ObservedGeneration)
		var err error
		held, err = w.read(token.SecretName(), secret)
		c.NoError(err)
	})
	return held, secret
}

func (w *world) read(name string, secret *corev1.Secret) (*refresher.Token, error) {
	if err := plane.Client.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, secret); err != nil {
		return nil, err
	}
	return refresher.ParseFiles(secret.Data)
}

// condition waits for a condition of the AccessToken.
func (w *world) condition(token *v1alpha1.AccessToken, kind string, value metav1.ConditionStatus, reason string) metav1.Condition {
	w.Helper()
	var found metav1.Condition
	testenv.Eventually(w.T, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(w.Context(), client.ObjectKeyFromObject(token), token))
		found = testenv.Condition(token.Status.Conditions, kind)
		c.Equal(value, found.Status, found.Reason+": "+found.Message)
		c.Equal(reason, found.Reason, found.Message)
	})
	return found
}

// changed waits for another token in the Secret.
func (w *world) changed(token *v1alpha1.AccessToken, before *refresher.Token) *refresher.Token {
	w.Helper()
	var after *refresher.Token
	testenv.Eventually(w.T, func(c *require.Assertions) {
		var err error
		after, err = w.read(token.SecretName(), &corev1.Secret{})
		c.NoError(err)
		c.NotEqual(before.AccessToken, after.AccessToken)
	})
	return after
}

// accepted asks the real server about a token.
func (w *world) accepted(token *refresher.Token) bool {
	w.Helper()
	request, err := http.NewRequestWithContext(w.Context(), http.MethodGet, w.server.URL+oauth.PathMe, nil)
	require.NoError(w, err)
	request.Header.Set("Authorization", "Bearer "+token.AccessToken)
	response, err := http.DefaultClient.Do(request)
	require.NoError(w, err)
	require.NoError(w, response.Body.Close())
	return response.StatusCode == http.StatusOK
}

func (w *world) kstatus(token *v1alpha1.AccessToken) status.Status {
	w.Helper()
	require.NoError(w, plane.Client.Get(w.Context(), client.ObjectKeyFromObject(token), token))
	return testenv.KStatus(w.T, token)
}
