// SPDX-License-Identifier: Apache-2.0

package accesstoken_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/testenv"
)

// Whatever write meets one of somebody else, and however often: it is done again
// after a moment, and nobody hears of it.
func TestConflictsAreNobodysNews(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5} {
		b := newBench(t)
		b.withCredentials()
		b.conflicts(n)
		for range n {
			result := b.mustPass()
			require.Positive(t, result.RequeueAfter, "it comes back")
			require.LessOrEqual(t, result.RequeueAfter, time.Second, "soon")
			require.NotEqual(t, metav1.ConditionFalse, b.ready().Status, b.ready().Message)
			require.Empty(t, b.told())
		}
		b.mustPass()
		require.Equal(t, metav1.ConditionTrue, b.ready().Status, b.ready().Message)
		require.Equal(t, []string{"Normal TokenIssued Secret gitproxy-token holds a valid token of ConnectedApp app"}, b.told())

		// So it is with an object that is ready.
		secret, _ := b.secret()
		b.edit(secret, func() { secret.Labels = nil })
		b.conflicts(n)
		for range n {
			b.mustPass()
			require.Equal(t, metav1.ConditionTrue, b.ready().Status, b.ready().Message)
		}
		b.mustPass()
		secret, _ = b.secret()
		require.Equal(t, v1alpha1.SecretManaged, secret.Labels[v1alpha1.LabelSecret])

		// And with one that is to go.
		require.NoError(t, plane.Client.Delete(t.Context(), b.token))
		b.told()
		b.conflicts(n)
		for range n {
			require.Positive(t, b.mustPass().RequeueAfter)
		}
		b.mustPass()
		require.True(t, apierrors.IsNotFound(b.read(b.token)))
	}
}

// A cache that is behind gives the object as it was before our last writes.
func TestAStaleCacheTakesNothingBack(t *testing.T) {
	b := newBench(t)
	b.withCredentials()
	before := b.token.DeepCopy()
	b.mustPass()
	require.Equal(t, metav1.ConditionTrue, b.ready().Status)
	_, held := b.secret()
	asked := b.requests.Load()
	b.told()

	version := b.token.ResourceVersion
	b.behind = before
	for range 3 {
		b.mustPass()
		require.Equal(t, version, b.token.ResourceVersion, "nothing is written")
	}
	_, again := b.secret()
	require.Equal(t, held.AccessToken, again.AccessToken)
	require.Equal(t, asked, b.requests.Load())
	require.Empty(t, b.told())
}

func TestARemovedFinalizerComesBack(t *testing.T) {
	for name, suspend := range map[string]*bool{"at work": nil, "suspended": new(true)} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.withCredentials()
			b.edit(b.token, func() { b.token.Spec.Suspend = suspend })
			b.mustPass()
			require.Contains(t, b.token.Finalizers, v1alpha1.Finalizer)
			b.edit(b.token, func() { controllerutil.RemoveFinalizer(b.token, v1alpha1.Finalizer) })
			b.mustPass()
			require.Contains(t, b.token.Finalizers, v1alpha1.Finalizer)
		})
	}
}

// The next pass is not left to the next refresh.
func TestTheManagerSeesThatAFinalizerIsGone(t *testing.T) {
	w := newWorld(t, nil)
	w.create(w.app)
	token := w.token("gitproxy")
	w.ready(token)
	w.edit(token, func() { token.Finalizers = nil })
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(token), token))
		c.Contains(token.Finalizers, v1alpha1.Finalizer)
	})
}

// The controller manager, which counts, is played by the test; the API server
// refuses by itself.
func TestAQuotaIsNamed(t *testing.T) {
	b := newBench(t)
	b.withCredentials()
	hard := corev1.ResourceList{"secrets": resource.MustParse("1")}
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "few"}, Spec: corev1.ResourceQuotaSpec{Hard: hard}}
	plane.Create(t, quota)
	quota.Status = corev1.ResourceQuotaStatus{Hard: hard, Used: hard}
	require.NoError(t, plane.Client.Status().Update(t.Context(), quota))
	secretsAreRefused := func(want bool) {
		testenv.Eventually(t, func(c *require.Assertions) {
			probe := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "probe"}}
			c.Equal(want, apierrors.IsForbidden(plane.Client.Create(t.Context(), probe, client.DryRunAll)))
		})
	}
	secretsAreRefused(true)
	result := b.mustPass()
	require.Equal(t, time.Minute, result.RequeueAfter, "no watch tells of a quota that was raised")
	require.Equal(t, v1alpha1.ReasonWriteFailed, b.ready().Reason)
	require.Equal(t, `the API server refuses Secret gitproxy-token: secrets "gitproxy-token" is forbidden: `+
		"exceeded quota: few, requested: secrets=1, used: secrets=1, limited: secrets=1", b.ready().Message)
	require.True(t, status.IsTrue(b.token, v1alpha1.ConditionStalled))
	require.Equal(t, []string{"Warning WriteFailed " + b.ready().Message}, b.told())
	b.mustPass()
	require.Empty(t, b.told(), "the same again is no news")

	require.NoError(t, plane.Client.Delete(t.Context(), quota))
	secretsAreRefused(false)
	b.mustPass()
	require.Equal(t, metav1.ConditionTrue, b.ready().Status, b.ready().Message)
}

// A failure of the API server is the queue's to repeat, and takes Ready from
// nobody who has a valid token.
func TestAFailureOfTheAPIServerTakesReadyFromNobody(t *testing.T) {
	b := newBench(t)
	b.withCredentials()
	away := func() error { return apierrors.NewInternalError(errors.New("etcd is away")) }
	refuse := true
	b.mustPass()
	b.edit(b.token, func() {
		metav1.SetMetaDataAnnotation(&b.token.ObjectMeta, v1alpha1.AnnotationRefreshRequestedAt, "now")
	})
	b.told()
	b.before = func() error {
		if refuse {
			return away()
		}
		return nil
	}
	_, err := b.pass()
	require.Error(t, err)
	require.Equal(t, metav1.ConditionTrue, b.ready().Status)
	require.Empty(t, b.told())

	refuse = false
	b.mustPass()
	require.Equal(t, "now", b.token.Status.LastHandledRefreshAt)
}

// Somebody else's tool writes the Secret again and again: each repair waits
// longer, and the status and Events say who does it.
func TestAFightOverTheSecretIsPacedAndTold(t *testing.T) {
	b := newBench(t)
	b.withCredentials()
	b.mustPass()
	asked := b.requests.Load()
	b.told()

	attack := func() {
		secret, _ := b.secret()
		secret.Data["access-token"] = []byte("placeholder")
		require.NoError(t, plane.Client.Update(t.Context(), secret, client.FieldOwner("gitops")))
	}
	// Within 20 minutes it is overwritten after each pass.
	repairs, passes := 0, 0
	for begin := b.now; b.now.Sub(begin) < 20*time.Minute; passes++ {
		require.Less(t, passes, 100, "a hot loop")
		attack()
		result := b.mustPass()
		_, held := b.secret()
		switch b.ready().Status {
		case metav1.ConditionTrue:
			repairs++
			require.NotEqual(t, "placeholder", held.AccessToken)
			require.Contains(t, b.told(), `Warning SecretRestored Secret gitproxy-token was changed by field manager "gitops" and was written anew`)
			b.now = b.now.Add(time.Millisecond) // the tool is quick
		default:
			require.Equal(t, v1alpha1.ReasonSecretContested, b.ready().Reason)
			require.Equal(t, `Secret gitproxy-token was changed again by field manager "gitops" right after it was repaired, and each repair waits longer: `+
				"let nothing else write Secret gitproxy-token, or choose another spec.secret.name", b.ready().Message)
			require.Equal(t, "Secret gitproxy-token does not hold what was written into it", b.fresh().Message)
			require.Positive(t, result.RequeueAfter)
			b.now = b.now.Add(result.RequeueAfter)
		}
	}
	require.LessOrEqual(t, repairs, 13, "1+2+4+… seconds, up to ten minutes")
	require.GreaterOrEqual(t, repairs, 9)
	require.LessOrEqual(t, int(b.requests.Load()-asked), repairs, "a repair is one token")
	require.LessOrEqual(t, passes, 2*repairs+1, "no pass is for nothing")

	// It is told while it lasts, and not for ever.
	b.now = b.now.Add(10 * time.Minute)
	b.mustPass()
	require.Equal(t, `Secret gitproxy-token holds a valid token of ConnectedApp app, but it is changed or deleted again and again by field manager "gitops", `+
		"and each repair waits longer: let nothing else write Secret gitproxy-token, or choose another spec.secret.name", b.ready().Message)
	b.now = b.now.Add(2 * time.Hour)
	b.mustPass()
	require.Equal(t, "Secret gitproxy-token holds a valid token of ConnectedApp app", b.ready().Message)
}

// What somebody does once in a while is repaired at once.
func TestARareEditIsRepairedAtOnce(t *testing.T) {
	b := newBench(t)
	b.withCredentials()
	b.mustPass()
	for i := range 20 {
		b.now = b.now.Add(10 * time.Minute)
		secret, _ := b.secret()
		if i%2 == 0 {
			require.NoError(t, plane.Client.Delete(t.Context(), secret))
		} else {
			b.edit(secret, func() { secret.Data["access-token"] = []byte("placeholder") })
		}
		b.mustPass()
		require.Equal(t, metav1.ConditionTrue, b.ready().Status, b.ready().Message)
		_, held := b.secret()
		require.NotEqual(t, "placeholder", held.AccessToken)
	}
}

// The cache may still have the Secret of a moment ago: it is not written back.
func TestAnEarlierTokenIsNotWrittenBack(t *testing.T) {
	b := newBench(t)
	b.withCredentials()
	b.mustPass()
	old, first := b.secret()
	b.edit(b.token, func() {
		metav1.SetMetaDataAnnotation(&b.token.ObjectMeta, v1alpha1.AnnotationRefreshRequestedAt, "1")
	})
	b.now = b.now.Add(2 * time.Second)
	b.mustPass()
	_, second := b.secret()
	require.NotEqual(t, first.AccessToken, second.AccessToken)
	issued := b.token.Status.IssuedAt

	// Both were issued within one second of the true time.
	old.Annotations[v1alpha1.AnnotationIssuedAt] = issued.Add(-time.Minute).UTC().Format(time.RFC3339)
	b.staleSecret = old
	b.edit(b.token, func() { b.token.Spec.Suspend = new(true) })
	b.mustPass()
	require.Equal(t, issued, b.token.Status.IssuedAt, "the status speaks of what is there")
	b.edit(b.token, func() { b.token.Spec.Suspend = nil })
	b.setApp(func() { status.MarkProgressing(b.app); b.app.Status.ObservedGeneration = -1 })
	b.mustPass()
	_, again := b.secret()
	require.Equal(t, second.AccessToken, again.AccessToken)
}
