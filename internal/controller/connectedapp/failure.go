// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/registrar"
)

// conflictRetry is the pause after the token server said that somebody else
// changes the client at the same time.
const conflictRetry = time.Second

// whatIsWrong says in a few words why a TokenServer cannot be used, for people
// who may not read it.
var whatIsWrong = map[string]string{
	v1alpha1.ReasonUnreachable:          "no connection",
	v1alpha1.ReasonTimeout:              "no answer in time",
	v1alpha1.ReasonTLSFailed:            "its certificate is not trusted",
	v1alpha1.ReasonServerError:          "it answers with failures of its own",
	v1alpha1.ReasonRateLimited:          "it asks to slow down",
	v1alpha1.ReasonInvalidAnswer:        "what answers is no token server",
	v1alpha1.ReasonCredentialsMissing:   "the manager's credentials for it are missing",
	v1alpha1.ReasonCredentialsRefused:   "it refuses the manager's credentials",
	v1alpha1.ReasonUnauthorized:         "the manager's credentials may not manage apps",
	v1alpha1.ReasonCABundleInvalid:      "its CA certificates cannot be read",
	v1alpha1.ReasonIssuerMismatch:       "it calls itself by another URL",
	v1alpha1.ReasonOrganizationNotFound: "it does not know the organization",
	v1alpha1.ReasonServerReplaced:       "another server has taken its place",
}

// errNoConnection is the outcome of work that needs a TokenServer which cannot
// be used. Its recovery brings the app back.
func errNoConnection(server *v1alpha1.TokenServer) *status.Error {
	ready := status.Get(server, v1alpha1.ConditionReady)
	if ready == nil || ready.ObservedGeneration != server.Generation || ready.Status == metav1.ConditionTrue {
		return status.WaitingError(v1alpha1.ReasonTokenServerUnavailable, recheck, "TokenServer %s has not been probed yet", server.Name)
	}
	return errUnavailable(server.Name, ready.Reason)
}

func errUnavailable(name, reason string) *status.Error {
	why := reason
	if text, ok := whatIsWrong[reason]; ok {
		why += ": " + text
	}
	return status.WaitingError(v1alpha1.ReasonTokenServerUnavailable, recheck,
		"TokenServer %s cannot be used at present (%s); the work goes on by itself when it can, the platform team sees more in its conditions", name, why)
}

// failure turns a failed call to the token server into what conditions show.
func (p *pass) failure(err error) error {
	var e *registrar.Error
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &e):
		return err
	case registrar.IsConflict(err):
		return &status.Error{Kind: status.Race, Reason: v1alpha1.ReasonRejected, After: conflictRetry, Cause: err,
			Message: "the token server refused for now: " + e.Message}
	case registrar.IsUnavailable(err) && e.Status != 0 && p.connection != nil && p.connection.Serves() && status.IsReady(p.server):
		// It serves others, so that its TokenServer says nothing of this.
		return status.TransientError(v1alpha1.ReasonRequestFailed, err, "%s failed at the token server (%s), which serves other requests; "+
			"it is tried again, the server's log says more", e.Op, answered(e))
	case registrar.IsUnavailable(err):
		unavailable := errUnavailable(p.in.Server.Name, string(e.Reason))
		unavailable.Kind, unavailable.Cause = status.Transient, err
		return unavailable
	case registrar.IsInvalid(err):
		return &status.Error{Kind: status.Stalled, Reason: v1alpha1.ReasonRejected, Message: "the token server refused: " + e.Message, Cause: err}
	}
	return status.TransientError(v1alpha1.ReasonRejected, err, "%s was refused by the token server (%s), trying again", e.Op, answered(e))
}

func answered(e *registrar.Error) string {
	if e.Status == 0 {
		return string(e.Reason)
	}
	return fmt.Sprintf("%s, status %d", e.Reason, e.Status)
}
