// SPDX-License-Identifier: Apache-2.0

package connectedapp_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/connectedapp"
	"connectedapps.dev/operator/internal/controller/ownership"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/registrar"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/testenv/platform"
	"connectedapps.dev/operator/internal/tokenserver"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// clock is the time of a manager and its token server.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// rotating is a world whose time passes when the test says so, with one app and
// one process of the manager.
type rotating struct {
	*world
	*clock
	mortal *mortal
	events *events.FakeRecorder
	r      *connectedapp.Reconciler
	app    *v1alpha1.ConnectedApp
	// resync is the process's ResyncInterval.
	resync time.Duration
	// next is when the process looks again by itself.
	next time.Duration
}

const (
	testInterval = 24 * time.Hour
	testOverlap  = 12 * time.Hour
)

func withRotation(interval, overlap time.Duration) func(*v1alpha1.ConnectedApp) {
	return func(app *v1alpha1.ConnectedApp) {
		rotation := &v1alpha1.Rotation{}
		if interval > 0 {
			rotation.Interval = &metav1.Duration{Duration: interval}
		}
		if overlap > 0 {
			rotation.Overlap = &metav1.Duration{Duration: overlap}
		}
		app.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsSecret, Rotation: rotation}
	}
}

// newRotating starts one. It is not parallel, so that no other manager sees the
// app.
func newRotating(t *testing.T, change ...func(*v1alpha1.ConnectedApp)) *rotating {
	t.Helper()
	c, m := &clock{now: time.Now().Truncate(time.Second)}, &mortal{left: -1}
	w := &world{T: t, instance: tokenservertest.Start(t, tokenservertest.WithMiddleware(m.middleware),
		tokenservertest.WithConfig(func(o *tokenserver.Config) { o.Now = c.Now }))}
	w.server = plane.TokenServer(t, w.instance)
	w.server.Status.OrganizationID = w.instance.OrgID
	w.namespace = plane.Namespace(t, nil)
	rw := &rotating{world: w, clock: c, mortal: m, resync: 10 * time.Minute}
	rw.app = w.app(change...)
	rw.restart()
	rw.settle()
	return rw
}

// restart begins another process, which remembers nothing.
func (w *rotating) restart() {
	w.events = events.NewFakeRecorder(1000)
	w.r = process(w.T, w.mortal, w.world)
	w.r.Now, w.r.ResyncInterval, w.r.Events = w.Now, w.resync, w.events
}

// slow lets the manager look at its apps rarely, so that it wakes for what is due.
func (w *rotating) slow() {
	w.resync = 12 * time.Hour
	w.restart()
	w.settle()
}

// pass is one reconciliation.
func (w *rotating) pass() {
	w.Helper()
	result, err := w.r.Reconcile(w.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(w.app)})
	require.NoError(w, err)
	w.next = result.RequeueAfter
	require.NoError(w, w.read(w.app))
}

// settle passes until there is nothing left to do.
func (w *rotating) settle() {
	w.Helper()
	for range 10 {
		version := w.app.ResourceVersion
		w.pass()
		if w.app.ResourceVersion == version {
			return
		}
	}
	require.FailNow(w, "each pass writes the object")
}

// wait lets time pass, and the manager wake up whenever it said that it would.
func (w *rotating) wait(d time.Duration) {
	w.Helper()
	for end := w.Now().Add(d); w.Now().Before(end); {
		w.advance(min(w.next, end.Sub(w.Now())))
		require.NoError(w, w.instance.Server.FlushUses(w.Context()))
		w.pass()
	}
}

// request asks for a rotation.
func (w *rotating) request(value string) {
	w.Helper()
	w.update(w.app, func() { metav1.SetMetaDataAnnotation(&w.app.ObjectMeta, v1alpha1.AnnotationRotateRequestedAt, value) })
}

func (w *rotating) credentials() *corev1.Secret { return w.secret(w.app.Status.Binding.Name) }

// accepts tells whether the server accepts what a Secret held.
func (w *rotating) accepts(secret *corev1.Secret) bool {
	w.Helper()
	code, _ := requestToken(w, string(secret.Data["token-url"]), string(secret.Data["client-id"]), string(secret.Data["client-secret"]))
	return code == http.StatusOK
}

// accepted is the number of client secrets that the server accepts.
func (w *rotating) accepted() int {
	w.Helper()
	n := 0
	for _, s := range w.registered(w.app).Secrets {
		if s.Live(w.Now()) {
			n++
		}
	}
	return n
}

func (w *rotating) rotatingCondition() metav1.Condition {
	return testenv.Condition(w.app.Status.Conditions, v1alpha1.ConditionRotating)
}

// told are the Events of a reason so far.
func (w *rotating) told(reason string) []string {
	var list []string
	for {
		select {
		case text := <-w.events.Events:
			if strings.Contains(text, " "+reason+" ") {
				list = append(list, text)
			}
		default:
			return list
		}
	}
}

// pod makes a Pod that takes the app's Secret when it starts.
func (w *rotating) pod(name string, spec corev1.PodSpec) *corev1.Pod {
	w.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "default"}}
	require.NoError(w, client.IgnoreAlreadyExists(plane.Client.Create(w.Context(), account)))
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, Spec: spec}
	plane.Create(w, pod)
	return pod
}

func byEnv(secret string) corev1.PodSpec {
	return corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app", EnvFrom: []corev1.EnvFromSource{
		{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: secret}}},
	}}}}
}

func (w *rotating) deletePod(pod *corev1.Pod) {
	w.Helper()
	require.NoError(w, plane.Client.Delete(w.Context(), pod, client.GracePeriodSeconds(0)))
}

// A client that reads its Secret each time is never refused, and one that reads it
// at its start alone is not until it ends, within the overlap.
func TestNobodyIsRefusedAcrossFiftyRotations(t *testing.T) {
	w := newRotating(t, withRotation(testInterval, testOverlap))
	w.slow()
	live := func() { require.True(t, w.accepts(w.credentials()), "a client that reads its Secret again") }
	values := map[string]bool{}
	for n := range 50 {
		before := w.credentials()
		values[string(before.Data["client-secret"])] = true
		pod := w.pod(fmt.Sprint("reads-once-", n), byEnv("app-credentials"))
		for w.credentials().Annotations[v1alpha1.AnnotationSecretID] == before.Annotations[v1alpha1.AnnotationSecretID] {
			w.wait(3 * time.Hour)
			live()
		}
		for _, d := range []time.Duration{time.Second, time.Hour, 7 * time.Hour} {
			w.wait(d)
			live()
			require.True(t, n%2 == 0 || w.accepts(before), "a Pod that took the Secret at its start, %d rotations, after %s", n, d)
			require.LessOrEqual(t, w.accepted(), 2)
		}
		require.True(t, w.accepts(before), "the Pod is there")
		w.deletePod(pod)
		w.wait(testOverlap - 7*time.Hour)
		require.False(t, w.accepts(before), "nothing outlives its overlap")
		require.Equal(t, 1, w.accepted())
	}
	require.Len(t, values, 50)
	require.Empty(t, w.rotatingCondition().Type)
	require.Len(t, w.told("Rotated"), 50)
}

func TestAReplacedSecretTellsItsStory(t *testing.T) {
	w := newRotating(t, withRotation(0, testOverlap))
	before := w.credentials()
	old := w.app.Status.Secrets[0]
	require.True(t, w.accepts(before))
	w.advance(time.Hour)
	w.request("now")
	w.pass()
	require.True(t, status.IsReady(w.app))
	require.Equal(t, "now", w.app.Status.LastHandledRotateAt)
	require.Len(t, w.app.Status.Secrets, 2)
	at := metav1.NewTime(w.Now().Truncate(time.Second))
	former, current := w.app.Status.Secrets[0], w.app.Status.Secrets[1]
	require.Equal(t, old.ID, former.ID)
	require.True(t, former.ReplacedAt.Equal(&at) && current.CreatedAt.Equal(&at), "%+v", w.app.Status.Secrets)
	require.WithinDuration(t, w.Now().Add(testOverlap), former.ExpiresAt.Time, time.Second)
	require.Nil(t, current.ExpiresAt)
	require.NotEqual(t, before.Data["client-secret"], w.credentials().Data["client-secret"])

	until := w.Now().Add(testOverlap).UTC().Format(time.RFC3339)
	condition := w.rotatingCondition()
	require.Equal(t, metav1.ConditionTrue, condition.Status)
	require.Equal(t, v1alpha1.ReasonOverlap, condition.Reason)
	require.Contains(t, condition.Message, "client secret "+old.ID+" is accepted beside the one in the Secret until "+until+" at the longest")
	rotated := w.told("Rotated")
	require.Equal(t, []string{"Normal Rotated secret app-credentials holds client secret " + current.ID + " in place of " + old.ID +
		", which is accepted until " + until + " at the longest"}, rotated)

	w.wait(9 * time.Minute)
	require.True(t, w.accepts(before))

	w.wait(3 * time.Minute)
	require.Equal(t, v1alpha1.ReasonFormerSecretUsed, w.rotatingCondition().Reason, "%+v", w.rotatingCondition())
	require.WithinDuration(t, w.Now().Add(-3*time.Minute), w.app.Status.Secrets[0].LastUsedAt.Time, time.Second)
	version := w.app.ResourceVersion
	w.wait(11 * time.Hour)
	require.Equal(t, version, w.app.ResourceVersion, "nothing changed, nothing is written")
	require.True(t, w.accepts(before))
	require.Empty(t, w.told("SecretRetired"))

	w.wait(time.Hour)
	require.False(t, w.accepts(before))
	require.Empty(t, w.rotatingCondition().Type)
	require.Len(t, w.app.Status.Secrets, 1)
	require.Len(t, w.told("SecretRetired"), 1)
	require.True(t, w.accepts(w.credentials()))
}

func TestASecretThatNobodyNeedsIsRetiredEarly(t *testing.T) {
	w := newRotating(t)
	before := w.credentials()
	require.True(t, w.accepts(before), "it was in use before")
	w.advance(time.Minute)
	w.request("now")
	w.pass()
	w.wait(9 * time.Minute)
	require.Equal(t, 2, w.accepted())
	w.wait(2*time.Minute + 2*time.Second)
	require.Equal(t, 1, w.accepted(), "%+v", w.rotatingCondition())
	require.False(t, w.accepts(before))
	require.True(t, w.accepts(w.credentials()))
	require.Len(t, w.app.Status.Secrets, 1)
	require.Empty(t, w.rotatingCondition().Type)
	require.Len(t, w.told("SecretRetired"), 1)
}

func TestAPodThatKeepsASecretKeepsItAlive(t *testing.T) {
	const name = "app-credentials"
	volume := func(source corev1.VolumeSource) []corev1.Volume {
		return []corev1.Volume{{Name: "v", VolumeSource: source}}
	}
	mount := func(subPath string) []corev1.Container {
		return []corev1.Container{{Name: "app", Image: "app", VolumeMounts: []corev1.VolumeMount{{Name: "v", MountPath: "/v", SubPath: subPath}}}}
	}
	secret := corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name}}
	projected := corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
		{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: name}}},
	}}}
	env := []corev1.Container{{Name: "other", Image: "app", Env: []corev1.EnvVar{{Name: "S", ValueFrom: &corev1.EnvVarSource{
		SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: "client-secret"},
	}}}}}
	plain := []corev1.Container{{Name: "app", Image: "app"}}
	for about, row := range map[string]struct {
		spec  corev1.PodSpec
		phase corev1.PodPhase
		keeps bool
	}{
		"envFrom":                         {spec: byEnv(name), keeps: true},
		"env of an init container":        {spec: corev1.PodSpec{InitContainers: env, Containers: plain}, keeps: true},
		"a file that is mounted singly":   {spec: corev1.PodSpec{Containers: mount("client-secret"), Volumes: volume(secret)}, keeps: true},
		"the same, projected":             {spec: corev1.PodSpec{Containers: mount("client-secret"), Volumes: volume(projected)}, keeps: true},
		"a mount, which sees each change": {spec: corev1.PodSpec{Containers: mount(""), Volumes: volume(secret)}},
		"another Secret":                  {spec: byEnv("other")},
		"a Pod that has ended":            {spec: byEnv(name), phase: corev1.PodSucceeded},
	} {
		t.Run(about, func(t *testing.T) {
			w := newRotating(t)
			pod := w.pod("holder", row.spec)
			if row.phase != "" {
				pod.Status.Phase = row.phase
				require.NoError(t, plane.Client.Status().Update(t.Context(), pod))
			}
			w.advance(time.Hour)
			w.request("now")
			w.pass()
			w.wait(30 * time.Minute)
			if !row.keeps {
				require.Equal(t, 1, w.accepted())
				return
			}
			require.Equal(t, 2, w.accepted())
			require.Equal(t, v1alpha1.ReasonFormerSecretHeld, w.rotatingCondition().Reason)
			require.Contains(t, w.rotatingCondition().Message, "before they are restarted: holder")
			version := w.app.ResourceVersion
			w.wait(30 * time.Minute)
			require.Equal(t, version, w.app.ResourceVersion, "nothing changed, nothing is written")
			w.deletePod(pod)
			w.wait(10 * time.Minute)
			require.Equal(t, 1, w.accepted(), "%+v", w.rotatingCondition())
		})
	}
}

// A Secret that is called differently by now is still where a Pod took its value
// from.
func TestASecretIsRememberedUnderItsFormerName(t *testing.T) {
	w := newRotating(t)
	pod := w.pod("holder", byEnv("app-credentials"))
	w.advance(time.Hour)
	w.request("now")
	w.pass()
	w.update(w.app, func() { withSecret(v1alpha1.CredentialsSecretSpec{Name: "renamed"})(w.app) })
	w.settle()
	w.wait(time.Hour)
	require.Equal(t, 2, w.accepted())
	require.Equal(t, v1alpha1.ReasonFormerSecretHeld, w.rotatingCondition().Reason)
	w.request("again")
	w.wait(time.Hour)
	require.Equal(t, 3, w.accepted(), "the Pod may hold either")
	w.deletePod(pod)
	w.wait(10 * time.Minute)
	require.Equal(t, 1, w.accepted())
	require.True(t, w.accepts(w.secret("renamed")))
}

func TestPodsThatCannotBeListedKeepASecretAlive(t *testing.T) {
	w := newRotating(t)
	lists := 0
	w.r.Live = interceptor.NewClient(plane.Client, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if _, ok := list.(*corev1.PodList); ok {
				lists++
				return apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", nil)
			}
			return c.List(ctx, list, options...)
		},
	})
	w.advance(time.Hour)
	w.request("now")
	w.pass()
	w.wait(10 * time.Minute)
	require.Zero(t, lists, "nobody asks for Pods before it matters")
	w.wait(20 * time.Hour)
	require.NotZero(t, lists)
	require.Equal(t, 2, w.accepted())
	require.Contains(t, w.rotatingCondition().Message, "cannot list the Pods")
	w.wait(4 * time.Hour)
	require.Equal(t, 1, w.accepted(), "the end of the overlap")
}

func TestMissedSchedulesCauseOneRotation(t *testing.T) {
	for name, absent := range map[string]func(w *rotating){
		"the manager is down for weeks": func(w *rotating) {
			w.advance(40 * testInterval)
			w.restart()
		},
		"the app is suspended for weeks": func(w *rotating) {
			w.update(w.app, func() { w.app.Spec.Suspend = new(true) })
			w.settle()
			for range 40 {
				w.advance(testInterval)
				w.pass()
			}
			require.Len(w, w.registered(w.app).Secrets, 1, "nothing is done meanwhile")
			w.update(w.app, func() { w.app.Spec.Suspend = nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newRotating(t, withRotation(testInterval, testOverlap))
			w.slow()
			before := w.credentials()
			absent(w)
			w.settle()
			require.Equal(t, 2, w.accepted())
			require.True(t, w.accepts(before), "whoever read the Secret has the overlap to read again")
			w.wait(testInterval * 8 / 10)
			require.Len(t, w.registered(w.app).Secrets, 2, "one rotation")
			w.wait(testInterval * 2 / 10)
			require.Len(t, w.registered(w.app).Secrets, 3, "and the schedule goes on")
		})
	}
}

func TestAScheduleGoesOnAfterARestart(t *testing.T) {
	w := newRotating(t, withRotation(testInterval, testOverlap))
	w.slow()
	w.wait(testInterval / 2)
	w.restart()
	w.pass()
	require.Len(t, w.registered(w.app).Secrets, 1)
	w.wait(testInterval / 2)
	require.Len(t, w.registered(w.app).Secrets, 2)
}

func TestARequestIsFollowedOnce(t *testing.T) {
	w := newRotating(t)
	for _, step := range []struct {
		values  []string
		secrets int
	}{
		{[]string{""}, 1},
		{[]string{"a"}, 2},
		{[]string{"a"}, 2},
		{[]string{""}, 2},
		{[]string{"b", "c"}, 3},
		{[]string{"c"}, 3},
		{[]string{strings.Repeat("long", 1000)}, 4},
	} {
		for _, value := range step.values {
			w.request(value)
		}
		w.advance(time.Minute)
		w.settle()
		require.Len(t, w.registered(w.app).Secrets, step.secrets, "%.20q", step.values)
		require.True(t, w.accepts(w.credentials()))
	}
	require.True(t, status.IsReady(w.app))
}

// Requests without end do not cut off anybody whose overlap runs, and do not pile
// up secrets.
func TestRequestsWithoutEndAreBounded(t *testing.T) {
	w := newRotating(t, withRotation(0, testOverlap))
	first := w.credentials()
	for n := range 30 {
		w.request(fmt.Sprint(n))
		w.advance(time.Second)
		w.settle()
		require.LessOrEqual(t, w.accepted(), 10)
		require.True(t, w.accepts(first), "%d", n)
	}
	require.Contains(t, w.rotatingCondition().Message, "another rotation waits until one of them ends")
	w.wait(testOverlap)
	require.Equal(t, "29", w.app.Status.LastHandledRotateAt, "it is made up for")
}

func TestARequestThatWaitedIsFollowedWhenThereIsRoom(t *testing.T) {
	w := newRotating(t, withRotation(0, testOverlap))
	w.slow()
	for n := range 12 {
		w.request(fmt.Sprint(n))
		w.advance(time.Second)
		w.settle()
	}
	require.Contains(t, w.rotatingCondition().Message, "another rotation waits until one of them ends")
	require.NotEqual(t, "11", w.app.Status.LastHandledRotateAt)
	for end := w.Now().Add(15 * time.Minute); w.Now().Add(w.next).Before(end); { // no pass but those it asks for
		w.wait(w.next)
	}
	require.Equal(t, "11", w.app.Status.LastHandledRotateAt, "nobody needs the former ones")
}

func TestWhatIsNotRotated(t *testing.T) {
	t.Run("a suspended app", func(t *testing.T) {
		w := newRotating(t)
		w.update(w.app, func() { w.app.Spec.Suspend = new(true) })
		w.request("now")
		w.settle()
		require.Len(t, w.registered(w.app).Secrets, 1)
		w.update(w.app, func() { w.app.Spec.Suspend = nil })
		w.settle()
		require.Len(t, w.registered(w.app).Secrets, 2, "it is made up for")
	})
	t.Run("an ExistingSecret", func(t *testing.T) {
		w := newRotating(t)
		plane.Create(t, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "vault", Labels: map[string]string{v1alpha1.LabelSecret: v1alpha1.SecretReferenced}},
			StringData: map[string]string{"client-secret": "chosen-by-somebody-else-1"},
		})
		w.request("before")
		w.settle()
		w.update(w.app, func() { existing("vault")(w.app) })
		w.settle()
		require.Empty(t, w.rotatingCondition().Type, "all others ended with the new value")
		w.request("now")
		w.settle()
		condition := w.rotatingCondition()
		require.Equal(t, metav1.ConditionFalse, condition.Status)
		require.Equal(t, v1alpha1.ReasonRotationNotPossible, condition.Reason)
		require.Contains(t, condition.Message, "put a new one into secret vault")
		require.True(t, status.IsReady(w.app))
		require.Equal(t, 1, w.accepted())
	})
	t.Run("a Public client", func(t *testing.T) {
		w := newRotating(t, func(a *v1alpha1.ConnectedApp) {
			a.Spec.ClientType = v1alpha1.ClientPublic
			a.Spec.GrantTypes, a.Spec.RedirectURIs = []v1alpha1.GrantType{"authorization_code"}, []v1alpha1.RedirectURI{"https://app.example.com/cb"}
			a.Spec.Scopes = nil
		})
		w.request("now")
		w.settle()
		require.Equal(t, v1alpha1.ReasonRotationNotPossible, w.rotatingCondition().Reason)
		require.Empty(t, w.registered(w.app).Secrets)
		require.True(t, status.IsReady(w.app))
	})
}

// What is reported is left as it is, and the client secret is no part of that.
func TestAReportedAppIsRotated(t *testing.T) {
	w := newRotating(t, withRotation(testInterval, testOverlap), func(a *v1alpha1.ConnectedApp) { a.Spec.DriftPolicy = v1alpha1.DriftReport })
	w.slow()
	w.wait(testInterval)
	require.Len(t, w.registered(w.app).Secrets, 2)
}

// A status that is lost or written by others causes no rotation by itself.
func TestALostStatusCausesNoRotation(t *testing.T) {
	w := newRotating(t, withRotation(testInterval, testOverlap))
	w.request("now")
	w.settle()
	w.advance(30 * time.Minute)
	w.app.Status = v1alpha1.ConnectedAppStatus{ObservedGeneration: -1}
	require.NoError(t, plane.Client.Status().Update(t.Context(), w.app))
	w.restart()
	w.settle()
	require.Len(t, w.registered(w.app).Secrets, 2)
	require.Equal(t, "now", w.app.Status.LastHandledRotateAt)

	long := metav1.NewTime(w.Now().Add(-1000 * time.Hour))
	w.app.Status.Secrets[len(w.app.Status.Secrets)-1].CreatedAt = &long
	require.NoError(t, plane.Client.Status().Update(t.Context(), w.app))
	w.restart()
	w.settle()
	require.Len(t, w.registered(w.app).Secrets, 2, "the server knows how old it is")
}

func TestAClockThatIsSetBackCausesNoRotation(t *testing.T) {
	w := newRotating(t, withRotation(testInterval, testOverlap))
	w.slow()
	w.wait(testInterval)
	require.Len(t, w.registered(w.app).Secrets, 2)
	w.advance(-10 * testInterval)
	w.settle()
	w.wait(testInterval / 2)
	require.Len(t, w.registered(w.app).Secrets, 2)
	require.True(t, w.accepts(w.credentials()))
	w.wait(testInterval / 2)
	require.Len(t, w.registered(w.app).Secrets, 3, "the schedule goes on")
}

func TestACrashDuringARotationLosesNothing(t *testing.T) {
	before := map[string]*corev1.Secret{}
	crash(t, false, func(w *world, app *v1alpha1.ConnectedApp) {
		settle(w, app)
		before[w.namespace] = w.secret("app-credentials")
		w.update(app, func() { metav1.SetMetaDataAnnotation(&app.ObjectMeta, v1alpha1.AnnotationRotateRequestedAt, "now") })
	}, func(w *world, app *v1alpha1.ConnectedApp) bool {
		return isReady(w, app) && app.Status.LastHandledRotateAt == "now"
	}, func(w *world, app *v1alpha1.ConnectedApp) {
		checkOneValidClient(w, app)
		accepted := 0
		for _, s := range w.registered(app).Secrets {
			if s.Live(time.Now()) {
				accepted++
			}
		}
		require.Equal(w, 2, accepted, "the former one and the new one, and no third")
		w.requireWorks(before[w.namespace])
		require.NotEqual(w, before[w.namespace].Data["client-secret"], w.secret("app-credentials").Data["client-secret"])
	})
}

// The running manager is woken by the annotation, which changes no generation.
func TestTheAnnotationWakesTheManager(t *testing.T) {
	w := start(t)
	app := w.ready(w.app())
	before := w.secret("app-credentials")
	w.update(app, func() { metav1.SetMetaDataAnnotation(&app.ObjectMeta, v1alpha1.AnnotationRotateRequestedAt, "now") })
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(w.read(app))
		c.Equal("now", app.Status.LastHandledRotateAt)
	})
	require.True(t, status.IsReady(app))
	require.Equal(t, "Current", string(testenv.KStatus(t, app)))
	w.requireWorks(before)
	w.requireWorks(w.secret("app-credentials"))
	require.NotEqual(t, before.Data["client-secret"], w.secret("app-credentials").Data["client-secret"])
}

// onPlatform is a process on a platform without any extension.
func onPlatform(t *testing.T, c *clock, change ...func(*v1alpha1.ConnectedApp)) *rotating {
	t.Helper()
	double := platform.Start(t)
	w := &rotating{clock: c, mortal: &mortal{left: -1}, events: events.NewFakeRecorder(1000), world: &world{
		T: t, namespace: plane.Namespace(t, nil),
		instance: &tokenservertest.Instance{URL: double.URL, AdminClientID: platform.AdminClientID, AdminClientSecret: double.AdminClientSecret, OrgID: platform.OrgID},
	}}
	w.server = plane.TokenServer(t, w.instance)
	w.app = w.world.app(change...)
	api, err := registrar.New(registrar.Config{URL: double.URL, ClientID: platform.AdminClientID, ClientSecret: double.AdminClientSecret, RequestsPerSecond: 10000})
	require.NoError(t, err)
	discovery, err := api.Discover(t.Context())
	require.NoError(t, err)
	connections := &inventory.Connections{}
	connections.Set(w.server.Name, &inventory.Connection{
		Inventory: inventory.New(api, inventory.Options{}), Issuer: discovery.Issuer, OrganizationID: platform.OrgID,
		Discovery: *discovery, URL: double.URL, Client: api,
	})
	w.r = &connectedapp.Reconciler{
		Client: w.mortal.client(), Live: plane.Client, Connections: connections, Events: w.events,
		Owners:    &ownership.Records{Client: w.mortal.client(), Live: plane.Client, Namespace: testenv.SystemNamespace},
		ClusterID: "cluster", ResyncInterval: 10 * time.Minute, Now: c.Now,
	}
	w.settle()
	return w
}

// Where a client has one secret, a rotation ends it at once: that happens when
// somebody asks for it, not by a schedule.
func TestAPlainPlatformIsRotatedOnRequestAlone(t *testing.T) {
	c := &clock{now: time.Now().Truncate(time.Second)}
	w := onPlatform(t, c, withRotation(testInterval, testOverlap))
	condition := w.rotatingCondition()
	require.Equal(t, metav1.ConditionFalse, condition.Status)
	require.Equal(t, v1alpha1.ReasonRotationNotPossible, condition.Reason)
	require.Contains(t, condition.Message, "spec.credentials.rotation.interval is not followed")
	require.True(t, status.IsReady(w.app), "it works")
	before := w.credentials()
	c.advance(10 * testInterval)
	w.settle()
	require.Equal(t, before.Data, w.credentials().Data)

	w.request("now")
	w.settle()
	after := w.credentials()
	require.NotEqual(t, before.Data["client-secret"], after.Data["client-secret"])
	require.True(t, w.accepts(after))
	require.False(t, w.accepts(before))
	require.Equal(t, "now", w.app.Status.LastHandledRotateAt)
	require.Len(t, w.app.Status.Secrets, 1)
	rotated := w.told("Rotated")
	require.Len(t, rotated, 1)
	require.Contains(t, rotated[0], "is not accepted any more: restart what does not read the Secret again")
	c.advance(10 * testInterval)
	w.settle()
	require.Equal(t, after.Data, w.credentials().Data)
}

// An app returns to the Secret that somebody else made for it: the client secret
// there was replaced meanwhile, which is said at once and not when it ends.
func TestAnExistingSecretThatIsNamedAgainIsLookedAtAgain(t *testing.T) {
	w := newRotating(t)
	plane.Create(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "vault", Labels: map[string]string{v1alpha1.LabelSecret: v1alpha1.SecretReferenced}},
		StringData: map[string]string{"client-secret": "chosen-by-somebody-else-1"},
	})
	w.update(w.app, func() { existing("vault")(w.app) })
	w.settle()
	require.True(t, status.IsReady(w.app))
	w.update(w.app, func() { withRotation(0, time.Hour)(w.app) })
	w.settle()
	require.True(t, w.accepts(w.credentials()))

	w.update(w.app, func() { existing("vault")(w.app) })
	w.settle()
	ready := testenv.Condition(w.app.Status.Conditions, v1alpha1.ConditionReady)
	require.Equal(t, v1alpha1.ReasonInvalidSecret, ready.Reason, ready.Message)
	require.Contains(t, ready.Message, "secret vault; one that was replaced before cannot come back")

	w.wait(2 * time.Hour)
	w.settle()
	require.Equal(t, v1alpha1.ReasonInvalidSecret, testenv.Condition(w.app.Status.Conditions, v1alpha1.ConditionReady).Reason)
}
