// SPDX-License-Identifier: Apache-2.0

package accesstoken

import (
	"context"
	"errors"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/plan"
	"connectedapps.dev/operator/internal/refresher"
)

// lifetimePause is when to ask again a server whose tokens live too short.
const lifetimePause = 10 * time.Minute

// renew asks for a token and publishes it. While the one in the Secret is valid
// and for the same purpose, a failure is no news to its readers: it is tried
// again with backoff, and the status stays.
func (r *Reconciler) renew(ctx context.Context, s *scope) error {
	source := &refresher.ClientSecretSource{
		Credentials: func(context.Context) (*refresher.Credentials, error) { return r.credentials(s) },
		Scope:       oauth.JoinScopes(s.token.Spec.Scopes),
	}
	fresh, err := source.Token(ctx)
	if err != nil {
		return r.failed(ctx, s, problemOf(err), refresher.RetryAfter(err))
	}
	if life := fresh.ExpiresAt.Sub(fresh.IssuedAt); life < r.MinimumLifetime {
		problem := status.StalledError(v1alpha1.ReasonLifetimeTooShort,
			"the token server's tokens live %s; in a Secret they must live at least %s, since kubelets take up to two minutes to bring it to its readers",
			life, r.MinimumLifetime)
		return r.failed(ctx, s, problem, lifetimePause)
	}
	r.failures.forget(s.token.UID)
	issuedFor := ""
	if s.appReady() {
		// Otherwise the app is at work on a change, and the token will be
		// replaced when that is done.
		issuedFor = s.purpose()
	}
	return r.publish(ctx, s, &held{Token: fresh, issuedFor: issuedFor})
}

// failed schedules the next try, and returns the problem when readers notice it.
func (r *Reconciler) failed(ctx context.Context, s *scope, problem *status.Error, retryAfter time.Duration) error {
	count, news := r.failures.add(s.token.UID, problem.Reason)
	s.retry = r.Backoff.Delay(count, retryAfter, nil)
	if !s.valid() || s.appReady() && s.held.issuedFor != s.purpose() {
		return problem
	}
	if news {
		log.FromContext(ctx).Info("refreshing the access token failed, the last one stays", "reason", problem.Reason, "message", problem.Message)
		r.Recorder.Eventf(s.token, nil, "Warning", problem.Reason, "Refresh", "the last token stays, valid until %s: %s",
			s.held.ExpiresAt.UTC().Format(time.RFC3339), problem.Message)
	}
	return r.publish(ctx, s, s.held)
}

// problemOf words a source's error as a condition. A refusal that a repetition
// cannot change is Stalled; it is repeated all the same, with backoff.
func problemOf(err error) *status.Error {
	e, ok := errors.AsType[*refresher.Error](err)
	if !ok {
		return status.WaitingError(v1alpha1.ReasonTokenServerUnavailable, 0, "asking for the token was given up")
	}
	switch e.Reason {
	case refresher.ReasonCredentialsInvalid:
		return status.WaitingError(v1alpha1.ReasonAppNotReady, 0, "%v", err)
	case refresher.ReasonRequestRefused:
		if e.Code == oauth.CodeInvalidClient {
			// The secret may have been rotated a moment ago.
			return status.WaitingError(v1alpha1.ReasonTokenRefused, 0, "%v", err)
		}
		return status.StalledError(v1alpha1.ReasonTokenRefused, "%v", err)
	case refresher.ReasonServerUnavailable, refresher.ReasonResponseInvalid, refresher.ReasonOutputFailed:
	}
	return status.WaitingError(v1alpha1.ReasonTokenServerUnavailable, 0, "%v", err)
}

// credentials are those of the app's Secret. One that the manager made has all
// of it; one of somebody else has the client secret alone.
func (r *Reconciler) credentials(s *scope) (*refresher.Credentials, error) {
	var spec *v1alpha1.CredentialsSecretSpec
	if c := s.app.Spec.Credentials; c != nil {
		spec = c.Secret
	}
	data := map[string][]byte{}
	for _, name := range []string{
		plan.KeyClientID, plan.KeyClientSecret, plan.KeyTokenURL, plan.KeyInternalTokenURL, plan.KeyAuthMethod, plan.KeyCA,
	} {
		if value, ok := s.credentials.Data[plan.SecretKey(spec, name)]; ok {
			data[name] = value
		}
	}
	if s.app.CredentialsType() == v1alpha1.CredentialsExistingSecret {
		return r.withEndpoint(s, data)
	}
	return refresher.ParseCredentials(data, "")
}

func (r *Reconciler) withEndpoint(s *scope, data map[string][]byte) (*refresher.Credentials, error) {
	connection, ok := r.Connections.Get(s.app.TokenServerName())
	if !ok {
		return nil, &refresher.Error{Reason: refresher.ReasonServerUnavailable, Err: errors.New("the TokenServer is not ready")}
	}
	address := connection.Discovery.TokenEndpoint
	if connection.InternalURL != "" {
		address = connection.InternalURL + oauth.PathToken
	}
	return refresher.ParseCredentials(map[string][]byte{
		plan.KeyClientID:     []byte(s.app.Status.ClientID),
		plan.KeyClientSecret: data[plan.KeyClientSecret],
		plan.KeyCA:           connection.CABundle,
	}, address)
}
