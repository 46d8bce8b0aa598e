// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// patience is how long something that should happen within a second or two may
// take on a busy machine.
const patience = 30 * time.Second

// shortest is the pause between two looks at first. It grows with the time that is
// waited, so that looking does not slow down what is waited for.
const shortest = 20 * time.Millisecond

// Eventually waits until check passes and fails the test with the last reason
// when it does not.
func Eventually(t testing.TB, check func(c *require.Assertions)) {
	t.Helper()
	EventuallyWithin(t, patience, check)
}

// EventuallyWithin is Eventually with its own patience.
func EventuallyWithin(t testing.TB, limit time.Duration, check func(c *require.Assertions)) {
	t.Helper()
	var last attempt
	began := time.Now()
	deadline := time.After(limit)
	for {
		last = attempt{}
		if last.try(check) {
			return
		}
		select {
		case <-deadline:
			require.FailNow(t, "did not happen within "+limit.String(), last.message)
		case <-t.Context().Done():
			require.FailNow(t, "the test ended", last.message)
		case <-time.After(max(shortest, time.Since(began)/20)):
		}
	}
}

// attempt is the testing.T of one try: it stops the try, not the test.
type attempt struct {
	failed  bool
	message string
}

type giveUp struct{}

func (a *attempt) Errorf(format string, args ...any) {
	a.failed = true
	a.message = fmt.Sprintf(format, args...)
}

func (a *attempt) FailNow() { panic(giveUp{}) }

func (a *attempt) try(check func(*require.Assertions)) (passed bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(giveUp); !ok {
				panic(r)
			}
			passed = false
		}
	}()
	check(require.New(a))
	return !a.failed
}

// KStatus is how tools such as kubectl, Flux and Argo CD read the object's
// status: Current when it is done.
func KStatus(t testing.TB, object client.Object) status.Status {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	require.NoError(t, err)
	result, err := status.Compute(&unstructured.Unstructured{Object: content})
	require.NoError(t, err)
	return result.Status
}

// Condition returns one condition, or an empty one.
func Condition(conditions []metav1.Condition, conditionType string) metav1.Condition {
	for _, c := range conditions {
		if c.Type == conditionType {
			return c
		}
	}
	return metav1.Condition{}
}
