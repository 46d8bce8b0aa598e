// SPDX-License-Identifier: Apache-2.0

package connectedapp_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/lane"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// trouble is a token server that can be made to fail.
type trouble struct {
	answer atomic.Pointer[http.HandlerFunc]
	calls  atomic.Int64
}

func (f *trouble) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.calls.Add(1)
		if answer := f.answer.Load(); answer != nil {
			(*answer)(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (f *trouble) begin(answer http.HandlerFunc) { f.answer.Store(&answer) }
func (f *trouble) end()                          { f.answer.Store(nil) }

func say(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// A server in trouble is its TokenServer's condition. Apps that are ready stay
// so, what is pending says why, and all of it ends by itself.
func TestTroubleOfTheTokenServer(t *testing.T) {
	for name, row := range map[string]struct {
		answer http.HandlerFunc
		reason string
	}{
		"nothing answers": {
			answer: func(w http.ResponseWriter, _ *http.Request) {
				connection, _, _ := w.(http.Hijacker).Hijack()
				_ = connection.Close()
			},
			reason: v1alpha1.ReasonUnreachable,
		},
		"a page of a proxy":        {answer: say(200, "text/html", "<h1>Welcome</h1>"), reason: v1alpha1.ReasonInvalidAnswer},
		"a page that says no":      {answer: say(404, "text/html", "<h1>Not here</h1>"), reason: v1alpha1.ReasonInvalidAnswer},
		"it fails":                 {answer: say(500, "application/json", `{"status":500,"message":"out of order"}`), reason: v1alpha1.ReasonServerError},
		"a gateway fails":          {answer: say(502, "text/html", "<h1>Bad gateway</h1>"), reason: v1alpha1.ReasonServerError},
		"it knows nobody any more": {answer: say(401, "application/json", `{"error":"invalid_client"}`), reason: ""},
	} {
		t.Run(name, func(t *testing.T) {
			faults := &trouble{}
			w := start(t, tokenservertest.WithMiddleware(faults.middleware))
			settled := w.ready(w.app())
			version := settled.ResourceVersion

			faults.begin(row.answer)
			pending := w.app(func(a *v1alpha1.ConnectedApp) { a.Name = "pending" })
			w.condition(pending, v1alpha1.ConditionReady, v1alpha1.ReasonTokenServerUnavailable)
			require.Equal(t, "InProgress", string(testenv.KStatus(t, pending)))
			testenv.Eventually(t, func(c *require.Assertions) {
				c.NoError(w.read(w.server))
				ready := testenv.Condition(w.server.Status.Conditions, v1alpha1.ConditionReady)
				c.NotEqual("True", string(ready.Status))
				if row.reason != "" {
					c.Equal(row.reason, ready.Reason)
				}
			})

			// The settled app was due for a comparison several times by now.
			before := faults.calls.Load()
			testenv.Eventually(t, func(c *require.Assertions) { c.Greater(faults.calls.Load(), before+2) })
			require.NoError(t, w.read(settled))
			require.True(t, status.IsReady(settled))
			require.Equal(t, version, settled.ResourceVersion, "an app that has what it needs is not written")

			// An edit that changes nothing on the server needs none.
			w.update(settled, func() { settled.Spec.DeletionPolicy = v1alpha1.DeletionDelete })
			w.ready(settled)

			faults.end()
			w.ready(pending)
			w.requireWorks(w.secret("pending-credentials"))
			testenv.Eventually(t, func(c *require.Assertions) {
				c.NoError(w.read(w.server))
				c.True(status.IsReady(w.server))
			})
		})
	}
}

func TestASlowTokenServerDelaysNothingElse(t *testing.T) {
	faults := &trouble{}
	w := start(t, tokenservertest.WithMiddleware(faults.middleware))
	settled := w.ready(w.app())
	other := begin(t)
	ended := make(chan struct{})
	var gaveUp atomic.Int64
	t.Cleanup(func() { close(ended) })
	faults.begin(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
			if strings.Contains(r.URL.Path, "/connectedApplications") {
				gaveUp.Add(1)
			}
		case <-ended:
		}
	})

	w.update(settled, func() { settled.Spec.ClientName = "new" })
	for i := range 3 * lane.Width {
		w.app(func(a *v1alpha1.ConnectedApp) { a.Name = fmt.Sprintf("pending-%d", i) })
	}
	// Another server is served meanwhile: nobody waits for a call that hangs.
	other.ready(other.app())
	require.Zero(t, gaveUp.Load())

	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(w.read(settled))
		ready := testenv.Condition(settled.Status.Conditions, v1alpha1.ConditionReady)
		c.NotEqual("True", string(ready.Status), "never ready for a generation that is not on the server")
		c.Equal(settled.Generation, ready.ObservedGeneration)
	})
	require.NotEqual(t, settled.Generation, settled.Status.ObservedGeneration)
}

// While the server is away there is no other way than to say so.
func TestASecretLostWhileTheServerIsAwayComesBackWithIt(t *testing.T) {
	faults := &trouble{}
	w := start(t, tokenservertest.WithMiddleware(faults.middleware))
	app := w.ready(w.app())
	faults.begin(say(503, "application/json", `{"status":503,"message":"away"}`))
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(w.read(w.server))
		c.False(status.IsReady(w.server))
	})
	secret := w.secret("app-credentials")
	require.NoError(t, plane.Client.Delete(t.Context(), secret))
	w.condition(app, v1alpha1.ConditionReady, v1alpha1.ReasonTokenServerUnavailable)

	faults.end()
	w.ready(app)
	w.requireWorks(w.secret("app-credentials"))
}

func TestARegistrationTheServerRefusesIsStalledWithItsWords(t *testing.T) {
	faults := &trouble{}
	w := start(t, tokenservertest.WithMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost && r.URL.Path != "/accounts/api/v2/oauth2/token" {
				say(400, "application/json", `{"status":400,"message":"the organization has 10000 apps"}`)(w, r)
				return
			}
			faults.middleware(next).ServeHTTP(w, r)
		})
	}))
	app := w.condition(w.app(), v1alpha1.ConditionReady, v1alpha1.ReasonRejected)
	require.Equal(t, "Failed", string(testenv.KStatus(t, app)))
	require.Contains(t, testenv.Condition(app.Status.Conditions, v1alpha1.ConditionStalled).Message, "the organization has 10000 apps")
}

func TestAnAppWithoutATokenServerWaitsForIt(t *testing.T) {
	w := start(t)
	app := plane.CreateApp(t, testenv.App(w.namespace, "not-there"))
	w.condition(app, v1alpha1.ConditionReady, v1alpha1.ReasonTokenServerNotFound)
	require.Equal(t, "there is no TokenServer not-there; the platform team makes it. "+
		"To use another, delete this object and apply it with another spec.tokenServerRef", testenv.Condition(app.Status.Conditions, v1alpha1.ConditionReady).Message)
	require.NoError(t, plane.Client.Delete(t.Context(), app))
	testenv.Eventually(t, func(c *require.Assertions) { c.True(apierrors.IsNotFound(w.read(app))) })
}
