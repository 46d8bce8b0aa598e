// SPDX-License-Identifier: Apache-2.0

package deletion

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// envApps is how many apps are deleted in all.
const envApps = "DELETION_APPS"

// patience is for an end of namespaces that comes back every few seconds, on a
// machine with more to do.
const patience = 3 * time.Minute

var plane *testenv.ControlPlane

func TestMain(m *testing.M) { os.Exit(testenv.Run(m, &plane)) }

// way is how apps are deleted.
type way struct {
	name string
	do   func(*cell)
	// orphans: what belongs to the apps is to stay.
	orphans bool
}

var ways = []way{
	{name: "singly", do: func(c *cell) {
		command := []string{"delete", "--wait=false", "accesstoken/token"}
		for i := range c.n {
			command = append(command, "capp/"+appName(i))
		}
		c.kubectl(command...)
	}},
	{name: "in bulk", do: func(c *cell) { c.kubectl("delete", "--wait=false", "capp,accesstoken", "--all") }},
	{name: "with their namespace", do: func(c *cell) { c.cli.Run(c, "", "delete", "--wait=false", "namespace/"+c.namespace) }},
	{name: "what is theirs first", do: func(c *cell) {
		c.kubectl("delete", "--wait=false", "--cascade=foreground", "capp,accesstoken", "--all")
	}},
	{name: "what is theirs stays", orphans: true, do: func(c *cell) {
		c.kubectl("delete", "--wait=false", "--cascade=orphan", "capp,accesstoken", "--all")
	}},
}

// state is what the apps are in when they are deleted.
type state struct {
	name string
	// timeout is the TokenServer's deletionTimeout; 0: its default.
	timeout time.Duration
	before  func(*cell)
	// during goes on while the deletion does; nil: nothing.
	during func(*cell)
	// remembered: their clients outlive them, until after brings the server back.
	remembered bool
	after      func(*cell)
}

var states = []state{
	{name: "all is well"},
	{name: "the token server is away", timeout: time.Second, remembered: true, before: (*cell).leave, after: (*cell).comeBack},
	{name: "their Secrets are gone", before: func(c *cell) {
		require.NoError(c, plane.Client.DeleteAllOf(c.Context(), &corev1.Secret{}, client.InNamespace(c.namespace)))
	}},
	{name: "the TokenServer is gone", remembered: true, before: (*cell).removeTokenServer, after: func(c *cell) {
		c.server.ResourceVersion, c.server.UID = "", ""
		plane.Create(c, c.server)
	}},
	{name: "suspended", before: func(c *cell) {
		for i := range c.n {
			c.patch(testenv.App(c.namespace, "", named(i)), map[string]any{"spec": map[string]any{"suspend": true}})
		}
		c.eventually(func(r *require.Assertions) {
			for _, app := range c.apps(r) {
				r.Equal(v1alpha1.ReasonSuspended, testenv.Condition(app.Status.Conditions, v1alpha1.ConditionReady).Reason)
			}
		})
	}},
	{name: "nothing is allowed any more", before: func(c *cell) {
		c.patch(c.server, map[string]any{"spec": map[string]any{"access": nil}})
		c.eventually(func(r *require.Assertions) {
			for _, app := range c.apps(r) {
				r.Equal(v1alpha1.ReasonNotAllowed, testenv.Condition(app.Status.Conditions, v1alpha1.ConditionPolicyAccepted).Reason)
			}
		})
	}},
	{name: "somebody took the finalizers", before: (*cell).takeFinalizers},
	{name: "somebody took the finalizers that waited for a server", remembered: true, before: (*cell).leave, during: (*cell).takeWaiting, after: (*cell).comeBack},
}

// TestNothingStaysBehind deletes apps in each way in each state.
func TestNothingStaysBehind(t *testing.T) {
	each := 2
	if text := os.Getenv(envApps); text != "" {
		all, err := strconv.Atoi(text)
		require.NoError(t, err, envApps)
		cells := len(ways) * len(states)
		each = (all + cells - 1) / cells
	}
	var deleted atomic.Int64
	t.Run("of apps deleted", func(t *testing.T) {
		for _, w := range ways {
			for _, s := range states {
				t.Run(w.name+", "+s.name, func(t *testing.T) {
					t.Parallel()
					c := newCell(t, each, s)
					c.delete(w, s)
					deleted.Add(int64(c.n))
				})
			}
		}
	})
	t.Logf("%d apps deleted", deleted.Load())
}

// cell is a namespace with apps, one of which has an AccessToken, on a token server
// of their own.
type cell struct {
	*testing.T
	n         int
	cli       *testenv.Kubectl
	instance  *tokenservertest.Instance
	away      atomic.Bool
	server    *v1alpha1.TokenServer
	namespace string
}

func newCell(t *testing.T, n int, s state) *cell {
	t.Helper()
	plane.ShareManager(t)
	plane.ShareCollector(t)
	c := &cell{T: t, n: n, cli: plane.Kubectl(t), namespace: plane.Namespace(t, nil)}
	c.instance = tokenservertest.Start(t, tokenservertest.WithMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c.away.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(w, r)
		})
	}))
	c.server = plane.TokenServer(t, c.instance, func(server *v1alpha1.TokenServer) {
		if s.timeout > 0 {
			server.Spec.DeletionTimeout = &metav1.Duration{Duration: s.timeout}
		}
		server.Spec.RequestsPerSecond = new(int32(1000))
	})
	for i := range n {
		plane.Create(t, testenv.App(c.namespace, c.server.Name, named(i)))
	}
	plane.Create(t, &v1alpha1.AccessToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: "token"},
		Spec:       v1alpha1.AccessTokenSpec{ConnectedAppRef: v1alpha1.ConnectedAppReference{Name: appName(0)}},
	})
	c.eventually(func(r *require.Assertions) {
		for _, app := range c.apps(r) {
			r.True(status.IsReady(&app), "%+v", app.Status.Conditions)
		}
		token := &v1alpha1.AccessToken{}
		r.NoError(plane.Client.Get(c.Context(), client.ObjectKey{Namespace: c.namespace, Name: "token"}, token))
		r.True(status.IsReady(token), "%+v", token.Status.Conditions)
		r.Len(c.secrets(r), n+1)
	})
	require.Equal(c, n, c.clients(require.New(c)))
	return c
}

func appName(i int) string { return fmt.Sprintf("app-%03d", i) }

func named(i int) func(*v1alpha1.ConnectedApp) {
	return func(app *v1alpha1.ConnectedApp) { app.Name = appName(i) }
}

// delete is the test.
func (c *cell) delete(w way, s state) {
	if s.before != nil {
		s.before(c)
	}
	secrets := c.secrets(require.New(c))
	w.do(c)
	if s.during != nil {
		s.during(c)
	}
	c.eventually(func(r *require.Assertions) { c.requireGone(r, w, secrets) })
	if s.remembered {
		require.Equal(c, c.n, c.clients(require.New(c)), "the clients of objects that are gone")
		c.eventually(func(r *require.Assertions) { r.Equal(c.n, c.tombstones(r), "are remembered") })
	}
	if s.after != nil {
		s.after(c)
	}
	c.eventually(func(r *require.Assertions) {
		r.Zero(c.clients(r), "clients are left on the token server")
		r.Zero(c.tombstones(r), "tombstones are left")
	})
	require.NoError(c, plane.Client.Delete(c.Context(), c.server))
	c.eventually(func(r *require.Assertions) {
		err := plane.Client.Get(c.Context(), client.ObjectKeyFromObject(c.server), &v1alpha1.TokenServer{})
		r.True(apierrors.IsNotFound(err), "the TokenServer goes as well")
	})
}

// requireGone looks at what is in the cluster.
func (c *cell) requireGone(r *require.Assertions, w way, before []corev1.Secret) {
	var apps v1alpha1.ConnectedAppList
	var tokens v1alpha1.AccessTokenList
	for _, list := range []client.ObjectList{&apps, &tokens} {
		r.NoError(plane.Client.List(c.Context(), list, client.InNamespace(c.namespace)))
	}
	r.Empty(apps.Items)
	r.Empty(tokens.Items)
	after := map[types.UID]corev1.Secret{}
	for _, secret := range c.secrets(r) {
		r.True(w.orphans, "Secret %s is left", secret.Name)
		r.Empty(secret.OwnerReferences, "Secret %s is not the collector's to delete", secret.Name)
		after[secret.UID] = secret
	}
	for _, secret := range before {
		r.True(!w.orphans || len(after[secret.UID].Data) > 0, "Secret %s was to stay and is gone", secret.Name)
		r.True(!w.orphans || maps.EqualFunc(secret.Data, after[secret.UID].Data, bytes.Equal), "Secret %s changed", secret.Name)
	}
}

func (c *cell) leave() {
	c.away.Store(true)
	c.eventually(func(r *require.Assertions) { r.False(c.isServerReady(r)) })
}

func (c *cell) comeBack() { c.away.Store(false) }

func (c *cell) isServerReady(r *require.Assertions) bool {
	r.NoError(plane.Client.Get(c.Context(), client.ObjectKeyFromObject(c.server), c.server))
	return status.IsReady(c.server)
}

// removeTokenServer does as the condition of a TokenServer in use says.
func (c *cell) removeTokenServer() {
	kept := c.server.DeepCopy()
	require.NoError(c, plane.Client.Delete(c.Context(), c.server))
	c.eventually(func(r *require.Assertions) {
		c.patch(c.server, map[string]any{"metadata": map[string]any{"finalizers": nil}})
		r.Error(plane.Client.Get(c.Context(), client.ObjectKeyFromObject(c.server), &v1alpha1.TokenServer{}))
	})
	c.server = kept
	c.server.Finalizers = nil
	// The apps know it.
	c.eventually(func(r *require.Assertions) {
		c.patch(testenv.App(c.namespace, "", named(0)), map[string]any{"spec": map[string]any{"clientName": "edited"}})
		app := c.apps(r)[0]
		r.Equal(v1alpha1.ReasonTokenServerNotFound, testenv.Condition(app.Status.Conditions, v1alpha1.ConditionReady).Reason)
	})
}

func (c *cell) takeFinalizers() {
	for i := range c.n {
		c.patch(testenv.App(c.namespace, "", named(i)), map[string]any{"metadata": map[string]any{"finalizers": nil}})
	}
}

// takeWaiting is what people do with objects that do not go.
func (c *cell) takeWaiting() {
	c.eventually(func(r *require.Assertions) {
		for _, app := range c.apps(r) {
			r.NotNil(app.DeletionTimestamp)
		}
	})
	c.takeFinalizers()
}

// patch changes an object that may be gone.
func (c *cell) patch(o client.Object, change map[string]any) {
	data, err := json.Marshal(change)
	require.NoError(c, err)
	o, _ = o.DeepCopyObject().(client.Object)
	require.NoError(c, client.IgnoreNotFound(plane.Client.Patch(c.Context(), o, client.RawPatch(types.MergePatchType, data))))
}

func (c *cell) kubectl(args ...string) { c.cli.Run(c, "", append(args, "-n", c.namespace)...) }

func (c *cell) eventually(check func(*require.Assertions)) {
	c.Helper()
	testenv.EventuallyWithin(c, patience, check)
}

// apps are those that are there, which are all.
func (c *cell) apps(r *require.Assertions) []v1alpha1.ConnectedApp {
	var list v1alpha1.ConnectedAppList
	r.NoError(plane.Client.List(c.Context(), &list, client.InNamespace(c.namespace)))
	r.Len(list.Items, c.n)
	return list.Items
}

func (c *cell) secrets(r *require.Assertions) []corev1.Secret {
	var list corev1.SecretList
	r.NoError(plane.Client.List(c.Context(), &list, client.InNamespace(c.namespace)))
	return list.Items
}

// clients is how many this cluster has on the token server.
func (c *cell) clients(r *require.Assertions) int {
	list, _, err := c.instance.Store.Apps(c.Context(), storage.AppQuery{OrgID: c.instance.OrgID, Limit: 1000})
	r.NoError(err)
	n := 0
	for _, app := range list {
		if app.ExternalID != "" {
			n++
		}
	}
	return n
}

// tombstones is how many clients the manager remembers for the TokenServer.
func (c *cell) tombstones(r *require.Assertions) int {
	var list corev1.ConfigMapList
	r.NoError(plane.Client.List(c.Context(), &list, client.InNamespace(testenv.SystemNamespace), client.HasLabels{v1alpha1.LabelTombstone}))
	n := 0
	for i := range list.Items {
		if list.Items[i].Data["tokenServer"] == c.server.Name {
			n++
		}
	}
	return n
}
