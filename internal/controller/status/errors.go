// SPDX-License-Identifier: Apache-2.0

package status

import (
	"errors"
	"fmt"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
)

// Kind says what helps against an error.
type Kind int

// Kinds of error.
const (
	// Transient errors go away by themselves: the queue tries again with
	// growing pauses.
	Transient Kind = iota
	// Waiting is no failure: something is not there yet. A watch or the pause
	// in the error brings the object back.
	Waiting
	// Stalled errors stay until a person changes something.
	Stalled
	// Race is no failure either: somebody else wrote at the same time. The object
	// comes back after a moment, and neither its status nor the log speak of it.
	Race
)

// Error is an outcome with the reason that conditions show. Its message is for
// people and never holds a secret.
type Error struct {
	Kind   Kind
	Reason string
	// Message is what conditions and events show.
	Message string
	// After is the pause before the next try of a Waiting or Stalled error; zero:
	// only a watch brings the object back.
	After time.Duration
	// Cause is for the log; nil for Waiting and most Stalled errors.
	Cause error
}

func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Message + ": " + e.Cause.Error()
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.Cause }

// StalledError says that only a change by a person helps.
func StalledError(reason, format string, args ...any) *Error {
	return &Error{Kind: Stalled, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// WaitingError says what is not there yet. The next look is after the pause;
// zero leaves it to the watches.
func WaitingError(reason string, after time.Duration, format string, args ...any) *Error {
	return &Error{Kind: Waiting, Reason: reason, After: after, Message: fmt.Sprintf(format, args...)}
}

// TransientError says what failed and is tried again. The cause is logged, not
// shown.
func TransientError(reason string, cause error, format string, args ...any) *Error {
	return &Error{Kind: Transient, Reason: reason, Message: fmt.Sprintf(format, args...), Cause: cause}
}

// As returns the *Error in err. An error that is none is transient, with
// fallback as its reason and a message that does not repeat it, since any
// text may be in it.
func As(err error, fallback, message string) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return TransientError(fallback, err, "%s", message)
}

// IsRace tells whether err is a lost race, after which a reconciler returns
// Result without a word.
func IsRace(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Kind == Race
}

// Result is what a reconciler returns for err: nothing for nil, the pause for
// Stalled and Waiting errors and races, and the error itself otherwise, so that
// the queue backs off.
func Result(err error) (ctrl.Result, error) {
	var e *Error
	switch {
	case err == nil:
		return ctrl.Result{}, nil
	case !errors.As(err, &e):
		return ctrl.Result{}, err
	case e.Kind != Transient:
		return ctrl.Result{RequeueAfter: e.After}, nil
	}
	return ctrl.Result{}, err
}
