// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
)

const (
	// patience is what all workloads of one object take at the longest: the token of
	// the next object waits for a worker.
	patience = 10 * time.Second
	// lookAgain is the pause after which a workload that was not there, or refused, is
	// looked at again: nothing announces it.
	lookAgain = 5 * time.Minute
	// failurePause is the one after a failure.
	failurePause = 30 * time.Second
)

// Outcome is what became of the workloads of one object.
type Outcome struct {
	// Restarted are those that were rolled out now, in words.
	Restarted []string
	// After is when to look again; 0: when something changes.
	After time.Duration
	// Failure is what goes away by itself, for the log; nil: nothing.
	Failure error

	reason, message string
}

// Restart brings workloads up to a content, each as far as it gets, and never takes
// longer than patience.
func (r *Restarter) Restart(ctx context.Context, namespace string, list []v1alpha1.WorkloadReference, seen Content, now time.Time) Outcome {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var o Outcome
	var names, problems []string
	worse := func(reason, message string) {
		if o.reason == "" || severity[reason] > severity[o.reason] {
			o.reason = reason
		}
		problems = append(problems, message)
	}
	for _, w := range list {
		names = append(names, w.String())
		restarted, due, err := r.inTime(ctx, namespace, w, seen, now)
		refused, isRefused := errors.AsType[*refusal](err)
		switch {
		case errors.Is(err, errAbsent):
			worse(v1alpha1.ReasonWorkloadNotFound, fmt.Sprintf("there is no %s in namespace %s: create it, or take it off restart", w, namespace))
			o.sooner(lookAgain)
		case isRefused:
			worse(v1alpha1.ReasonRestartRefused, refused.message)
			o.sooner(lookAgain)
		case err != nil:
			o.Failure = cmp.Or(o.Failure, err)
			o.sooner(failurePause)
		case !due.IsZero():
			worse(v1alpha1.ReasonRestartPending, fmt.Sprintf("%s is rolled out at %s", w, due.UTC().Format(time.RFC3339)))
			o.sooner(due.Sub(now))
		case restarted:
			o.Restarted = append(o.Restarted, w.String())
		}
	}
	o.message = strings.Join(problems, "; ")
	if o.reason == "" {
		o.reason, o.message = v1alpha1.ReasonUpToDate, "rolled out when the content changes: "+strings.Join(names, ", ")
	}
	return o
}

// inTime is one within half of the time that is left, so that a workload whose
// change hangs, in an admission webhook of its own, leaves some to those behind it.
func (r *Restarter) inTime(ctx context.Context, namespace string, w v1alpha1.WorkloadReference, seen Content, now time.Time) (bool, time.Time, error) {
	if end, ok := ctx.Deadline(); ok {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/2)
		defer cancel()
	}
	return r.one(ctx, namespace, w, seen, now)
}

// severity orders the reasons: the worst is shown.
var severity = map[string]int{v1alpha1.ReasonRestartPending: 1, v1alpha1.ReasonWorkloadNotFound: 2, v1alpha1.ReasonRestartRefused: 3}

func (o *Outcome) sooner(after time.Duration) {
	after = max(after, time.Second) // the notes count whole seconds
	if o.After == 0 || after < o.After {
		o.After = after
	}
}

// Show sets the condition WorkloadsCurrent and tells whether that is a trouble which
// was not told before. Of a failure nothing new is known.
func (o Outcome) Show(object status.Object) (news bool) {
	if o.Failure != nil {
		return false
	}
	const name = v1alpha1.ConditionWorkloadsCurrent
	if o.reason == v1alpha1.ReasonUpToDate {
		status.True(object, name, o.reason, o.message)
		return false
	}
	before := metav1.Condition{}
	if shown := status.Get(object, name); shown != nil {
		before = *shown
	}
	status.False(object, name, o.reason, o.message)
	now := status.Get(object, name)
	return o.reason != v1alpha1.ReasonRestartPending && (before.Reason != now.Reason || before.Message != now.Message)
}
