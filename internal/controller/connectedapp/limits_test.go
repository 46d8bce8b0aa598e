// SPDX-License-Identifier: Apache-2.0

package connectedapp_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// Thousands of apps cost a list, not a call each.
func TestAnAppInOrderIsNotReadByItself(t *testing.T) {
	var lists, reads atomic.Int64
	w := start(t, tokenservertest.WithMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method != http.MethodGet:
			case strings.HasSuffix(r.URL.Path, "/connectedApplications") && r.URL.Query().Get("external_id") == "":
				lists.Add(1)
			case strings.Contains(r.URL.Path, "/connectedApplications/"):
				reads.Add(1)
			}
			next.ServeHTTP(rw, r)
		})
	}))
	w.ready(w.app())
	after := func(n int64) {
		from := lists.Load()
		testenv.Eventually(t, func(c *require.Assertions) { c.Greater(lists.Load(), from+n) })
	}
	after(2) // the first comparison after a change may note the server's revision
	before := reads.Load()
	after(4)
	require.Equal(t, before, reads.Load())
}

// Drift that is reported is within what access rules allow, also when those
// become tighter and the spec is as allowed as it was.
func TestReportedDriftIsNarrowedWithTheRules(t *testing.T) {
	w := start(t)
	app := w.ready(w.app(func(a *v1alpha1.ConnectedApp) {
		a.Spec.DriftPolicy = v1alpha1.DriftReport
		a.Spec.Scopes = []v1alpha1.ScopeAssignment{{Scope: "view:environment"}}
	}))
	w.tamper(app, func(a *storage.App) {
		a.ContextScopes = append(a.ContextScopes, storage.ContextScope{Scope: "admin:exchange"})
	})
	w.condition(app, v1alpha1.ConditionDrifted, v1alpha1.ReasonDriftDetected)
	require.Len(t, w.registered(app).ContextScopes, 2)
	w.update(w.server, func() { w.server.Spec.Access[0].Scopes = []v1alpha1.AccessScope{{Scope: "view:*"}} })
	testenv.Eventually(t, func(c *require.Assertions) { c.Len(w.registered(app).ContextScopes, 1) })
	w.ready(app)
}

// deleteUnseen deletes the app so that its finalizer is gone before it is looked
// at, and with finalizers of others.
func (w *world) deleteUnseen(app *v1alpha1.ConnectedApp, others string) {
	w.Helper()
	remove := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":[`+others+`]}}`))
	testenv.Eventually(w, func(c *require.Assertions) {
		if apierrors.IsNotFound(w.read(app)) {
			return
		}
		c.NoError(client.IgnoreNotFound(plane.Client.Delete(w.Context(), app)))
		err := plane.Client.Patch(w.Context(), app, remove)
		c.NoError(client.IgnoreNotFound(err))
	})
}

func TestOrphanThatIsNotAllowedLeavesNoClientWithoutTheFinalizer(t *testing.T) {
	faults := &trouble{}
	w := start(t, tokenservertest.WithMiddleware(faults.middleware))
	app := w.ready(w.app())
	w.update(w.server, func() { w.server.Spec.Access[0].DeletionPolicies = []v1alpha1.DeletionPolicy{v1alpha1.DeletionDelete} })
	w.update(app, func() { app.Spec.DeletionPolicy = v1alpha1.DeletionOrphan })
	w.condition(app, v1alpha1.ConditionPolicyAccepted, v1alpha1.ReasonNotAllowed)
	faults.begin(say(http.StatusBadGateway, "text/plain", "away"))
	w.deleteUnseen(app, "")
	faults.end()
	testenv.Eventually(t, func(c *require.Assertions) { c.Empty(w.clients()) })
}

// An object that others keep from going is not looked after any more: its client
// must not outlive that.
func TestAFinalizerOfOthersKeepsNoClient(t *testing.T) {
	faults := &trouble{}
	w := start(t, tokenservertest.WithMiddleware(faults.middleware))
	app := w.ready(w.app(func(a *v1alpha1.ConnectedApp) { a.Finalizers = []string{"example.com/mine"} }))
	faults.begin(say(http.StatusBadGateway, "text/plain", "away"))
	w.deleteUnseen(app, `"example.com/mine"`)
	faults.end()
	testenv.Eventually(t, func(c *require.Assertions) { c.Empty(w.clients()) })
	require.NoError(t, w.read(app))
	require.False(t, status.IsTrue(app, v1alpha1.ConditionStalled))
	w.update(app, func() { app.Finalizers = nil })
}

// What was found to be allowed stays also when its server cannot be asked, keys
// and all.
func TestOrphanLeavesAClientWithKeysWhileItsServerIsAway(t *testing.T) {
	faults := &trouble{}
	w := start(t, tokenservertest.WithMiddleware(faults.middleware))
	key := newPublicKey(t)
	app := w.ready(w.app(func(a *v1alpha1.ConnectedApp) {
		a.Spec.DeletionPolicy = v1alpha1.DeletionOrphan
		a.Spec.GrantTypes = []v1alpha1.GrantType{oauth.GrantJWTBearer}
		a.Spec.PublicKeys = []v1alpha1.PublicKey{{PEM: key}}
	}))
	faults.begin(say(http.StatusBadGateway, "text/plain", "away"))
	require.NoError(t, plane.Client.Delete(t.Context(), app))
	testenv.Eventually(t, func(c *require.Assertions) { c.True(apierrors.IsNotFound(w.read(app))) })
	faults.end()
	require.NotEmpty(t, w.secret("app-credentials").Data)
	require.Len(t, w.clients(), 1)
}

// What a server does not let be taken away is told once, also while the app is
// suspended.
func TestAServerThatKeepsWhatIsForbiddenIsToldOnce(t *testing.T) {
	var patches, calls atomic.Int64
	w := start(t, tokenservertest.WithMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			calls.Add(1)
			if r.Method == http.MethodPatch {
				patches.Add(1)
				if body, err := io.ReadAll(r.Body); err == nil {
					body = bytes.ReplaceAll(body, []byte(`"redirect_uris"`), []byte(`"unknown"`))
					r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
				}
			}
			next.ServeHTTP(rw, r)
		})
	}))
	app := w.ready(w.app(func(a *v1alpha1.ConnectedApp) {
		a.Spec.GrantTypes = []v1alpha1.GrantType{"authorization_code"}
		a.Spec.RedirectURIs = []v1alpha1.RedirectURI{"https://app.example.com/callback"}
		a.Spec.Scopes = []v1alpha1.ScopeAssignment{{Scope: "profile"}}
		a.Spec.Suspend = new(false)
	}))
	w.update(app, func() { app.Spec.Suspend = new(true) })
	w.condition(app, v1alpha1.ConditionReady, v1alpha1.ReasonSuspended)
	w.update(w.server, func() { w.server.Spec.Access[0].RedirectHosts = []v1alpha1.RedirectHost{"other.example.com"} })
	w.condition(app, v1alpha1.ConditionPolicyAccepted, v1alpha1.ReasonNotAllowed)
	testenv.Eventually(t, func(c *require.Assertions) { c.Positive(patches.Load()) })
	first := patches.Load()
	before := calls.Load()
	testenv.Eventually(t, func(c *require.Assertions) { c.Greater(calls.Load(), before+4) })
	require.Equal(t, first, patches.Load())
	said := ""
	testenv.Eventually(t, func(c *require.Assertions) {
		said = strings.Join(w.events(), "\n")
		c.Equal(1, strings.Count(said, "FieldNotKept"), said)
	})
	require.NotContains(t, said, "Narrowed")
}
