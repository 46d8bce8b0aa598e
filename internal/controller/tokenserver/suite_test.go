// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

var plane *testenv.ControlPlane

func TestMain(m *testing.M) { os.Exit(testenv.RunDocumented(m, &plane)) }

// world is a real token server, whose answers a fault may replace, and the
// manager at work.
type world struct {
	*testing.T
	server *tokenservertest.Instance
	name   string
	fault  atomic.Pointer[http.HandlerFunc]
	probes atomic.Int32
	stop   func()
}

func newWorld(t *testing.T, options ...testenv.ManagerOption) *world {
	t.Helper()
	return newWorldOn(t, nil, options...)
}

// newWorldOn is one whose token server is made with options.
func newWorldOn(t *testing.T, server []tokenservertest.Option, options ...testenv.ManagerOption) *world {
	t.Helper()
	w := &world{T: t}
	w.server = tokenservertest.Start(t, append(server, tokenservertest.WithMiddleware(w.middleware))...)
	w.stop = plane.StartManager(t, options...)
	w.name = plane.Namespace(t, nil)
	return w
}

func (w *world) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == oauth.PathDiscovery {
			w.probes.Add(1)
		}
		if fault := w.fault.Load(); fault != nil {
			(*fault)(rw, r)
			return
		}
		next.ServeHTTP(rw, r)
	})
}

// recorded is the real server's answer.
func (w *world) recorded(r *http.Request) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	w.server.Server.Handler().ServeHTTP(recorder, r)
	return recorder
}

// rewrite changes the discovery document.
func (w *world) rewrite(change func(document map[string]any)) {
	w.setFault(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != oauth.PathDiscovery {
			w.server.Server.Handler().ServeHTTP(rw, r)
			return
		}
		document := map[string]any{}
		if err := json.Unmarshal(w.recorded(r).Body.Bytes(), &document); err != nil {
			panic(err)
		}
		change(document)
		rw.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(rw).Encode(document)
	})
}

// replacedBy lets another database answer, as far as the document says.
func (w *world) replacedBy(installation string) {
	w.rewrite(func(document map[string]any) { document["connectedapps_installation_id"] = installation })
}

// isPlain takes our extensions away: the platform of the vendor has none.
func (w *world) isPlain() {
	w.rewrite(func(document map[string]any) {
		delete(document, "connectedapps_installation_id")
		delete(document, "connectedapps_extensions")
	})
}

// isPlainAndHides lets such a platform's list lack a client that is there.
func (w *world) isPlainAndHides(clientID string) {
	w.isPlain()
	plain := *w.fault.Load()
	w.setFault(func(rw http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/connectedApplications") || r.Method != http.MethodGet {
			plain(rw, r)
			return
		}
		var page struct {
			Data  []map[string]any `json:"data"`
			Total int              `json:"total"`
		}
		if err := json.Unmarshal(w.recorded(r).Body.Bytes(), &page); err != nil {
			panic(err)
		}
		page.Data = slices.DeleteFunc(page.Data, func(row map[string]any) bool { return row["client_id"] == clientID })
		page.Total--
		rw.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(rw).Encode(page)
	})
}

func (w *world) setFault(h http.HandlerFunc) { w.fault.Store(&h) }

func (w *world) mend() { w.fault.Store(nil) }

// create makes an object that is gone, finalizers and all, when the test is.
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

func (w *world) credentials(secret string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: testenv.SystemNamespace, Name: w.name, Labels: map[string]string{v1alpha1.LabelSecret: v1alpha1.SecretReferenced},
		},
		Data: map[string][]byte{"client-id": []byte(w.server.AdminClientID), "client-secret": []byte(secret)},
	}
}

// tokenServer makes the TokenServer of the real server.
func (w *world) tokenServer(change ...func(*v1alpha1.TokenServer)) *v1alpha1.TokenServer {
	w.Helper()
	server := &v1alpha1.TokenServer{
		ObjectMeta: metav1.ObjectMeta{Name: w.name},
		Spec: v1alpha1.TokenServerSpec{
			URL: w.server.URL,
			Credentials: v1alpha1.TokenServerCredentials{
				Type: v1alpha1.TokenServerCredentialsSecret, SecretRef: &v1alpha1.SecretReference{Name: w.name},
			},
			Access: []v1alpha1.AccessRule{{Name: "all", GrantTypes: []v1alpha1.GrantType{oauth.GrantClientCredentials}}},
		},
	}
	for _, f := range change {
		f(server)
	}
	w.create(server)
	return server
}

func (w *world) edit(o client.Object, change func()) {
	w.Helper()
	testenv.Eventually(w.T, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(w.Context(), client.ObjectKeyFromObject(o), o))
		change()
		c.NoError(plane.Client.Update(w.Context(), o))
	})
}

// ready waits for Ready to have the value and reason at the newest generation.
func (w *world) ready(server *v1alpha1.TokenServer, value metav1.ConditionStatus, reason string) metav1.Condition {
	w.Helper()
	var ready metav1.Condition
	testenv.Eventually(w.T, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(w.Context(), client.ObjectKeyFromObject(server), server))
		ready = testenv.Condition(server.Status.Conditions, v1alpha1.ConditionReady)
		c.Equal(value, ready.Status, ready.Reason+": "+ready.Message)
		c.Equal(reason, ready.Reason, ready.Message)
		c.Equal(server.Generation, ready.ObservedGeneration)
	})
	return ready
}

// connectedApp is a ConnectedApp on the TokenServer, once it is Ready.
func (w *world) connectedApp() *v1alpha1.ConnectedApp { return w.connectedApps(1)[0] }

// connectedApps are n of them.
func (w *world) connectedApps(n int) []*v1alpha1.ConnectedApp {
	w.Helper()
	apps := make([]*v1alpha1.ConnectedApp, n)
	for i := range apps {
		apps[i] = &v1alpha1.ConnectedApp{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.name, Name: fmt.Sprintf("app-%02d", i)},
			Spec: v1alpha1.ConnectedAppSpec{
				TokenServerRef: &v1alpha1.TokenServerReference{Name: w.name},
				GrantTypes:     []v1alpha1.GrantType{oauth.GrantClientCredentials},
			},
		}
		w.create(apps[i])
	}
	for _, app := range apps {
		w.appReady(app)
	}
	return apps
}

func (w *world) appReady(app *v1alpha1.ConnectedApp) {
	w.Helper()
	testenv.Eventually(w.T, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(w.Context(), client.ObjectKeyFromObject(app), app))
		ready := testenv.Condition(app.Status.Conditions, v1alpha1.ConditionReady)
		c.Equal(metav1.ConditionTrue, ready.Status, ready.Message)
		c.Equal(app.Generation, ready.ObservedGeneration)
	})
}

// answerTo is the value of accept-server that a condition asks for.
func answerTo(t *testing.T, message string) string {
	t.Helper()
	match := regexp.MustCompile(`'connectedapps.dev/accept-server=([^']+)'`).FindStringSubmatch(message)
	require.Len(t, match, 2, message)
	return match[1]
}

func (w *world) accept(server *v1alpha1.TokenServer, value string) {
	w.Helper()
	w.edit(server, func() { metav1.SetMetaDataAnnotation(&server.ObjectMeta, v1alpha1.AnnotationAcceptServer, value) })
}

// probed waits until the server was asked n times more.
func (w *world) probed(n int32) {
	w.Helper()
	before := w.probes.Load()
	testenv.Eventually(w.T, func(c *require.Assertions) { c.GreaterOrEqual(w.probes.Load(), before+n) })
}

// remove deletes a TokenServer at once, whoever uses it.
func (w *world) remove(server *v1alpha1.TokenServer) {
	w.Helper()
	require.NoError(w, client.IgnoreNotFound(plane.Client.Delete(w.Context(), server)))
	release := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	require.NoError(w, client.IgnoreNotFound(plane.Client.Patch(w.Context(), server, release)))
	testenv.Eventually(w.T, func(c *require.Assertions) {
		c.True(apierrors.IsNotFound(plane.Client.Get(w.Context(), client.ObjectKeyFromObject(server), server)))
	})
}

func (w *world) events(uid types.UID) []string {
	w.Helper()
	events := &eventsv1.EventList{}
	require.NoError(w, plane.Client.List(w.Context(), events))
	var texts []string
	for _, e := range events.Items {
		if e.Regarding.UID == uid {
			texts = append(texts, e.Reason+": "+e.Note)
		}
	}
	return texts
}
