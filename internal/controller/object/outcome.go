// SPDX-License-Identifier: Apache-2.0

package object

import (
	"errors"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
)

const (
	// raceRetry is the pause after somebody else wrote at the same time.
	raceRetry = 100 * time.Millisecond
	// refusalRetry is the pause after the API server refused what only a person
	// can change, such as a quota: no watch tells of that change.
	refusalRetry = time.Minute
)

// WriteError says what an error of a write to the API server means, what being
// written in words: "secret gitproxy-credentials". Another writer's success is a
// race, which nobody has to hear of. What the API server refuses is Stalled with
// its own text, which names the field, the quota or the policy. Anything else is
// returned as it is.
func WriteError(what string, err error) error {
	var refused apierrors.APIStatus
	switch {
	case err == nil || !errors.As(err, &refused):
		return err
	case apierrors.IsConflict(err):
		return &status.Error{
			Kind: status.Race, Reason: v1alpha1.ReasonProgressing, Message: what + " was written by somebody else at the same time",
			After: raceRetry, Cause: err,
		}
	case apierrors.HasStatusCause(err, "NamespaceTerminating"):
		return status.WaitingError(v1alpha1.ReasonWriteFailed, refusalRetry, "%s cannot be made: the namespace is being deleted", what)
	case apierrors.IsInvalid(err), apierrors.IsForbidden(err), apierrors.IsRequestEntityTooLargeError(err), apierrors.IsBadRequest(err):
		e := status.StalledError(v1alpha1.ReasonWriteFailed, "the API server refuses %s: %s", what, strings.TrimSpace(refused.Status().Message))
		e.After, e.Cause = refusalRetry, err
		return e
	}
	return err
}
