// SPDX-License-Identifier: Apache-2.0

package accesstoken_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/accesstoken"
	"connectedapps.dev/operator/internal/controller/apply"
	"connectedapps.dev/operator/internal/controller/object"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/refresher"
	"connectedapps.dev/operator/internal/registrar"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// bench is the reconciler by itself on the real API server and a real token
// server: nothing happens between two passes but what the test does.
type bench struct {
	*testing.T
	r         *accesstoken.Reconciler
	server    *tokenservertest.Instance
	manager   *registrar.Client
	namespace string
	// app is Ready; its status is the test's to write.
	app   *v1alpha1.ConnectedApp
	token *v1alpha1.AccessToken
	// clientID and clientSecret are the app's on the token server.
	clientID, clientSecret string
	// now is the reconciler's clock.
	now    time.Time
	events *events.FakeRecorder
	// requests counts token requests of the app; fault answers them while it is
	// set.
	requests atomic.Int32
	fault    atomic.Pointer[http.HandlerFunc]
	// writes counts what was sent to the API server. Before is asked about each
	// write, and its error is the answer.
	writes int
	before func() error
	// behind, while it is set, is what reads of the AccessToken from the cache
	// give.
	behind *v1alpha1.AccessToken
	// staleSecret is the same for the token Secret.
	staleSecret *corev1.Secret
}

func newBench(t *testing.T, change ...func(*v1alpha1.ConnectedApp)) *bench {
	t.Helper()
	return newBenchOn(t, nil, change...)
}

// newBenchOn is one whose token server is made with options.
func newBenchOn(t *testing.T, options []tokenservertest.Option, change ...func(*v1alpha1.ConnectedApp)) *bench {
	t.Helper()
	b := &bench{T: t, namespace: plane.Namespace(t, nil), now: time.Now(), events: events.NewFakeRecorder(1000)}
	b.server = tokenservertest.Start(t, append(options,
		tokenservertest.WithMiddleware(b.middleware), tokenservertest.WithTokenLifetime(tokenLife))...)
	b.register()
	b.app = plane.CreateApp(t, testenv.App(b.namespace, "main", change...))
	b.setApp(func() { b.summarise(nil) })
	b.token = &v1alpha1.AccessToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "gitproxy"},
		Spec:       v1alpha1.AccessTokenSpec{ConnectedAppRef: v1alpha1.ConnectedAppReference{Name: "app"}},
	}
	plane.Create(t, b.token)
	b.r = b.reconciler()
	return b
}

// register makes the client on the token server.
func (b *bench) register() {
	b.Helper()
	var err error
	b.manager, err = registrar.New(registrar.Config{
		URL: b.server.URL, ClientID: b.server.AdminClientID, ClientSecret: b.server.AdminClientSecret, UserAgent: managerAgent,
	})
	require.NoError(b, err)
	b.Cleanup(b.manager.Close)
	name, grants, audience := "app", []string{oauth.GrantClientCredentials}, oauth.AudienceInternal
	registered, err := b.manager.Register(b.Context(), "", registrar.Fields{ClientName: &name, GrantTypes: &grants, Audience: &audience})
	require.NoError(b, err)
	b.clientID, b.clientSecret = registered.App.ClientID, registered.App.ClientSecret
}

// tokenLife leaves a test room to set its clock forward: tokens are issued by the
// true time.
const tokenLife = 24 * time.Hour

// managerAgent is how the manager's own requests are told from the apps'.
const managerAgent = "connectedapps-manager"

func (b *bench) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == oauth.PathToken && r.UserAgent() != managerAgent {
			b.requests.Add(1)
			if fault := b.fault.Load(); fault != nil {
				(*fault)(rw, r)
				return
			}
		}
		next.ServeHTTP(rw, r)
	})
}

func (b *bench) reconciler() *accesstoken.Reconciler {
	c := interceptor.NewClient(plane.Client, b.interceptors())
	connections := &inventory.Connections{}
	connections.Set("main", b.connection())
	return &accesstoken.Reconciler{
		Client: c, Live: plane.Client, Connections: connections, Recorder: b.events,
		Objects: &object.Store[*v1alpha1.AccessToken]{Client: c, Live: plane.Client, New: func() *v1alpha1.AccessToken { return &v1alpha1.AccessToken{} }},
		Secrets: &apply.Secrets{Client: c, Live: plane.Client, Scheme: plane.Scheme, FieldManager: apply.ManagerAccessToken},
		Now:     func() time.Time { return b.now },
	}
}

// connection is to the token server, as the controller of TokenServers found it.
func (b *bench) connection() *inventory.Connection {
	b.Helper()
	discovery, err := b.manager.Discover(b.Context())
	require.NoError(b, err)
	return &inventory.Connection{
		Inventory: inventory.New(b.manager, inventory.Options{}), Client: b.manager,
		URL: b.server.URL, Issuer: discovery.Issuer, Discovery: *discovery,
	}
}

func (b *bench) interceptors() interceptor.Funcs {
	write := func(do func() error) error {
		b.writes++
		if b.before != nil {
			if err := b.before(); err != nil {
				return err
			}
		}
		return do()
	}
	return interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if token, ok := o.(*v1alpha1.AccessToken); ok && b.behind != nil {
				b.behind.DeepCopyInto(token)
				return nil
			}
			if secret, ok := o.(*corev1.Secret); ok && b.staleSecret != nil && key.Name == b.staleSecret.Name {
				b.staleSecret.DeepCopyInto(secret)
				return nil
			}
			return c.Get(ctx, key, o, opts...)
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return write(func() error { return c.Create(ctx, o, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return write(func() error { return c.Delete(ctx, o, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
			return write(func() error { return c.Patch(ctx, o, patch, opts...) })
		},
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			return write(func() error { return c.Apply(ctx, o, opts...) })
		},
		SubResourcePatch: func(
			ctx context.Context, c client.Client, name string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption,
		) error {
			return write(func() error { return c.SubResource(name).Patch(ctx, o, patch, opts...) })
		},
	}
}

// conflicts lets the next n writes meet one of somebody else.
func (b *bench) conflicts(n int) {
	b.before = func() error {
		if n--; n >= 0 {
			return apierrors.NewConflict(schema.GroupResource{Resource: "things"}, "thing", errors.New("the object has been modified"))
		}
		return nil
	}
}

// pass reconciles once and reads the object.
func (b *bench) pass() (ctrl.Result, error) {
	b.Helper()
	result, err := b.r.Reconcile(b.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(b.token)})
	require.NoError(b, client.IgnoreNotFound(b.read(b.token)))
	return result, err
}

// mustPass is pass without an error.
func (b *bench) mustPass() ctrl.Result {
	b.Helper()
	result, err := b.pass()
	require.NoError(b, err)
	return result
}

func (b *bench) read(o client.Object) error {
	return plane.Client.Get(b.Context(), client.ObjectKeyFromObject(o), o)
}

// setApp changes the app's status as its controller would.
func (b *bench) setApp(change func()) {
	b.Helper()
	require.NoError(b, b.read(b.app))
	change()
	require.NoError(b, plane.Client.Status().Update(b.Context(), b.app))
}

// summarise puts the outcome of a reconciliation into the app's status.
func (b *bench) summarise(problem error) {
	b.app.Status.ClientID, b.app.Status.Issuer = b.clientID, b.connection().Issuer
	status.Summarise(b.app, problem, "registered")
}

// edit changes an object as a person would.
func (b *bench) edit(o client.Object, change func()) {
	b.Helper()
	require.NoError(b, b.read(o))
	change()
	require.NoError(b, plane.Client.Update(b.Context(), o, client.FieldOwner("kubectl-edit")))
}

// madeFor creates a Secret of the app, as its controller would.
func (b *bench) madeFor(name string, data map[string]string) *corev1.Secret {
	b.Helper()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: b.namespace, Name: name,
			Labels: map[string]string{v1alpha1.LabelSecret: v1alpha1.SecretManaged, v1alpha1.LabelConnectedApp: b.app.Name},
			OwnerReferences: []metav1.OwnerReference{
				*metav1.NewControllerRef(b.app, v1alpha1.GroupVersion.WithKind("ConnectedApp")),
			},
		},
		StringData: data,
	}
	plane.Create(b.T, secret)
	return secret
}

// withCredentials makes the app's Secret as its controller would.
func (b *bench) withCredentials() *corev1.Secret {
	b.Helper()
	return b.madeFor("app-credentials", map[string]string{
		"client-id": b.clientID, "client-secret": b.clientSecret, "token-url": b.server.URL + oauth.PathToken,
	})
}

// secret reads the token Secret and the token in it, which is nil when there is
// none.
func (b *bench) secret() (*corev1.Secret, *refresher.Token) {
	b.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: b.token.SecretName()}}
	if err := b.read(secret); apierrors.IsNotFound(err) {
		return nil, nil
	}
	held, err := refresher.ParseFiles(secret.Data)
	if err != nil {
		return secret, nil
	}
	return secret, held
}

func (b *bench) ready() metav1.Condition {
	return testenv.Condition(b.token.Status.Conditions, v1alpha1.ConditionReady)
}

func (b *bench) fresh() metav1.Condition {
	return testenv.Condition(b.token.Status.Conditions, v1alpha1.ConditionTokenFresh)
}

// told returns the Events since the last call.
func (b *bench) told() []string {
	var all []string
	for {
		select {
		case e := <-b.events.Events:
			all = append(all, e)
		default:
			return all
		}
	}
}
