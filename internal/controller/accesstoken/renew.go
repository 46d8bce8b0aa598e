// SPDX-License-Identifier: Apache-2.0

package accesstoken

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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

// loginPause is when to try again what a person gave and the server refuses. A
// server that was restored may know a chain again, and one that sees a wrong
// password again and again locks its user out.
const loginPause = 10 * time.Minute

// renew asks for a token and publishes it. While the one in the Secret is valid
// and for the same purpose, a failure is no news to its readers: it is tried
// again with backoff, and the status stays.
func (r *Reconciler) renew(ctx context.Context, p *pass) error {
	if err := r.readChain(ctx, p); err != nil {
		return err
	}
	if err := r.keepChain(ctx, p); err != nil { // of an earlier pass
		return err
	}
	source := &refresher.EndpointSource{
		Credentials: func(context.Context) (*refresher.Credentials, error) { return p.tokenRequest() },
		Scope:       oauth.JoinScopes(p.token.Spec.Scopes),
		Transport:   r.Tracing.Transport,
		Rotated:     func(next string) { r.rotated(p, next) },
	}
	var fresh *refresher.Token
	err := r.guard(p, func() (err error) {
		fresh, err = source.Token(ctx)
		return err
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	p.now = r.now() // the token may have been issued long after the pass began
	if err := r.keepChain(ctx, p); err != nil {
		return err
	}
	if err != nil {
		return r.failed(ctx, p, r.problemOf(p, err), err)
	}
	if life := fresh.ExpiresAt.Sub(fresh.IssuedAt); life < r.MinimumLifetime {
		problem := status.StalledError(v1alpha1.ReasonLifetimeTooShort,
			"the tokens of TokenServer %s live %s; in a Secret they must live at least %s, since kubelets take up to two minutes to bring it to its readers: "+
				"use the refresher sidecar, or let the server issue tokens that live longer",
			p.app.TokenServerName(), life, r.MinimumLifetime)
		problem.After = lifetimePause
		return r.failed(ctx, p, problem, nil)
	}
	r.memory.succeeded(p.name())
	// While the app is at work on a change the purpose is not settled, and the
	// token will be replaced when it is.
	if err := r.publish(ctx, p, &refresher.Held{Token: fresh, Purpose: p.wantedPurpose()}); err != nil {
		return err
	}
	p.doubted = false
	return nil
}

// failed schedules the next try, and returns the problem when readers notice it.
// The problem says how long to wait unless something changes, the cause, which may
// be nil, how long the server asked to wait.
func (r *Reconciler) failed(ctx context.Context, p *pass, problem *status.Error, cause error) error {
	failures, _ := r.memory.failures(p.name())
	failures = failures.Add(cause, p.wantedPurpose(), p.now, r.Backoff)
	failures.Delay = max(failures.Delay, problem.After)
	news := r.memory.failed(p.name(), failures, problem)
	p.retry = failures.Delay
	if decision := r.decide(p); decision.Action != refresher.Ask {
		p.retry = decision.Until.Sub(p.now)
	}
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
func (r *Reconciler) problemOf(p *pass, err error) *status.Error {
	app := p.app.Name
	switch refresher.ReasonOf(err) {
	case refresher.ReasonCredentialsInvalid:
		return status.WaitingError(v1alpha1.ReasonAppNotReady, 0,
			"the credentials of ConnectedApp %s in %s are of no use yet: %v", app, p.sources(), err)
	case refresher.ReasonRequestRefused:
		refusal, _ := errors.AsType[*refresher.Error](err)
		if refusal.Code == oauth.CodeInvalidClient {
			r.doubt(p.app)
			if p.app.CredentialsType() == v1alpha1.CredentialsNone {
				return status.WaitingError(v1alpha1.ReasonTokenRefused, 0,
					"the token server does not take ConnectedApp %s as a client without a secret, trying again: %v", app, err)
			}
			return status.WaitingError(v1alpha1.ReasonTokenRefused, 0,
				"the token server does not take the client secret of ConnectedApp %s in Secret %s, which may have been replaced a moment ago, trying again: %v",
				app, p.clientSecret.Name, err)
		}
		problem := status.StalledError(v1alpha1.ReasonTokenRefused, "the token server gives ConnectedApp %s no token for %s: %v", app, p.scopes(), err)
		if refusal.Code != oauth.CodeInvalidGrant {
			return problem
		}
		switch p.token.GrantType() {
		case v1alpha1.AccessTokenRefreshToken:
			problem = p.loginRequired(err)
			problem.After = loginPause
		case v1alpha1.AccessTokenPassword:
			problem.After = loginPause
		case v1alpha1.AccessTokenClientCredentials, v1alpha1.AccessTokenJWTBearer:
		}
		return problem
	case refresher.ReasonServerUnavailable, refresher.ReasonCertificateInvalid, refresher.ReasonResponseInvalid, refresher.ReasonOutputFailed:
	}
	return status.WaitingError(v1alpha1.ReasonTokenServerUnavailable, 0, "no token of ConnectedApp %s can be had, trying again: %v", app, err)
}

// sources are the Secrets that a token is asked for with, in words.
func (p *pass) sources() string {
	names := []string{p.credentials.Name}
	for _, secret := range []*corev1.Secret{p.clientSecret, p.grantSecret} {
		if secret != nil && !slices.Contains(names, secret.Name) {
			names = append(names, secret.Name)
		}
	}
	if len(names) == 1 {
		return "Secret " + names[0]
	}
	return "Secrets " + strings.Join(names, " and ")
}

// scopes are those that were asked for, in words.
func (p *pass) scopes() string {
	if len(p.token.Spec.Scopes) == 0 {
		return "all its scopes"
	}
	return fmt.Sprintf("spec.scopes %v", p.token.Spec.Scopes)
}
