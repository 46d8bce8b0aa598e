// SPDX-License-Identifier: Apache-2.0

// Package plugin is what the kubectl plugin connectedapp does: each command is a
// method that reads and writes the objects of one namespace as its user may.
package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
)

// Plugin carries out commands. Client, Namespace, Out and Err are required.
type Plugin struct {
	// Client reads and writes without a cache.
	Client client.Client
	// Namespace of the objects; for Status also metav1.NamespaceAll.
	Namespace string
	// SystemNamespace is the manager's; empty: DefaultSystemNamespace.
	SystemNamespace string
	// Out gets what was asked for, Err what is said beside it.
	Out, Err io.Writer
	// Output is the form of the answers on Out; empty for people.
	Output Output
	// Color marks what is well and what is not.
	Color bool
}

// get reads an object of the namespace. Its error says what the user can do.
func (p *Plugin) get(ctx context.Context, name, kind string, object client.Object) error {
	err := p.Client.Get(ctx, client.ObjectKey{Namespace: p.Namespace, Name: name}, object)
	if apierrors.IsNotFound(err) {
		return &notFound{fmt.Sprintf("there is no %s %s in namespace %s; kubectl connectedapp status -n %s shows what there is",
			kind, name, p.Namespace, p.Namespace)}
	}
	return worded(err, kind+" "+name)
}

// notFound is an object that is not there.
type notFound struct{ text string }

func (e *notFound) Error() string { return e.text }

func isNotFound(err error) bool {
	_, ok := errors.AsType[*notFound](err)
	return ok
}

// worded adds to an error of the API server what was read or written.
func worded(err error, what string) error {
	switch {
	case err == nil:
		return nil
	case meta.IsNoMatchError(err):
		return errors.New("the cluster does not know Connected Apps: install the operator, or choose another --context")
	}
	if right := asLacking(err); right != nil {
		err = right
	}
	return fmt.Errorf("%s: %w", what, err)
}

// say writes a line that is not the answer.
func (p *Plugin) say(format string, args ...any) {
	for i, arg := range args {
		if text, ok := arg.(string); ok {
			args[i] = line(text)
		}
	}
	_, _ = fmt.Fprintf(p.Err, format+"\n", args...)
}

// Visible writes whatever a terminal could act on, or not show, as JSON escapes it,
// so that a text of somebody else's stays a text. Lines stay.
func Visible(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			_, _ = fmt.Fprintf(&b, "\\u%04x\\u%04x", high, low)
		default:
			_, _ = fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.String()
}

// line is a text of somebody else's as a part of a line of ours.
func line(text string) string { return Visible(strings.Join(strings.Fields(text), " ")) }

// ready is what an object's condition Ready says.
func ready(object reported) (status metav1.ConditionStatus, reason, message string) {
	c := meta.FindStatusCondition(*object.GetConditions(), v1alpha1.ConditionReady)
	switch {
	case c != nil:
		return c.Status, c.Reason, c.Message
	case object.Suspended():
		return metav1.ConditionUnknown, v1alpha1.ReasonSuspended, "spec.suspend is true: the manager leaves it alone"
	}
	return metav1.ConditionUnknown, "", "the manager has not seen it yet"
}

// reported is an object of ours.
type reported interface {
	client.Object
	GetConditions() *[]metav1.Condition
	Suspended() bool
}

// until says how far away a time is; "-" for none.
func until(at, now time.Time) string {
	if at.IsZero() {
		return "-"
	}
	left := at.Sub(now)
	ago, left := left < 0, left.Abs()
	text := ""
	switch {
	case left < time.Minute:
		text = fmt.Sprintf("%ds", int(left.Seconds()))
	case left < time.Hour:
		text = fmt.Sprintf("%dm", int(left.Minutes()))
	case left < 48*time.Hour:
		text = fmt.Sprintf("%dh%dm", int(left.Hours()), int(left.Minutes())%60)
	default:
		text = fmt.Sprintf("%dd", int(left.Hours()/24))
	}
	if ago {
		return text + " ago"
	}
	return "in " + text
}

// timeOf is a time of a status; zero for none.
func timeOf(t *metav1.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}
