// SPDX-License-Identifier: Apache-2.0

package connectedapp_test

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// What access rules take away leaves the server, whatever state an app is in.
func TestAccessIsNarrowedInEveryState(t *testing.T) {
	twoScopes := func(a *v1alpha1.ConnectedApp) {
		a.Spec.Scopes = []v1alpha1.ScopeAssignment{{Scope: "view:environment"}, {Scope: "admin:exchange"}}
	}
	for name, enter := range map[string]func(w *world, app *v1alpha1.ConnectedApp){
		"as it should be": func(*world, *v1alpha1.ConnectedApp) {},
		"suspended": func(w *world, app *v1alpha1.ConnectedApp) {
			w.update(app, func() { app.Spec.Suspend = new(true) })
			w.condition(app, v1alpha1.ConditionReady, v1alpha1.ReasonSuspended)
		},
		"suspended before an edit": func(w *world, app *v1alpha1.ConnectedApp) {
			w.update(app, func() { app.Spec.Suspend, app.Spec.ClientName = new(true), "later" })
		},
		"drift is reported": func(w *world, app *v1alpha1.ConnectedApp) {
			w.update(app, func() { app.Spec.DriftPolicy = v1alpha1.DriftReport })
			w.ready(app)
			w.tamper(app, func(a *storage.App) { a.Name = "Mallory" })
			w.condition(app, v1alpha1.ConditionDrifted, v1alpha1.ReasonDriftDetected)
		},
		"to be left behind": func(w *world, app *v1alpha1.ConnectedApp) {
			w.update(app, func() { app.Spec.DeletionPolicy = v1alpha1.DeletionOrphan })
		},
		"its Secret's name is taken": func(w *world, app *v1alpha1.ConnectedApp) {
			plane.Create(w, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "taken"}})
			w.update(app, func() { withSecret(v1alpha1.CredentialsSecretSpec{Name: "taken"})(app) })
			w.condition(app, v1alpha1.ConditionReady, v1alpha1.ReasonSecretNameTaken)
		},
		"its key cannot be read": func(w *world, app *v1alpha1.ConnectedApp) {
			w.update(app, func() {
				app.Spec.GrantTypes = []v1alpha1.GrantType{oauth.GrantJWTBearer}
				app.Spec.PublicKeys = []v1alpha1.PublicKey{{ConfigMapRef: &v1alpha1.ConfigMapKeyReference{Name: "none", Key: "none"}}}
			})
			w.condition(app, v1alpha1.ConditionReady, v1alpha1.ReasonConfigMapNotFound)
		},
		"its finalizer is taken": func(w *world, app *v1alpha1.ConnectedApp) {
			w.update(app, func() { app.Finalizers = nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t)
			app := w.ready(w.app(twoScopes))
			enter(w, app)
			w.update(w.server, func() { w.server.Spec.Access[0].Scopes = []v1alpha1.AccessScope{{Scope: "view:*"}} })
			testenv.Eventually(t, func(c *require.Assertions) {
				c.Len(w.registered(app).ContextScopes, 1)
				c.NoError(w.read(app))
				c.Equal(v1alpha1.ReasonNotAllowed, testenv.Condition(app.Status.Conditions, v1alpha1.ConditionPolicyAccepted).Reason)
				c.False(status.IsReady(app))
				c.Contains(app.Finalizers, v1alpha1.Finalizer)
			})
			w.update(w.server, func() { w.server.Spec.Access = nil })
			testenv.Eventually(t, func(c *require.Assertions) { c.False(w.registered(app).Enabled) })

			require.NoError(t, plane.Client.Delete(t.Context(), app))
			testenv.Eventually(t, func(c *require.Assertions) {
				c.True(apierrors.IsNotFound(w.read(app)))
				c.Empty(w.clients(), "no rule lets it stay")
			})
		})
	}
}

func TestARuleMayForbidToLeaveAClientBehind(t *testing.T) {
	w := start(t)
	app := w.ready(w.app(func(a *v1alpha1.ConnectedApp) { a.Spec.DeletionPolicy = v1alpha1.DeletionOrphan }))
	w.update(w.server, func() { w.server.Spec.Access[0].DeletionPolicies = []v1alpha1.DeletionPolicy{v1alpha1.DeletionDelete} })
	w.condition(app, v1alpha1.ConditionReady, v1alpha1.ReasonNotAllowed)
	require.Contains(t, testenv.Condition(app.Status.Conditions, v1alpha1.ConditionPolicyAccepted).Message, "does not allow deletionPolicy Orphan")
	require.NoError(t, plane.Client.Delete(t.Context(), app))
	testenv.Eventually(t, func(c *require.Assertions) {
		c.True(apierrors.IsNotFound(w.read(app)))
		c.Empty(w.clients())
	})
}

// Whoever takes the finalizer away and deletes the object leaves nothing.
func TestAnAppThatGoesWithoutItsFinalizerLeavesNoClient(t *testing.T) {
	w := start(t)
	app := w.ready(w.app())
	w.update(app, func() { app.Finalizers = nil })
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(w.read(app))
		c.Contains(app.Finalizers, v1alpha1.Finalizer, "it comes back")
	})
	require.NoError(t, plane.Client.Delete(t.Context(), app))
	testenv.Eventually(t, func(c *require.Assertions) {
		if w.read(app) == nil {
			app.Finalizers = nil
			c.NoError(client.IgnoreNotFound(plane.Client.Update(w.Context(), app)))
		}
		c.Empty(w.clients())
	})
}

func TestReportLeavesDriftForGood(t *testing.T) {
	w := start(t)
	app := w.ready(w.app(func(a *v1alpha1.ConnectedApp) { a.Spec.DriftPolicy = v1alpha1.DriftReport }))
	w.tamper(app, func(a *storage.App) { a.Name = "Mallory" })
	w.condition(app, v1alpha1.ConditionDrifted, v1alpha1.ReasonDriftDetected)
	// Another change, and an edit, make further comparisons certain.
	w.tamper(app, func(a *storage.App) { a.ClientURI = "https://mallory.example" })
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(w.read(app))
		c.Contains(testenv.Condition(app.Status.Conditions, v1alpha1.ConditionDrifted).Message, "clientURI: https://mallory.example, should be none")
	})
	w.update(app, func() { app.Spec.Audience = "everyone" })
	w.ready(app)
	require.Equal(t, "Mallory", w.registered(app).Name)
	require.Equal(t, "everyone", w.registered(app).Audience)
	require.Equal(t, "https://mallory.example", w.registered(app).ClientURI)
	require.True(t, status.IsTrue(app, v1alpha1.ConditionDrifted))
}

// counter counts the calls that change something, and lets some of them fail.
type counter struct {
	writes atomic.Int64
	answer atomic.Pointer[http.HandlerFunc]
}

func (n *counter) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.URL.Path != oauth.PathToken {
			n.writes.Add(1)
			if answer := n.answer.Load(); answer != nil {
				(*answer)(w, r)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

func TestAnExistingSecretIsSentOnce(t *testing.T) {
	calls, faults := &counter{}, &trouble{}
	w := start(t, tokenservertest.WithMiddleware(func(next http.Handler) http.Handler { return calls.middleware(faults.middleware(next)) }))
	plane.Create(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "vault", Labels: map[string]string{v1alpha1.LabelSecret: v1alpha1.SecretReferenced}},
		StringData: map[string]string{"client-secret": "chosen-by-somebody-else-1"},
	})
	app := w.ready(w.app(existing("vault")))
	require.Equal(t, int64(2), calls.writes.Load(), "a registration and its secret")
	before := faults.calls.Load()
	testenv.Eventually(t, func(c *require.Assertions) { c.Greater(faults.calls.Load(), before+8) })
	require.Equal(t, int64(2), calls.writes.Load(), "several comparisons later")

	w.tamper(app, func(a *storage.App) { a.Secrets = nil })
	testenv.Eventually(t, func(c *require.Assertions) {
		code, _ := requestToken(t, w.instance.URL+oauth.PathToken, app.Status.ClientID, "chosen-by-somebody-else-1")
		c.Equal(http.StatusOK, code, "what was revoked on the server is given again")
	})
}

func TestAnotherClientsSecretIsNeverSent(t *testing.T) {
	calls := &counter{}
	w := start(t, tokenservertest.WithMiddleware(calls.middleware))
	plane.Create(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "vault", Labels: map[string]string{v1alpha1.LabelSecret: v1alpha1.SecretReferenced}},
		StringData: map[string]string{"client-secret": "chosen-by-somebody-else-1", "client-id": "theirs"},
	})
	app := w.condition(w.app(existing("vault")), v1alpha1.ConditionReady, v1alpha1.ReasonInvalidSecret)
	require.Equal(t, "secret vault names client theirs, but the app is not registered yet and gets an id of its own; leave the client id out of it",
		testenv.Condition(app.Status.Conditions, v1alpha1.ConditionReady).Message)
	require.Zero(t, calls.writes.Load())
}

func TestAFightAboutASecretIsToldAndBecomesRarer(t *testing.T) {
	w := start(t)
	app := w.ready(w.app())
	overwrite := func() {
		secret := w.secret("app-credentials")
		secret.Data["client-secret"] = []byte("a placeholder in Git")
		_ = plane.Client.Update(t.Context(), secret, client.FieldOwner("gitops"))
	}
	for range 2 {
		overwrite()
		testenv.Eventually(t, func(c *require.Assertions) {
			c.NotEqual("a placeholder in Git", string(w.secret("app-credentials").Data["client-secret"]))
		})
		w.ready(app)
	}
	overwrite()
	w.condition(app, v1alpha1.ConditionReady, v1alpha1.ReasonSecretContested)
	message := testenv.Condition(app.Status.Conditions, v1alpha1.ConditionSecretPublished).Message
	require.Contains(t, message, "field manager gitops overwrites secret app-credentials, which was written anew 2 times")
	require.Equal(t, "InProgress", string(testenv.KStatus(t, app)))
	testenv.Eventually(t, func(c *require.Assertions) {
		events := strings.Join(w.events(), "\n")
		c.Contains(events, "Warning SecretRestored: secret app-credentials was changed by field manager gitops and is written anew, with another client secret")
		c.Contains(events, "Warning SecretContested: field manager gitops overwrites secret app-credentials")
	})
	w.ready(app) // after its pause
	w.requireWorks(w.secret("app-credentials"))
	require.Equal(t, int32(3), app.Status.SecretRepairs.Count)
}

func TestAConflictIsNoNews(t *testing.T) {
	calls := &counter{}
	w := start(t, tokenservertest.WithMiddleware(calls.middleware))
	app := w.ready(w.app())
	conflicts := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		say(http.StatusConflict, "application/json", `{"status":409,"message":"changed at the same time"}`)(rw, r)
		calls.answer.Store(nil)
	})
	calls.answer.Store(&conflicts)
	w.update(app, func() { app.Spec.ClientName = "second" })
	w.ready(app)
	require.Equal(t, "second", w.registered(app).Name)
	require.NotContains(t, strings.Join(w.events(), "\n"), "Warning")
}

func TestAServerThatFailsAtOneAppIsNotBlamedForAll(t *testing.T) {
	calls := &counter{}
	w := start(t, tokenservertest.WithMiddleware(calls.middleware))
	app := w.ready(w.app())
	for status, reason := range map[int]string{500: "ServerError, status 500", 401: "Unauthorized, status 401"} {
		fails := say(status, "application/json", `{"message":"no"}`)
		calls.answer.Store(&fails)
		w.update(app, func() { app.Spec.ClientName += "x" })
		testenv.Eventually(t, func(c *require.Assertions) {
			c.NoError(w.read(app))
			ready := testenv.Condition(app.Status.Conditions, v1alpha1.ConditionReady)
			c.Equal(v1alpha1.ReasonRequestFailed, ready.Reason, ready.Message)
			c.Equal("updating the app failed at the token server ("+reason+"), which serves other requests; it is tried again, the server's log says more", ready.Message)
		})
		calls.answer.Store(nil)
		w.ready(app)
	}
}

func TestAQuotaIsNamed(t *testing.T) {
	w := start(t)
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "few"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/secrets": resource.MustParse("0")}},
	}
	plane.Create(t, quota)
	// There is no controller here that would count.
	quota.Status.Hard, quota.Status.Used = quota.Spec.Hard, corev1.ResourceList{"count/secrets": resource.MustParse("0")}
	require.NoError(t, plane.Client.Status().Update(t.Context(), quota))
	app := w.app()
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(w.read(app))
		published := testenv.Condition(app.Status.Conditions, v1alpha1.ConditionSecretPublished)
		c.Equal(v1alpha1.ReasonWriteFailed, published.Reason)
		c.Contains(published.Message, "the API server refuses secret app-credentials: ")
		c.Contains(published.Message, "quota")
	})
	require.Equal(t, "Failed", string(testenv.KStatus(t, app)))
}

func TestTwoAppsCanSwapTheirSecrets(t *testing.T) {
	w := start(t)
	named := func(app, secret string) *v1alpha1.ConnectedApp {
		return w.ready(w.app(withSecret(v1alpha1.CredentialsSecretSpec{Name: secret}), func(a *v1alpha1.ConnectedApp) { a.Name = app }))
	}
	one, two := named("one", "a"), named("two", "b")
	w.update(one, func() { one.Spec.Credentials.Secret.Name = "b" })
	w.condition(one, v1alpha1.ConditionReady, v1alpha1.ReasonSecretNameTaken)
	require.Contains(t, testenv.Condition(one.Status.Conditions, v1alpha1.ConditionReady).Message, "secret b exists and was made for ConnectedApp two")
	w.update(two, func() { two.Spec.Credentials.Secret.Name = "a" })
	w.ready(one)
	w.ready(two)
	require.Equal(t, one.Status.ClientID, string(w.secret("b").Data["client-id"]))
	require.Equal(t, two.Status.ClientID, string(w.secret("a").Data["client-id"]))
	w.requireWorks(w.secret("a"))
	w.requireWorks(w.secret("b"))
}

func TestARenamedSecretKeepsItsClientSecret(t *testing.T) {
	w := start(t)
	app := w.ready(w.app())
	before := w.secret("app-credentials").Data["client-secret"]
	w.update(app, func() { withSecret(v1alpha1.CredentialsSecretSpec{Name: "renamed"})(app) })
	w.ready(app)
	require.Equal(t, before, w.secret("renamed").Data["client-secret"])
	require.Len(t, w.registered(app).Secrets, 1)
	err := plane.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "app-credentials"}, &corev1.Secret{})
	require.True(t, apierrors.IsNotFound(err))
}

func TestWhatOthersPutIntoASecretOutlivesItsType(t *testing.T) {
	w := start(t)
	app := w.ready(w.app())
	secret := w.secret("app-credentials")
	secret.Data["theirs"], secret.Annotations["theirs"] = []byte("kept"), "kept"
	require.NoError(t, plane.Client.Update(t.Context(), secret, client.FieldOwner("somebody")))
	for _, preset := range []v1alpha1.KeyPreset{"servicebinding", "kebab"} {
		w.update(app, func() { withSecret(v1alpha1.CredentialsSecretSpec{Preset: preset})(app) })
		testenv.Eventually(t, func(c *require.Assertions) {
			secret := &corev1.Secret{}
			c.NoError(plane.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "app-credentials"}, secret))
			c.Equal(preset == "servicebinding", secret.Type == "servicebinding.io/oauth2")
			c.Equal("kept", string(secret.Data["theirs"]))
			c.Equal("kept", secret.Annotations["theirs"])
			c.NotEmpty(secret.Data["client-secret"])
		})
	}
	w.ready(app)
	w.requireWorks(w.secret("app-credentials"))
}

func TestADisabledAppSaysSo(t *testing.T) {
	w := start(t)
	app := w.ready(w.app(func(a *v1alpha1.ConnectedApp) { a.Spec.Enabled = new(false) }))
	ready := testenv.Condition(app.Status.Conditions, v1alpha1.ConditionReady)
	require.Equal(t, v1alpha1.ReasonDisabled, ready.Reason)
	require.Contains(t, ready.Message, "which is disabled and gets no tokens")
}

func TestASlipInAScopeIsTold(t *testing.T) {
	w := start(t)
	app := w.ready(w.app(func(a *v1alpha1.ConnectedApp) { a.Spec.Scopes = []v1alpha1.ScopeAssignment{{Scope: "view:enviroment"}} }))
	require.Contains(t, testenv.Condition(app.Status.Conditions, v1alpha1.ConditionReady).Message,
		"scope view:enviroment is not in the token server's catalogue, which has view:environment: if that is meant, correct spec.scopes")
}

func TestNothingNewIsRegisteredOnATokenServerThatIsGoing(t *testing.T) {
	w := start(t)
	app := w.ready(w.app())
	require.NoError(t, plane.Client.Delete(t.Context(), w.server))
	late := w.condition(w.app(func(a *v1alpha1.ConnectedApp) { a.Name = "late" }), v1alpha1.ConditionReady, v1alpha1.ReasonTokenServerDeleting)
	require.Contains(t, testenv.Condition(late.Status.Conditions, v1alpha1.ConditionReady).Message, "TokenServer "+w.server.Name+" is being deleted")
	w.update(app, func() { app.Spec.ClientName = "edited" })
	w.ready(app)
	require.Len(t, w.clients(), 1)
	require.NoError(t, plane.Client.Delete(t.Context(), late))
	require.NoError(t, plane.Client.Delete(t.Context(), app))
	testenv.Eventually(t, func(c *require.Assertions) {
		c.True(apierrors.IsNotFound(w.read(app)))
		c.Empty(w.clients())
	})
}

// The label of a Secret is what the cache goes by; without it the Secret is ours
// all the same.
func TestAStrippedLabelComesBack(t *testing.T) {
	w := start(t)
	app := w.ready(w.app())
	secret := w.secret("app-credentials")
	value := string(secret.Data["client-secret"])
	secret.Labels = nil
	require.NoError(t, plane.Client.Update(t.Context(), secret))
	testenv.Eventually(t, func(c *require.Assertions) {
		c.Equal(v1alpha1.SecretManaged, w.secret("app-credentials").Labels[v1alpha1.LabelSecret])
	})
	require.Equal(t, value, string(w.secret("app-credentials").Data["client-secret"]))
	w.ready(app)
	require.WithinDuration(t, time.Now(), app.CreationTimestamp.Time, time.Hour)
}

// What an app costs its token server: one call to register it, one for scopes
// with a context, and one to delete it once it was found.
func TestTheCallsOfALife(t *testing.T) {
	var mu sync.Mutex
	var calls []string
	taken := func() []string {
		mu.Lock()
		defer mu.Unlock()
		list := calls
		calls = nil
		return list
	}
	w := start(t, tokenservertest.WithMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			isProbe := r.URL.Query().Get("limit") == "1"
			if strings.Contains(r.URL.Path, "/connectedApplications") && !isProbe && r.URL.Query().Get("offset") == "" {
				mu.Lock()
				calls = append(calls, r.Method+" "+r.URL.Path[strings.LastIndex(r.URL.Path, "/"):])
				mu.Unlock()
			}
			next.ServeHTTP(rw, r)
		})
	}))
	taken()
	app := w.ready(w.app(func(a *v1alpha1.ConnectedApp) {
		a.Spec.Scopes = []v1alpha1.ScopeAssignment{{Scope: "view:environment", OrganizationID: w.instance.OrgID}}
	}))
	require.Equal(t, []string{"POST /connectedApplications", "PUT /scopes"}, taken())
	require.NoError(t, plane.Client.Delete(t.Context(), app))
	testenv.Eventually(t, func(c *require.Assertions) { c.True(apierrors.IsNotFound(w.read(app))) })
	deletions := slices.DeleteFunc(taken(), func(call string) bool { return strings.HasPrefix(call, "GET ") })
	require.Equal(t, []string{"DELETE /" + app.Status.ClientID}, deletions)
}
