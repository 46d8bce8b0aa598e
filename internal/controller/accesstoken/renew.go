// SPDX-License-Identifier: Apache-2.0

package accesstoken

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/refresher"
)

// lifetimePause is when to ask again a server whose tokens live too short.
const lifetimePause = 10 * time.Minute

// renew asks for a token and publishes it. While the one in the Secret is valid
// and for the same purpose, a failure is no news to its readers: it is tried
// again with backoff, and the status stays.
func (r *Reconciler) renew(ctx context.Context, p *pass) error {
	source := &refresher.EndpointSource{
		Credentials: func(context.Context) (*refresher.Credentials, error) { return p.tokenRequest() },
		Scope:       oauth.JoinScopes(p.token.Spec.Scopes),
	}
	fresh, err := source.Token(ctx)
	if err != nil {
		return r.failed(ctx, p, p.problemOf(err), refresher.RetryAfter(err))
	}
	if life := fresh.ExpiresAt.Sub(fresh.IssuedAt); life < r.MinimumLifetime {
		problem := status.StalledError(v1alpha1.ReasonLifetimeTooShort,
			"the tokens of TokenServer %s live %s; in a Secret they must live at least %s, since kubelets take up to two minutes to bring it to its readers: "+
				"use the refresher sidecar, or let the server issue tokens that live longer",
			p.app.TokenServerName(), life, r.MinimumLifetime)
		return r.failed(ctx, p, problem, lifetimePause)
	}
	r.memory.succeeded(p.name())
	issuedFor := ""
	if p.appReady() {
		// Otherwise the app is at work on a change, and the token will be
		// replaced when that is done.
		issuedFor = p.purpose()
	}
	if err := r.publish(ctx, p, &held{Token: fresh, issuedFor: issuedFor}); err != nil {
		return err
	}
	p.doubted = false
	return nil
}

// failed schedules the next try, and returns the problem when readers notice it.
func (r *Reconciler) failed(ctx context.Context, p *pass, problem *status.Error, retryAfter time.Duration) error {
	count, news := r.memory.failed(p.name(), problem.Message)
	p.retry = r.Backoff.Delay(count, retryAfter, nil)
	if !p.serves() {
		return problem
	}
	if news {
		log.FromContext(ctx).Info("refreshing the access token failed, the last one stays", "reason", problem.Reason, "message", problem.Message)
		r.event(p.token, corev1.EventTypeWarning, problem.Reason, actionRefresh, "the last token stays in Secret %s, valid until %s: %s",
			p.token.SecretName(), p.held.ExpiresAt.UTC().Format(time.RFC3339), problem.Message)
	}
	return r.publish(ctx, p, p.held)
}

// problemOf words a source's error as a condition. A refusal that a repetition
// cannot change is Stalled; it is repeated all the same, with backoff.
func (p *pass) problemOf(err error) *status.Error {
	app := p.app.Name
	switch refresher.ReasonOf(err) {
	case refresher.ReasonCredentialsInvalid:
		return status.WaitingError(v1alpha1.ReasonAppNotReady, 0,
			"the credentials of ConnectedApp %s in Secret %s are of no use yet: %v", app, p.credentials.Name, err)
	case refresher.ReasonRequestRefused:
		if e, ok := errors.AsType[*refresher.Error](err); ok && e.Code == oauth.CodeInvalidClient {
			return status.WaitingError(v1alpha1.ReasonTokenRefused, 0,
				"the token server does not take the client secret of ConnectedApp %s in Secret %s, which may have been replaced a moment ago, trying again: %v",
				app, p.clientSecret.Name, err)
		}
		return status.StalledError(v1alpha1.ReasonTokenRefused, "the token server gives ConnectedApp %s no token for %s: %v", app, p.scopes(), err)
	case refresher.ReasonServerUnavailable, refresher.ReasonCertificateInvalid, refresher.ReasonResponseInvalid, refresher.ReasonOutputFailed:
	}
	return status.WaitingError(v1alpha1.ReasonTokenServerUnavailable, 0, "no token of ConnectedApp %s can be had, trying again: %v", app, err)
}

// scopes are those that were asked for, in words.
func (p *pass) scopes() string {
	if len(p.token.Spec.Scopes) == 0 {
		return "all its scopes"
	}
	return fmt.Sprintf("spec.scopes %v", p.token.Spec.Scopes)
}
