// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	ctrl "sigs.k8s.io/controller-runtime"

	"connectedapps.dev/operator/api/v1alpha1"
	ours "connectedapps.dev/operator/internal/controller/status"
)

func app(generation int64) *v1alpha1.ConnectedApp {
	a := &v1alpha1.ConnectedApp{ObjectMeta: metav1.ObjectMeta{Name: "app", Namespace: "ns", Generation: generation}}
	a.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("ConnectedApp"))
	a.Status.ObservedGeneration = -1
	return a
}

func kstatus(t *testing.T, a *v1alpha1.ConnectedApp) string {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(a)
	require.NoError(t, err)
	result, err := status.Compute(&unstructured.Unstructured{Object: content})
	require.NoError(t, err)
	return result.Status.String()
}

func TestSummarise(t *testing.T) {
	cause := errors.New("dial tcp: secret-in-an-error")
	for name, row := range map[string]struct {
		err      error
		ready    metav1.ConditionStatus
		reason   string
		stalled  bool
		observed int64
		kstatus  string
	}{
		"done": {
			ready: metav1.ConditionTrue, reason: "Ready", observed: 2, kstatus: "Current",
		},
		"a person has to act": {
			err:   ours.StalledError(v1alpha1.ReasonNotAllowed, "no rule allows it"),
			ready: metav1.ConditionFalse, reason: "NotAllowed", stalled: true, observed: 2, kstatus: "Failed",
		},
		"something is not there yet": {
			err:   ours.WaitingError(v1alpha1.ReasonWaitingForSecret, time.Minute, "waiting"),
			ready: metav1.ConditionFalse, reason: "WaitingForSecret", observed: 2, kstatus: "InProgress",
		},
		"something failed and is tried again": {
			err:   fmt.Errorf("registering: %w", ours.TransientError(v1alpha1.ReasonTokenServerUnavailable, cause, "the server is away")),
			ready: metav1.ConditionFalse, reason: "TokenServerUnavailable", observed: 1, kstatus: "InProgress",
		},
		"an error of no kind": {
			err:   cause,
			ready: metav1.ConditionFalse, reason: "WriteFailed", observed: 1, kstatus: "InProgress",
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := app(2)
			a.Status.ObservedGeneration = 1
			ours.True(a, v1alpha1.ConditionStalled, "Old", "of before")
			ours.Summarise(a, row.err, "all is well")
			ready := ours.Get(a, v1alpha1.ConditionReady)
			require.Equal(t, row.ready, ready.Status)
			require.Equal(t, row.reason, ready.Reason)
			require.Equal(t, row.stalled, ours.IsTrue(a, v1alpha1.ConditionStalled))
			require.Equal(t, row.observed, a.Status.ObservedGeneration)
			require.Equal(t, int64(2), ready.ObservedGeneration)
			require.Equal(t, row.kstatus, kstatus(t, a))
			require.False(t, ours.IsTrue(a, v1alpha1.ConditionStalled) && ours.IsTrue(a, v1alpha1.ConditionReconciling), "never both")
			require.NotContains(t, ready.Message, "secret-in-an-error", "causes are for the log")
		})
	}
}

func TestProgressIsMarkedOncePerGeneration(t *testing.T) {
	a := app(1)
	require.False(t, ours.MarkProgressing(a), "as the API server makes it, it says so already")
	require.Equal(t, "InProgress", kstatus(t, a))
	ours.Summarise(a, nil, "well")
	require.True(t, ours.IsReady(a))
	a.Generation = 2
	require.False(t, ours.IsReady(a), "Ready speaks of the generation before")
	require.True(t, ours.MarkProgressing(a))
	require.Equal(t, "InProgress", kstatus(t, a))
	require.False(t, ours.MarkProgressing(a))
}

func TestNobodyWaitsForASuspendedObject(t *testing.T) {
	a := app(1)
	ours.MarkProgressing(a)
	ours.Suspend(a, "")
	require.False(t, ours.IsReady(a))
	require.Nil(t, ours.Get(a, v1alpha1.ConditionReady), "nobody can tell")
	require.False(t, ours.MarkProgressing(a), "or each pass would write it twice")
	require.Equal(t, "Current", kstatus(t, a))
	ours.Suspend(a, "all is as it was")
	require.True(t, ours.IsReady(a))
	require.Equal(t, "Current", kstatus(t, a))
}

func TestResult(t *testing.T) {
	failure := ours.TransientError("Reason", nil, "failed")
	stalled := ours.StalledError("Reason", "stuck")
	stalled.After = time.Minute
	for name, row := range map[string]struct {
		err   error
		after time.Duration
		fails bool
	}{
		"nothing":                  {},
		"stalled":                  {err: ours.StalledError("Reason", "stuck")},
		"stalled, to be looked at": {err: stalled, after: time.Minute},
		"waiting":                  {err: ours.WaitingError("Reason", 3*time.Second, "not yet"), after: 3 * time.Second},
		"transient":                {err: failure, fails: true},
		"an error of no kind":      {err: errors.New("x"), fails: true},
		"wrapped":                  {err: fmt.Errorf("doing: %w", ours.WaitingError("Reason", time.Second, "x")), after: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			result, err := ours.Result(row.err)
			require.Equal(t, row.fails, err != nil)
			require.Equal(t, ctrl.Result{RequeueAfter: row.after}, result)
		})
	}
}

func TestMessagesAreShortAndOnOneLine(t *testing.T) {
	a := app(1)
	ours.True(a, v1alpha1.ConditionReady, "Reason", "two\nlines\t\xff "+strings.Repeat("é", 2000))
	message := ours.Get(a, v1alpha1.ConditionReady).Message
	require.LessOrEqual(t, len(message), 1024)
	require.True(t, strings.HasPrefix(message, "two lines ? é"))
	require.True(t, strings.HasSuffix(message, "é…"))
}
