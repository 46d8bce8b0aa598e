// SPDX-License-Identifier: Apache-2.0

package connectedapp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/connectedapp"
	"connectedapps.dev/operator/internal/controller/ownership"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/controller/tokenserver"
	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/registrar"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

var errDead = errors.New("the process is dead")

// mortal counts the writes of one process, to the API server and to the token
// server alike, and lets it die right after one of them: that write happened,
// its answer is lost, and nothing is written any more.
type mortal struct {
	mu    sync.Mutex
	left  int // writes until death; below zero: immortal
	dead  bool
	steps []string
}

// step makes one write. It reports false when the writer does not live to see
// the answer.
func (m *mortal) step(name string, write func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return false
	}
	write()
	m.steps = append(m.steps, name)
	m.left--
	m.dead = m.left == 0
	return !m.dead
}

// reborn is the next process, which dies after so many writes.
func (m *mortal) reborn(writes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead, m.left, m.steps = false, writes, nil
}

func (m *mortal) isDead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead
}

// middleware puts the process's writes to the token server under the count.
func (m *mortal) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.URL.Path == oauth.PathToken {
			next.ServeHTTP(w, r)
			return
		}
		answer := &recorder{header: http.Header{}}
		if !m.step(r.Method+" "+r.URL.Path, func() { next.ServeHTTP(answer, r) }) {
			connection, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = connection.Close()
			}
			return
		}
		for k, v := range answer.header {
			w.Header()[k] = v
		}
		w.WriteHeader(answer.status)
		_, _ = w.Write(answer.body)
	})
}

type recorder struct {
	header http.Header
	status int
	body   []byte
}

func (r *recorder) Header() http.Header    { return r.header }
func (r *recorder) WriteHeader(status int) { r.status = status }
func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	r.body = append(r.body, b...)
	return len(b), nil
}

// client puts the process's writes to the API server under the count.
func (m *mortal) client() client.Client {
	write := func(name string, do func() error) error {
		var err error
		if !m.step(name, func() { err = do() }) {
			return errDead
		}
		return err
	}
	return interceptor.NewClient(plane.Client, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			return write(fmt.Sprintf("create %T", o), func() error { return c.Create(ctx, o, options...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
			return write(fmt.Sprintf("patch %T", o), func() error { return c.Patch(ctx, o, patch, options...) })
		},
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, options ...client.ApplyOption) error {
			return write(fmt.Sprintf("apply %T", o), func() error { return c.Apply(ctx, o, options...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.DeleteOption) error {
			return write(fmt.Sprintf("delete %T", o), func() error { return c.Delete(ctx, o, options...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
			return write(fmt.Sprintf("patch %T/%s", o, sub), func() error { return c.SubResource(sub).Patch(ctx, o, patch, options...) })
		},
	})
}

// process is one run of the reconciler: another one remembers nothing of it.
func process(t *testing.T, m *mortal, w *world) *connectedapp.Reconciler {
	t.Helper()
	api, err := registrar.New(registrar.Config{
		URL: w.instance.URL, ClientID: w.instance.AdminClientID, ClientSecret: w.instance.AdminClientSecret, RequestsPerSecond: 10000,
	})
	require.NoError(t, err)
	discovery, err := api.Discover(t.Context())
	require.NoError(t, err)
	connections := &inventory.Connections{}
	connections.Set(w.server.Name, &inventory.Connection{
		Inventory: inventory.New(api, inventory.Options{Revision: !w.plain, Secrets: !w.plain, Breaker: &inventory.Breaker{Failures: 1 << 30}}),
		Issuer:    discovery.Issuer, OrganizationID: w.instance.OrgID, Discovery: *discovery, URL: w.instance.URL, Client: api,
	})
	return &connectedapp.Reconciler{
		Client: m.client(), Live: plane.Client, Connections: connections, Events: &events.FakeRecorder{},
		Owners:    &ownership.Records{Client: m.client(), Live: plane.Client, Namespace: testenv.SystemNamespace},
		Losses:    &tokenserver.Losses{Reader: unindexed{plane.Client}, Connections: connections},
		ClusterID: "cluster", ResyncInterval: time.Hour,
	}
}

// unindexed lists from the API server, which has no index of ConnectedApps.
type unindexed struct{ client.Reader }

func (u unindexed) List(ctx context.Context, list client.ObjectList, _ ...client.ListOption) error {
	return u.Reader.List(ctx, list)
}

// runUntil reconciles until done, the process is dead, or it is clear that
// neither will be.
func runUntil(t *testing.T, r *connectedapp.Reconciler, m *mortal, app *v1alpha1.ConnectedApp, done func() bool) bool {
	t.Helper()
	for range 20 {
		_, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(app)})
		if m.isDead() {
			return false
		}
		if err == nil && done() {
			return true
		}
	}
	require.FailNow(t, "the app does not settle")
	return false
}

// crashAnywhere is crash on either kind of server.
func crashAnywhere(t *testing.T, prepare func(w *world, app *v1alpha1.ConnectedApp), done func(w *world, app *v1alpha1.ConnectedApp) bool, check func(w *world, app *v1alpha1.ConnectedApp)) {
	t.Helper()
	for name, plain := range map[string]bool{"our server": false, "a plain platform": true} {
		t.Run(name, func(t *testing.T) { crash(t, plain, prepare, done, check) })
	}
}

// crash runs a story many times. Each time the process dies one write later
// than the time before; another takes over and must end where one that lives
// ends.
func crash(
	t *testing.T, plain bool, prepare func(w *world, app *v1alpha1.ConnectedApp), done func(w *world, app *v1alpha1.ConnectedApp) bool,
	check func(w *world, app *v1alpha1.ConnectedApp), options ...tokenservertest.Option,
) {
	t.Helper()
	m := &mortal{}
	middleware := m.middleware
	if plain {
		middleware = func(next http.Handler) http.Handler { return m.middleware(tokenservertest.Plain(next)) }
	}
	w := &world{T: t, plain: plain, instance: tokenservertest.Start(t, append(options, tokenservertest.WithMiddleware(middleware))...)}
	w.server = plane.TokenServer(t, w.instance)
	w.server.Status.OrganizationID = w.instance.OrgID
	for writes := 1; ; writes++ {
		m.reborn(-1)
		w.namespace = plane.Namespace(t, nil)
		app := w.app(func(a *v1alpha1.ConnectedApp) {
			a.Spec.Scopes = []v1alpha1.ScopeAssignment{{Scope: "view:environment", OrganizationID: w.instance.OrgID}}
		})
		prepare(w, app)
		before := len(w.clients())
		m.reborn(writes)
		if runUntil(t, process(t, m, w), m, app, func() bool { return done(w, app) }) {
			require.Greater(t, writes, 2, "there was nothing to crash between")
			t.Logf("%d writes: %v", writes-1, m.steps)
			return
		}
		died := m.steps[len(m.steps)-1]
		m.reborn(-1)
		runUntil(t, process(t, m, w), m, app, func() bool { return done(w, app) })
		t.Run(fmt.Sprintf("dead after write %d, %s", writes, died), func(t *testing.T) {
			inner := *w
			inner.T = t
			check(&inner, app)
			require.LessOrEqual(t, len(inner.clients()), before+1)
		})
		require.NoError(t, client.IgnoreNotFound(plane.Client.Delete(t.Context(), app)))
		m.reborn(-1)
		runUntil(t, process(t, m, w), m, app, func() bool { return gone(w, app) })
		require.Empty(t, w.clients(), "nothing is left behind")
		require.Zero(t, w.remembered(app), "nor remembered")
	}
}

func isReady(w *world, app *v1alpha1.ConnectedApp) bool {
	return w.read(app) == nil && status.IsReady(app)
}

func gone(w *world, app *v1alpha1.ConnectedApp) bool { return apierrors.IsNotFound(w.read(app)) }

// settle brings an app to Ready in a process that does not die.
func settle(w *world, app *v1alpha1.ConnectedApp) {
	m := &mortal{left: -1}
	runUntil(w.T, process(w.T, m, w), m, app, func() bool { return isReady(w, app) })
}

// checkOneValidClient is what every story but a deletion ends in.
func checkOneValidClient(w *world, app *v1alpha1.ConnectedApp) {
	clients := w.clients()
	require.Len(w, clients, 1, "one client for one object")
	require.Equal(w, app.Status.ClientID, clients[0].ClientID)
	secret := w.secret("app-credentials")
	w.requireWorks(secret)
	for _, s := range clients[0].Secrets {
		if s.ID != secret.Annotations[v1alpha1.AnnotationSecretID] && s.Live(time.Now()) {
			require.False(w, s.ExpiresAt.IsZero(), "secret %s is valid for ever and nobody knows it", s.ID)
		}
	}
	require.Len(w, clients[0].ContextScopes, 1)
}

func TestACrashDuringRegistrationLosesNothing(t *testing.T) {
	crashAnywhere(t, func(*world, *v1alpha1.ConnectedApp) {}, isReady, checkOneValidClient)
}

func TestACrashDuringAnEditLosesNothing(t *testing.T) {
	crashAnywhere(t, func(w *world, app *v1alpha1.ConnectedApp) {
		settle(w, app)
		w.update(app, func() {
			app.Spec.ClientName = "edited"
			app.Spec.Scopes = []v1alpha1.ScopeAssignment{{Scope: "read:stats", OrganizationID: w.instance.OrgID}}
			withSecret(v1alpha1.CredentialsSecretSpec{Preset: "servicebinding"})(app)
		})
	}, isReady, func(w *world, app *v1alpha1.ConnectedApp) {
		checkOneValidClient(w, app)
		registered := w.registered(app)
		require.Equal(w, "edited", registered.Name)
		require.Equal(w, "read:stats", registered.ContextScopes[0].Scope)
	})
}

func TestACrashWhileASecretIsRestoredLosesNothing(t *testing.T) {
	crashAnywhere(t, func(w *world, app *v1alpha1.ConnectedApp) {
		settle(w, app)
		require.NoError(w, plane.Client.Delete(w.Context(), w.secret("app-credentials")))
	}, func(w *world, app *v1alpha1.ConnectedApp) bool {
		key := client.ObjectKey{Namespace: w.namespace, Name: "app-credentials"}
		return isReady(w, app) && plane.Client.Get(w.Context(), key, &corev1.Secret{}) == nil
	}, checkOneValidClient)
}

func TestACrashDuringADeletionLeavesNothingBehind(t *testing.T) {
	crashAnywhere(t, func(w *world, app *v1alpha1.ConnectedApp) {
		settle(w, app)
		require.NoError(w, plane.Client.Delete(w.Context(), app))
	}, gone, func(w *world, app *v1alpha1.ConnectedApp) {
		require.Empty(w, w.clients())
		err := plane.Client.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: "app-credentials"}, &corev1.Secret{})
		require.True(w, apierrors.IsNotFound(err))
	})
}

// An object that was let go is in the cache for a while.
func TestADeletionIsNotRepeatedByAnOlderCache(t *testing.T) {
	w := &world{T: t, instance: tokenservertest.Start(t), namespace: plane.Namespace(t, nil)}
	w.server = plane.TokenServer(t, w.instance)
	app := w.app()
	settle(w, app)
	require.NoError(t, plane.Client.Delete(t.Context(), app))
	require.NoError(t, w.read(app))
	m := &mortal{left: -1}
	r := process(t, m, w)
	r.Client = interceptor.NewClient(m.client().(client.WithWatch), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
			if cached, ok := o.(*v1alpha1.ConnectedApp); ok {
				app.DeepCopyInto(cached)
				return nil
			}
			return c.Get(ctx, key, o, options...)
		},
	})
	request := ctrl.Request{NamespacedName: client.ObjectKeyFromObject(app)}
	_, err := r.Reconcile(t.Context(), request)
	require.NoError(t, err)
	require.True(t, apierrors.IsNotFound(plane.Client.Get(t.Context(), request.NamespacedName, &v1alpha1.ConnectedApp{})))
	done := len(m.steps)
	require.NotZero(t, done)
	_, err = r.Reconcile(t.Context(), request)
	require.NoError(t, err)
	require.Len(t, m.steps, done)
}

func TestACrashWhileAClientIsMadeAnewLosesNothing(t *testing.T) {
	for name, change := range map[string]func(*v1alpha1.ConnectedApp){
		"with a secret of ours": func(*v1alpha1.ConnectedApp) {}, "with an existing secret": fromVault("vault"),
	} {
		t.Run(name, func(t *testing.T) {
			crashAnywhere(t, func(w *world, app *v1alpha1.ConnectedApp) {
				w.vault("vault", "", "chosen-by-somebody-else-1")
				w.update(app, func() { change(app) })
				settle(w, app)
				_, err := w.instance.Store.DeleteApp(t.Context(), app.Status.ClientID, time.Now())
				require.NoError(w, err)
			}, func(w *world, app *v1alpha1.ConnectedApp) bool { return isReady(w, app) && len(w.clients()) == 1 }, func(w *world, app *v1alpha1.ConnectedApp) {
				clients := w.clients()
				require.Len(w, clients, 1, "one client for one object")
				require.Equal(w, app.Status.ClientID, clients[0].ClientID)
				require.Equal(w, w.namespace+"/app", clients[0].Name)
				secret := "chosen-by-somebody-else-1"
				if app.CredentialsType() == v1alpha1.CredentialsSecret {
					secret = string(w.secret("app-credentials").Data["client-secret"])
				}
				requireToken(w, w.instance.URL+oauth.PathToken, app.Status.ClientID, secret)
			})
		})
	}
}
