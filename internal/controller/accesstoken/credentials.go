// SPDX-License-Identifier: Apache-2.0

package accesstoken

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/apply"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/plan"
	"connectedapps.dev/operator/internal/refresher"
)

// unwatchedPause is when to look again at a Secret that need not carry our label,
// so that no watch tells of it.
const unwatchedPause = 30 * time.Second

// readCredentials sets credentials, clientSecret and grantSecret, or says what is
// not there yet.
func (r *Reconciler) readCredentials(ctx context.Context, p *pass) error {
	if err := r.readClient(ctx, p); err != nil {
		return err
	}
	return r.readGrant(ctx, p)
}

// readClient sets those of the app itself.
func (r *Reconciler) readClient(ctx context.Context, p *pass) (err error) {
	if p.app.CredentialsType() == v1alpha1.CredentialsExistingSecret {
		if p.clientSecret, err = r.shared(ctx, p.app); err != nil {
			return err
		}
	}
	if p.credentials, err = r.madeFor(ctx, p.app, p.app.PublishedSecretName()); err != nil {
		return err
	}
	if p.clientSecret == nil {
		p.clientSecret = p.credentials
	}
	return nil
}

// madeFor reads a Secret that the manager made for the app.
func (r *Reconciler) madeFor(ctx context.Context, app *v1alpha1.ConnectedApp, name string) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: app.Namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) || err == nil && !apply.Owned(secret, app) {
		return nil, missing("waiting for Secret %s, which the manager makes for ConnectedApp %s", name, app.Name)
	}
	if err != nil {
		return nil, unread(err, "Secret "+name)
	}
	return secret, nil
}

// shared reads the ExistingSecret, when its owner lets us.
func (r *Reconciler) shared(ctx context.Context, app *v1alpha1.ConnectedApp) (*corev1.Secret, error) {
	return r.referenced(ctx, app.Namespace, app.CredentialsSecretName(),
		fmt.Sprintf("which ConnectedApp %s names in spec.credentials.secret.name", app.Name), "of ConnectedApp "+app.Name)
}

// referenced reads a Secret that somebody else made, when its owner lets us. The
// last two say whose it is and where it is named.
func (r *Reconciler) referenced(ctx context.Context, namespace, name, named, whose string) (*corev1.Secret, error) {
	key := client.ObjectKey{Namespace: namespace, Name: name}
	secret := &corev1.Secret{}
	err := r.Client.Get(ctx, key, secret)
	if apierrors.IsNotFound(err) {
		err = r.Live.Get(ctx, key, secret)
	}
	switch {
	case apierrors.IsNotFound(err):
		return nil, missing("waiting for Secret %s, %s: somebody has to make it, with the label %s: %s, by which its owner lets it be read",
			name, named, v1alpha1.LabelSecret, v1alpha1.SecretReferenced)
	case err != nil:
		return nil, unread(err, "Secret "+name)
	case secret.Labels[v1alpha1.LabelSecret] != v1alpha1.SecretReferenced:
		return nil, missing("Secret %s %s does not have the label %s: %s, by which its owner lets it be read",
			name, whose, v1alpha1.LabelSecret, v1alpha1.SecretReferenced)
	}
	return secret, nil
}

func missing(format string, args ...any) error {
	return status.WaitingError(v1alpha1.ReasonAppNotReady, unwatchedPause, format, args...)
}

// withoutCredentials is the outcome without them: no news while there is a token
// that need not be replaced yet.
func (r *Reconciler) withoutCredentials(ctx context.Context, p *pass, err error) error {
	problem, ok := errors.AsType[*status.Error](err)
	if !ok || problem.Kind == status.Transient || !p.serves() {
		return err
	}
	switch decision := r.decide(p); decision.Action {
	case refresher.Keep:
		p.retry = problem.After
		return nil
	case refresher.Wait:
		return r.wait(ctx, p, decision)
	case refresher.Ask:
	}
	return r.failed(ctx, p, problem, problem)
}

// tokenRequest is what a token is asked for with. The error is a *refresher.Error.
func (p *pass) tokenRequest() (*refresher.Credentials, error) {
	c, err := p.client()
	if err != nil {
		return nil, err
	}
	if err := p.grant(c); err != nil {
		return nil, err
	}
	return c, c.Validate()
}

// client is as whom the manager asks the token server: who it is, of the Secrets of the
// namespace, and where to ask and whom to trust, of the TokenServer alone, since
// whoever may edit those Secrets could send the manager anywhere. The error is a
// *refresher.Error.
func (p *pass) client() (*refresher.Credentials, error) {
	endpoint := p.connection.Discovery.TokenEndpoint
	c := &refresher.Credentials{
		TokenURL: cmp.Or(p.connection.Internal(endpoint), endpoint), Issuer: p.connection.Issuer, CABundle: p.connection.CABundle,
	}
	var err error
	if c.ClientID, err = p.value(p.credentials, plan.KeyClientID); err != nil {
		return nil, err
	}
	if c.ClientID != p.app.Status.ClientID && p.app.Status.ClientID != "" {
		return nil, unusable("waiting for key %s of Secret %s to be %s, which is the app's client id",
			p.key(plan.KeyClientID), p.credentials.Name, p.app.Status.ClientID)
	}
	c.AuthMethod = oauth.AuthMethodNone
	if p.app.CredentialsType() != v1alpha1.CredentialsNone {
		if c.AuthMethod, err = p.value(p.credentials, plan.KeyAuthMethod); err != nil {
			c.AuthMethod = oauth.AuthMethodSecretPost // which every compatible server takes
		}
		if c.ClientSecret, err = p.value(p.clientSecret, plan.KeyClientSecret); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// key is what the spec of the app calls a value in its Secrets.
func (p *pass) key(name string) string {
	var spec *v1alpha1.CredentialsSecretSpec
	if c := p.app.Spec.Credentials; c != nil {
		spec = c.Secret
	}
	return plan.SecretKey(spec, name)
}

// value is one of the app's in a Secret.
func (p *pass) value(in *corev1.Secret, name string) (string, error) { return valueOf(in, p.key(name)) }

func valueOf(in *corev1.Secret, key string) (string, error) {
	// Editors add a newline.
	if value := strings.TrimRight(string(in.Data[key]), "\r\n"); value != "" {
		return value, nil
	}
	return "", unusable("waiting for key %s of Secret %s", key, in.Name)
}

func unusable(format string, args ...any) error {
	return &refresher.Error{Reason: refresher.ReasonCredentialsInvalid, Err: fmt.Errorf(format, args...)}
}
