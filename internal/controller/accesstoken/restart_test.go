// SPDX-License-Identifier: Apache-2.0

package accesstoken_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/testenv"
)

const noteOfToken = "restart.connectedapps.dev/token-gitproxy"

// restartBench is a bench whose token restarts the Deployment web, Ready.
type restartBench struct {
	*bench
	web *appsv1.Deployment
}

func newRestartBench(t *testing.T) *restartBench {
	t.Helper()
	b := &restartBench{bench: newBench(t), web: testDeployment("web")}
	b.web.Namespace = b.namespace
	plane.Create(t, b.web)
	b.withCredentials()
	b.mustPass()
	b.edit(b.token, func() {
		b.token.Spec.Restart = []v1alpha1.WorkloadReference{{Kind: v1alpha1.WorkloadDeployment, Name: "web"}}
	})
	b.mustPass()
	require.Equal(t, metav1.ConditionTrue, b.ready().Status, b.ready().Message)
	return b
}

func testDeployment(name string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "web"}}},
			},
		},
	}
}

// rolledOut is what the Deployment was rolled out for last; empty: never.
func (b *restartBench) rolledOut() string {
	b.Helper()
	require.NoError(b, b.read(b.web))
	return b.web.Spec.Template.Annotations[noteOfToken]
}

func (b *restartBench) requireWorkloads(reason string) metav1.Condition {
	b.Helper()
	condition := testenv.Condition(b.token.Status.Conditions, v1alpha1.ConditionWorkloadsCurrent)
	require.Equal(b, reason, condition.Reason, condition.Message)
	require.Equal(b, reason == v1alpha1.ReasonUpToDate, condition.Status == metav1.ConditionTrue)
	require.Equal(b, metav1.ConditionTrue, b.ready().Status, "the token is fresh whatever becomes of workloads")
	return condition
}

// request asks for another token.
func (b *restartBench) request(value string) {
	b.Helper()
	b.edit(b.token, func() {
		metav1.SetMetaDataAnnotation(&b.token.ObjectMeta, v1alpha1.AnnotationRefreshRequestedAt, value)
	})
}

// restarts are the roll-outs that Events tell of.
func (b *restartBench) restarts() (n int) {
	for _, event := range b.told() {
		if strings.Contains(event, "WorkloadRestarted") {
			n++
		}
	}
	return n
}

func TestATokenThatChangesRestartsAWorkloadOnce(t *testing.T) {
	b := newRestartBench(t)
	b.requireWorkloads(v1alpha1.ReasonUpToDate)
	require.Empty(t, b.rolledOut(), "to be named restarts nothing")
	for _, value := range []string{"1", "2"} {
		before := b.rolledOut()
		_, held := b.secret()
		b.request(value)
		result := b.mustPass()
		_, after := b.secret()
		require.NotEqual(t, held.AccessToken, after.AccessToken)
		b.requireWorkloads(v1alpha1.ReasonRestartPending)
		require.LessOrEqual(t, result.RequeueAfter, 30*time.Second)
		require.Equal(t, before, b.rolledOut(), "others may come with it")
		require.Zero(t, b.restarts())

		b.now = b.now.Add(result.RequeueAfter)
		b.mustPass()
		b.requireWorkloads(v1alpha1.ReasonUpToDate)
		require.NotEqual(t, before, b.rolledOut())
		require.Equal(t, b.rolledOut(), b.web.Annotations[noteOfToken])
		require.NotContains(t, after.AccessToken, b.rolledOut())
		require.Equal(t, 1, b.restarts())

		b.now, b.writes = b.now.Add(time.Hour), 0
		b.r = b.reconciler() // another process
		b.mustPass()
		require.Zero(t, b.writes)
	}
}

func TestWhatIsNoOtherTokenRestartsNothing(t *testing.T) {
	b := newRestartBench(t)
	require.NoError(t, b.read(b.web))
	version := b.web.ResourceVersion
	same := func() {
		t.Helper()
		b.mustPass()
		b.requireWorkloads(v1alpha1.ReasonUpToDate)
		require.NoError(t, b.read(b.web))
		require.Equal(t, version, b.web.ResourceVersion)
	}
	b.edit(b.token, func() {
		b.token.Spec.Secret = &v1alpha1.TokenSecretSpec{Metadata: &v1alpha1.SecretMetadata{Labels: map[string]v1alpha1.LabelValue{"a": "b"}}}
	})
	same()
	secret, _ := b.secret()
	b.edit(secret, func() { secret.Data["of-others"] = []byte("password") })
	same()
	b.edit(b.token, func() { b.token.Spec.Restart = nil })
	b.mustPass()
	require.Empty(t, testenv.Condition(b.token.Status.Conditions, v1alpha1.ConditionWorkloadsCurrent))
	require.NoError(t, b.read(b.web))
	require.Equal(t, version, b.web.ResourceVersion, "to be named no more restarts nothing")
}

// The process dies after each of its writes, the one of the Secret among them.
func TestACrashAroundAWriteOfTheSecretRestartsOnce(t *testing.T) {
	b := newRestartBench(t)
	for dies := range 8 {
		before := b.rolledOut()
		b.request(strings.Repeat("x", dies+1))
		left := dies
		b.before = func() error {
			if left--; left < 0 {
				return errors.New("the process is dead")
			}
			return nil
		}
		for range 2 {
			_, _ = b.pass()
			b.now = b.now.Add(30 * time.Second)
		}
		b.before, b.r = nil, b.reconciler()
		for range 12 {
			b.now = b.now.Add(30 * time.Second)
			b.mustPass()
		}
		b.requireWorkloads(v1alpha1.ReasonUpToDate)
		require.NotEqual(t, before, b.rolledOut(), "after %d writes", dies)
		require.LessOrEqual(t, b.restarts(), 1)
	}
}

// A workload that was deleted and made anew has no notes, and Pods with the token
// of then.
func TestAWorkloadThatWasMadeAnewIsRestartedToo(t *testing.T) {
	b := newRestartBench(t)
	require.NoError(t, plane.Client.Delete(t.Context(), b.web))
	b.web = testDeployment("web")
	b.web.Namespace = b.namespace
	plane.Create(t, b.web)
	b.request("1")
	b.mustPass()
	b.requireWorkloads(v1alpha1.ReasonRestartPending)
	b.now = b.now.Add(30 * time.Second)
	b.mustPass()
	require.NotEmpty(t, b.rolledOut())
}

func TestTroubleWithWorkloadsIsNoneOfTheToken(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Group: "apps", Resource: "deployments"}, "web", errors.New("no right"))
	for name, row := range map[string]struct {
		err    error
		reason string
		after  time.Duration
	}{
		"it is not there":                {apierrors.NewNotFound(schema.GroupResource{}, "web"), v1alpha1.ReasonWorkloadNotFound, 5 * time.Minute},
		"the manager may not":            {forbidden, v1alpha1.ReasonRestartRefused, 5 * time.Minute},
		"the API server does not answer": {context.DeadlineExceeded, v1alpha1.ReasonUpToDate, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			b := newRestartBench(t)
			b.r.Live = interceptor.NewClient(plane.Client, interceptor.Funcs{
				Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
					if _, ok := o.(*unstructured.Unstructured); !ok {
						return c.Get(ctx, key, o, options...)
					}
					deadline, ok := ctx.Deadline()
					require.True(t, ok && time.Until(deadline) <= 10*time.Second, "nobody waits for it for long")
					return row.err
				},
			})
			b.told()
			for _, value := range []string{"1", "2"} {
				_, held := b.secret()
				b.request(value)
				result := b.mustPass()
				_, after := b.secret()
				require.NotEqual(t, held.AccessToken, after.AccessToken)
				b.requireWorkloads(row.reason)
				require.LessOrEqual(t, result.RequeueAfter, row.after)
				require.Positive(t, result.RequeueAfter)
			}
			told := 0
			for _, event := range b.told() {
				if strings.HasPrefix(event, "Warning "+row.reason) {
					told++
				}
			}
			require.Equal(t, row.reason != v1alpha1.ReasonUpToDate, told == 1, "told once")
		})
	}
}

func TestASuspendedTokenRestartsNothing(t *testing.T) {
	b := newRestartBench(t)
	b.request("1")
	b.mustPass()
	b.requireWorkloads(v1alpha1.ReasonRestartPending)
	b.edit(b.token, func() { b.token.Spec.Suspend = new(true) })
	b.now = b.now.Add(time.Hour)
	b.mustPass()
	require.Empty(t, b.rolledOut())
	b.edit(b.token, func() { b.token.Spec.Suspend = nil })
	b.mustPass()
	b.requireWorkloads(v1alpha1.ReasonUpToDate)
	require.NotEmpty(t, b.rolledOut())

	require.NoError(t, b.read(b.web))
	version := b.web.ResourceVersion
	require.NoError(t, plane.Client.Delete(t.Context(), b.token))
	b.mustPass()
	require.NoError(t, b.read(b.web))
	require.Equal(t, version, b.web.ResourceVersion, "nor does one that is deleted")
}
