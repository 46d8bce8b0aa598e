// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"errors"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/registrar"
)

// passing tells whether a server may be in trouble for a moment only, and is
// still the one we know.
func passing(err error) bool {
	switch registrar.ReasonOf(err) {
	case registrar.ReasonUnreachable, registrar.ReasonTimeout, registrar.ReasonTLSFailed, registrar.ReasonCredentialsMissing,
		registrar.ReasonServerError, registrar.ReasonRateLimited, registrar.ReasonInvalidAnswer:
		return true
	default:
		return false
	}
}

// finding words an error of a probe as a condition. What only a person can mend
// is Stalled; it is probed again all the same.
func finding(err error) error {
	if known, ok := errors.AsType[*status.Error](err); ok {
		return known
	}
	reason := string(registrar.ReasonOf(err))
	switch registrar.Reason(reason) {
	case registrar.ReasonIssuerMismatch, registrar.ReasonUnauthorized:
		return status.StalledError(reason, "%v", err)
	case registrar.ReasonUnreachable, registrar.ReasonTimeout, registrar.ReasonTLSFailed, registrar.ReasonCredentialsRefused,
		registrar.ReasonCredentialsMissing,
		registrar.ReasonInvalidAnswer, registrar.ReasonServerError, registrar.ReasonRateLimited:
		return status.WaitingError(reason, registrar.RetryAfter(err), "%v", err)
	}
	// NotFound, Conflict and Invalid are no answers to what a probe asks.
	return status.WaitingError(v1alpha1.ReasonInvalidAnswer, 0, "%v", err)
}
