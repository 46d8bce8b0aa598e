// SPDX-License-Identifier: Apache-2.0

package connectedapp_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/testenv"
)

const noteOfApp = "restart.connectedapps.dev/app-app"

// restarting is a rotating world whose app restarts the StatefulSet ledger.
type restarting struct {
	*rotating
	ledger *appsv1.StatefulSet
}

func newRestarting(t *testing.T) *restarting {
	t.Helper()
	w := &restarting{rotating: newRotating(t, withRotation(0, testOverlap))}
	labels := map[string]string{"app": "ledger"}
	w.ledger = &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "ledger"},
		Spec: appsv1.StatefulSetSpec{
			ServiceName: "ledger", Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "ledger", Image: "ledger"}}},
			},
		},
	}
	plane.Create(t, w.ledger)
	w.update(w.app, func() {
		w.app.Spec.Credentials.Secret = &v1alpha1.CredentialsSecretSpec{Restart: []v1alpha1.WorkloadReference{{Kind: v1alpha1.WorkloadStatefulSet, Name: "ledger"}}}
	})
	w.settle()
	w.requireWorkloads(v1alpha1.ReasonUpToDate)
	return w
}

func (w *restarting) requireWorkloads(reason string) {
	w.Helper()
	condition := testenv.Condition(w.app.Status.Conditions, v1alpha1.ConditionWorkloadsCurrent)
	require.Equal(w, reason, condition.Reason, condition.Message)
	require.True(w, status.IsReady(w.app), "%+v", w.app.Status.Conditions)
}

// rolledOut is what the StatefulSet was rolled out for last; empty: never.
func (w *restarting) rolledOut() string {
	w.Helper()
	require.NoError(w, w.read(w.ledger))
	return w.ledger.Spec.Template.Annotations[noteOfApp]
}

func TestARotationRestartsAWorkloadOnce(t *testing.T) {
	w := newRestarting(t)
	require.Empty(t, w.rolledOut(), "to be named restarts nothing")
	for _, value := range []string{"1", "2"} {
		before, held := w.rolledOut(), w.credentials()
		w.request(value)
		w.settle()
		require.NotEqual(t, held.Data["client-secret"], w.credentials().Data["client-secret"])
		w.requireWorkloads(v1alpha1.ReasonRestartPending)
		require.LessOrEqual(t, w.next, 30*time.Second)
		require.Equal(t, before, w.rolledOut())
		w.wait(30 * time.Second)
		w.requireWorkloads(v1alpha1.ReasonUpToDate)
		require.NotEqual(t, before, w.rolledOut())
		require.Equal(t, w.rolledOut(), w.ledger.Annotations[noteOfApp])
		require.Len(t, w.told("WorkloadRestarted"), 1)

		version := w.ledger.ResourceVersion
		w.advance(time.Hour)
		w.restart() // another process
		w.settle()
		w.rolledOut()
		require.Equal(t, version, w.ledger.ResourceVersion)
	}
}

func TestWhatReadersOfASecretDoNotSeeRestartsNothing(t *testing.T) {
	w := newRestarting(t)
	w.rolledOut()
	version := w.ledger.ResourceVersion
	for name, change := range map[string]func(){
		"metadata": func() {
			w.update(w.app, func() {
				w.app.Spec.Credentials.Secret.Metadata = &v1alpha1.SecretMetadata{Labels: map[string]v1alpha1.LabelValue{"a": "b"}}
			})
		},
		"another client name": func() { w.update(w.app, func() { w.app.Spec.ClientName = "Other" }) },
		"a key of others": func() {
			secret := w.credentials()
			w.update(secret, func() { secret.Data["of-others"] = []byte("password") })
		},
		"a client that was gone and is as it was": func() {
			_, err := w.instance.Store.DeleteApp(t.Context(), w.app.Status.ClientID, w.Now())
			require.NoError(t, err)
		},
	} {
		change()
		w.advance(time.Hour)
		w.settle()
		w.requireWorkloads(v1alpha1.ReasonUpToDate)
		w.rolledOut()
		require.Equal(t, version, w.ledger.ResourceVersion, name)
	}
	w.update(w.app, func() { w.app.Spec.Credentials.Secret = nil })
	w.settle()
	w.rolledOut()
	require.Equal(t, version, w.ledger.ResourceVersion, "to be named no more restarts nothing")
	require.Empty(t, testenv.Condition(w.app.Status.Conditions, v1alpha1.ConditionWorkloadsCurrent))
}

func TestOtherKeysRestartAWorkload(t *testing.T) {
	w := newRestarting(t)
	w.update(w.app, func() { w.app.Spec.Credentials.Secret.Preset = v1alpha1.PresetEnv })
	w.settle()
	w.requireWorkloads(v1alpha1.ReasonRestartPending)
	w.wait(30 * time.Second)
	require.NotEmpty(t, w.rolledOut())
}

// What is noted is carried out also while the token server is away.
func TestARestartNeedsNoTokenServer(t *testing.T) {
	w := newRestarting(t)
	w.request("1")
	w.settle()
	w.requireWorkloads(v1alpha1.ReasonRestartPending)
	w.r.Connections = &inventory.Connections{}
	w.wait(30 * time.Second)
	w.requireWorkloads(v1alpha1.ReasonUpToDate)
	require.NotEmpty(t, w.rolledOut())
}

// The process dies after each of its writes, between the one of the Secret and the
// one of the workload among them.
func TestACrashAroundARotationRestartsOnce(t *testing.T) {
	w := newRestarting(t)
	for dies := 1; dies < 9; dies++ {
		before := w.rolledOut()
		w.request(time.Duration(dies).String())
		w.mortal.reborn(dies)
		w.restart()
		for range 3 {
			_, _ = w.r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(w.app)})
			w.advance(30 * time.Second)
		}
		w.mortal.reborn(-1)
		w.restart()
		w.settle()
		w.wait(10 * time.Minute)
		w.requireWorkloads(v1alpha1.ReasonUpToDate)
		require.NotEqual(t, before, w.rolledOut(), "after %d writes", dies)
		require.LessOrEqual(t, len(w.told("WorkloadRestarted")), 1)
		version := w.ledger.ResourceVersion
		w.wait(time.Hour)
		w.rolledOut()
		require.Equal(t, version, w.ledger.ResourceVersion)
	}
}

func TestASuspendedAppRestartsNothing(t *testing.T) {
	w := newRestarting(t)
	w.request("1")
	w.settle()
	w.update(w.app, func() { w.app.Spec.Suspend = new(true) })
	w.advance(time.Hour)
	w.settle()
	require.Empty(t, w.rolledOut())
	w.update(w.app, func() { w.app.Spec.Suspend = nil })
	w.settle()
	w.requireWorkloads(v1alpha1.ReasonUpToDate)
	require.NotEmpty(t, w.rolledOut())
}
