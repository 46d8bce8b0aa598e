// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// seen is what tools are to see of one object: by the rules of kstatus, and
// whether "kubectl wait --for=condition=Ready" ends well.
type seen struct {
	status kstatus.Status
	ready  bool
}

var (
	current     = seen{kstatus.CurrentStatus, true}
	inProgress  = seen{kstatus.InProgressStatus, false}
	failed      = seen{kstatus.FailedStatus, false}
	terminating = seen{kstatus.TerminatingStatus, false}
	// nobodyKnows whether it will be ready: nobody is to wait for it.
	nobodyKnows = seen{kstatus.CurrentStatus, false}
)

// step is one of a life.
type step struct {
	name string
	do   func(*life)
	// server, app and token are to be seen so in the end; none of those that are not
	// to be Current in the end, and were written by kubectl, are Current in between.
	server, app, token seen
	// waits are what else kubectl waits for, and finds.
	waits []wait
	// suspended is what Argo CD calls the app and the token.
	suspended bool
	// fixtures are the files of testdata that have what is now seen, each named after
	// its kind.
	fixtures []string
}

// wait is "kubectl wait --for=CONDITION OBJECT".
type wait struct{ condition, object string }

var steps = []step{
	{
		name: "created, and no manager runs", do: (*life).apply,
		fixtures: []string{"tokenserver_created", "connectedapp_created", "accesstoken_created"},
		server:   inProgress, app: inProgress, token: inProgress,
	}, {
		name: "suspended before they ever were ready",
		do: func(l *life) {
			l.suspend(new(true))
			l.start()
		},
		fixtures: []string{"connectedapp_suspended_before", "accesstoken_suspended_before"},
		server:   current, app: nobodyKnows, token: nobodyKnows,
		suspended: true,
	}, {
		name: "the app is being registered",
		do: func(l *life) {
			l.gate.hold(func(r *http.Request) bool {
				return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/connectedApplications")
			})
			l.suspend(nil)
		},
		server: current, app: inProgress, token: inProgress,
	}, {
		name: "ready", do: func(l *life) { l.gate.release() },
		fixtures: []string{"tokenserver_ready", "connectedapp_ready", "accesstoken_ready"},
		server:   current, app: current, token: current,
		waits: []wait{
			{"create", "secret/app-credentials"},
			{"create", "secret/token-token"},
			{"jsonpath={.status.clientID}", "capp/app"},
			{"jsonpath={.status.binding.name}=app-credentials", "capp/app"},
			{"condition=Registered", "capp/app"},
			{"condition=TokenFresh", "accesstoken/token"},
		},
	}, {
		name: "edited, and no manager runs",
		do: func(l *life) {
			l.stop()
			l.server.Spec.RequestsPerSecond = new(int32(500))
			l.app.Spec.ClientName = "edited"
			l.token.Spec.Scopes = []string{"view:environment"}
			l.apply()
		},
		fixtures: []string{"connectedapp_edited"},
		server:   inProgress, app: inProgress, token: inProgress,
	}, {
		name: "the edit is done", do: (*life).start,
		server: current, app: current, token: current,
	}, {
		name: "refused by an access rule",
		do: func(l *life) {
			l.server.Spec.Access[0].Scopes = []v1alpha1.AccessScope{{Scope: "profile"}}
			l.apply()
		},
		fixtures: []string{"connectedapp_not_allowed", "accesstoken_app_not_allowed"},
		server:   current, app: failed, token: failed,
		waits: []wait{{"condition=Stalled", "capp/app"}, {"condition=PolicyAccepted=false", "capp/app"}, {"condition=Stalled", "accesstoken/token"}},
	}, {
		name: "allowed again",
		do: func(l *life) {
			l.server.Spec.Access[0].Scopes = []v1alpha1.AccessScope{{Scope: "*"}}
			l.apply()
		},
		server: current, app: current, token: current,
	}, {
		name: "waits for a Secret",
		do: func(l *life) {
			l.app.Spec.Credentials = &v1alpha1.Credentials{
				Type: v1alpha1.CredentialsExistingSecret, Secret: &v1alpha1.CredentialsSecretSpec{Name: "vault"},
			}
			l.apply()
		},
		fixtures: []string{"connectedapp_waiting"},
		server:   current, app: inProgress, token: current,
		waits: []wait{{"condition=SecretPublished=false", "capp/app"}},
	}, {
		name: "the Secret comes",
		do: func(l *life) {
			plane.Create(l, &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{
					Namespace: l.namespace, Name: "vault", Labels: map[string]string{v1alpha1.LabelSecret: v1alpha1.SecretReferenced},
				},
				StringData: map[string]string{"client-secret": "a secret of more than thirty-two characters"},
			})
		},
		server: current, app: current, token: current,
	}, {
		name: "the token server is away", do: func(l *life) { l.gate.leave(true) },
		fixtures: []string{"tokenserver_unavailable"},
		server:   inProgress, app: current, token: current,
	}, {
		name:   "edited, and the token server is away",
		do:     func(l *life) { l.app.Spec.ClientName = "edited again"; l.apply() },
		server: inProgress, app: inProgress, token: current,
		waits: []wait{{"condition=Ready=false", "capp/app"}},
	}, {
		name: "the token server is back", do: func(l *life) { l.gate.leave(false) },
		server: current, app: current, token: current,
	}, {
		name: "suspended", do: func(l *life) { l.suspend(new(true)) },
		fixtures: []string{"connectedapp_suspended", "accesstoken_suspended"},
		server:   current, app: current, token: current,
		waits:     []wait{{`jsonpath={.status.conditions[?(@.type=="Ready")].reason}=Suspended`, "capp/app"}},
		suspended: true,
	}, {
		name: "drift is reported",
		do: func(l *life) {
			l.app.Spec.DriftPolicy = v1alpha1.DriftReport
			l.suspend(nil)
			l.reach(current, current, current)
			l.renameClient("changed by hand")
			l.waits("condition=Drifted", "capp/app")
		},
		server: current, app: current, token: current,
		waits: []wait{{"condition=Drifted", "capp/app"}},
	}, {
		name: "drift is repaired",
		do: func(l *life) {
			l.app.Spec.DriftPolicy = ""
			l.apply()
		},
		server: current, app: current, token: current,
		waits: []wait{{"condition=Drifted=false", "capp/app"}},
	}, {
		name:     "the token is refused",
		do:       func(l *life) { l.token.Spec.Scopes = []string{"nobody:has-this"}; l.apply() },
		fixtures: []string{"accesstoken_refused"},
		server:   current, app: current, token: failed,
	}, {
		name:   "the token is asked for as it may be",
		do:     func(l *life) { l.token.Spec.Scopes = nil; l.apply() },
		server: current, app: current, token: current,
	}, {
		name: "deleted, and the token server does not answer",
		do: func(l *life) {
			l.gate.hold(func(r *http.Request) bool { return r.Method == http.MethodDelete || r.URL.Path == oauth.PathRevoke })
			l.kubectl.Run(l, manifests(l, l.server, l.app), "delete", "-f", "-", "--wait=false")
			// What the token's status says last depends on which is deleted first.
			testenv.Eventually(l, func(c *require.Assertions) {
				ready := testenv.Condition(*l.live(l.token).GetConditions(), v1alpha1.ConditionReady)
				c.Equal(v1alpha1.ReasonAppDeleting, ready.Reason)
			})
			l.kubectl.Run(l, manifests(l, l.token), "delete", "-f", "-", "--wait=false")
			l.gone = true
		},
		fixtures: []string{"tokenserver_deleting", "connectedapp_deleting", "accesstoken_deleting"},
		server:   terminating, app: terminating, token: terminating,
	},
}

// life is that of a TokenServer, an app on it and a token of that, which kubectl
// applies from a repository.
type life struct {
	*testing.T
	whole     *testing.T // T is that of the step
	kubectl   *testenv.Kubectl
	flags     []string // of kubectl apply
	instance  *tokenservertest.Instance
	gate      *gate
	namespace string
	server    *v1alpha1.TokenServer
	app       *v1alpha1.ConnectedApp
	token     *v1alpha1.AccessToken
	stop      func() // the manager
	gone      bool
	// history is what a watcher sees.
	history history
}

// TestEveryStepOfALifeIsSeenAsItIs goes through a life twice: with manifests that
// kubectl merges, and with those that the API server does.
func TestEveryStepOfALifeIsSeenAsItIs(t *testing.T) {
	t.Run("client-side apply", func(t *testing.T) { newLife(t).goThroughAll() })
	t.Run("server-side apply", func(t *testing.T) { newLife(t, "--server-side").goThroughAll() })
}

func newLife(t *testing.T, flags ...string) *life {
	l := &life{T: t, whole: t, kubectl: plane.Kubectl(t), flags: flags, gate: &gate{}, namespace: plane.Namespace(t, nil)}
	l.instance = tokenservertest.Start(t, tokenservertest.WithMiddleware(l.gate.middleware))
	t.Cleanup(l.gate.release)
	name := l.namespace
	plane.Create(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: testenv.SystemNamespace, Name: name},
		StringData: map[string]string{"client-id": l.instance.AdminClientID, "client-secret": l.instance.AdminClientSecret},
	})
	l.server = &v1alpha1.TokenServer{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.TokenServerSpec{
			URL:         l.instance.URL,
			Credentials: v1alpha1.TokenServerCredentials{Type: v1alpha1.TokenServerCredentialsSecret, SecretRef: &v1alpha1.SecretReference{Name: name}},
			Access:      []v1alpha1.AccessRule{testenv.AllowAll("all")},
		},
	}
	l.app = testenv.App(l.namespace, name)
	l.token = &v1alpha1.AccessToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "token"},
		Spec:       v1alpha1.AccessTokenSpec{ConnectedAppRef: v1alpha1.ConnectedAppReference{Name: l.app.Name}},
	}
	return l
}

func (l *life) goThroughAll() {
	l.history.follow(l.whole, l.namespace, l.server.Name)
	for _, s := range steps {
		l.Run(s.name, func(t *testing.T) {
			l.T = t
			l.goThrough(s)
		})
		l.T = l.whole
		if l.Failed() {
			return
		}
	}
	l.gate.release()
	for _, o := range l.objects() {
		l.kubectl.Run(l, "", "wait", "--for=delete", "--timeout=60s", "-n", l.namespace, reference(o))
	}
}

func (l *life) goThrough(s step) {
	before := l.generations()
	s.do(l)
	l.reach(s.server, s.app, s.token)
	l.isShown(s)
	l.record(s)
	var ready []string
	for i, o := range l.objects() {
		want := []seen{s.server, s.app, s.token}[i]
		if want.ready {
			ready = append(ready, reference(o))
		} else {
			l.requireNot("condition=Ready", "0", o)
		}
		if generation := l.generation(o); generation > before[i] && want.status != kstatus.CurrentStatus {
			require.Less(l, l.history.current(o), generation, "%s was seen as Current", reference(o))
		}
	}
	if len(ready) > 0 {
		l.waits("condition=Ready", ready...)
	}
	for _, w := range s.waits {
		l.waits(w.condition, w.object)
	}
	if l.gone {
		l.requireNot("delete", "1s", l.app)
		return
	}
	requireUnchanged(l, l.kubectl, l.manifests(), l.flags, l.server, l.app, l.token)
}

// requireNot has kubectl wait in vain.
func (l *life) requireNot(condition, timeout string, o client.Object) {
	l.Helper()
	_, stderr, err := l.kubectl.Try(l, "", "wait", "--for="+condition, "--timeout="+timeout, "-n", l.namespace, reference(o))
	require.Error(l, err, "kubectl wait --for=%s %s", condition, reference(o))
	require.Regexp(l, "condition not met|timed out waiting for the condition", stderr)
}

// waits has kubectl wait for what is there already.
func (l *life) waits(condition string, objects ...string) {
	l.Helper()
	l.kubectl.Run(l, "", append([]string{"wait", "--for=" + condition, "--timeout=30s", "-n", l.namespace}, objects...)...)
}

// reach waits until the objects are seen so.
func (l *life) reach(want ...seen) {
	l.Helper()
	testenv.Eventually(l, func(c *require.Assertions) {
		for i, o := range l.objects() {
			live, _ := o.DeepCopyObject().(client.Object)
			c.NoError(plane.Client.Get(l.Context(), client.ObjectKeyFromObject(o), live))
			c.Equal(want[i].status, testenv.KStatus(l, live), "%s: %+v", reference(o), live)
		}
	})
}

// isShown compares what Argo CD and Flux show.
func (l *life) isShown(s step) {
	for i, o := range l.objects() {
		want := shows[[]seen{s.server, s.app, s.token}[i].status]
		if s.suspended && o != status.Object(l.server) {
			want = isSuspended
		}
		live := l.live(o)
		require.Equal(l, want, tools(l, live), "%s: %+v", reference(o), live)
	}
}

// shows is what tools show of what kstatus calls so.
var shows = map[kstatus.Status]shown{
	kstatus.CurrentStatus: isCurrent, kstatus.InProgressStatus: isInProgress, kstatus.FailedStatus: isFailed, kstatus.TerminatingStatus: isTerminating,
}

// live is the object as it is now.
func (l *life) live(o status.Object) status.Object {
	l.Helper()
	live, _ := o.DeepCopyObject().(status.Object)
	require.NoError(l, plane.Client.Get(l.Context(), client.ObjectKeyFromObject(o), live))
	return live
}

func (l *life) objects() []status.Object { return []status.Object{l.server, l.app, l.token} }

func (l *life) manifests() string { return manifests(l, l.server, l.app, l.token) }

func (l *life) apply() {
	l.Helper()
	l.kubectl.Run(l, l.manifests(), append([]string{"apply", "-f", "-"}, l.flags...)...)
}

func (l *life) suspend(suspend *bool) {
	l.Helper()
	l.app.Spec.Suspend, l.token.Spec.Suspend = suspend, suspend
	l.apply()
}

func (l *life) start() {
	l.stop = plane.StartManager(l.whole, testenv.WithOptions(func(o *controller.Options) { o.ResyncInterval = time.Second }))
}

func (l *life) generations() []int64 {
	var list []int64
	for _, o := range l.objects() {
		list = append(list, l.generation(o))
	}
	return list
}

// generation is 0 for an object that is not there.
func (l *life) generation(o client.Object) int64 {
	live, _ := o.DeepCopyObject().(client.Object)
	live.SetGeneration(0)
	require.NoError(l, client.IgnoreNotFound(plane.Client.Get(l.Context(), client.ObjectKeyFromObject(o), live)))
	return live.GetGeneration()
}

// renameClient is what somebody does on the token server.
func (l *life) renameClient(name string) {
	live := &v1alpha1.ConnectedApp{}
	require.NoError(l, plane.Client.Get(l.Context(), client.ObjectKeyFromObject(l.app), live))
	_, err := l.instance.Store.UpdateApp(l.Context(), live.Status.ClientID, time.Now(), func(a *storage.App) error { a.Name = name; return nil })
	require.NoError(l, err)
}

// reference names an object as kubectl does.
func reference(o client.Object) string {
	switch o.(type) {
	case *v1alpha1.TokenServer:
		return "tokenserver/" + o.GetName()
	case *v1alpha1.ConnectedApp:
		return "capp/" + o.GetName()
	}
	return "accesstoken/" + o.GetName()
}
