// SPDX-License-Identifier: Apache-2.0

package accesstoken

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/apply"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/plan"
	"connectedapps.dev/operator/internal/refresher"
)

// unwatchedPause is when to look again at a Secret that need not carry our label,
// so that no watch tells of it.
const unwatchedPause = 30 * time.Second

// readCredentials sets credentials and clientSecret, or says what is not there
// yet.
func (r *Reconciler) readCredentials(ctx context.Context, p *pass) (err error) {
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
	name := app.CredentialsSecretName()
	key := client.ObjectKey{Namespace: app.Namespace, Name: name}
	secret := &corev1.Secret{}
	err := r.Client.Get(ctx, key, secret)
	if apierrors.IsNotFound(err) {
		err = r.Live.Get(ctx, key, secret)
	}
	switch {
	case apierrors.IsNotFound(err):
		return nil, missing("waiting for Secret %s, which ConnectedApp %s names in spec.credentials.secret.name: somebody has to make it", name, app.Name)
	case err != nil:
		return nil, unread(err, "Secret "+name)
	case secret.Labels[v1alpha1.LabelSecret] != v1alpha1.SecretReferenced:
		return nil, missing("Secret %s of ConnectedApp %s does not have the label %s: %s, by which its owner lets it be read",
			name, app.Name, v1alpha1.LabelSecret, v1alpha1.SecretReferenced)
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

// tokenRequest is what a token is asked for with: who it is, of the Secrets of the
// namespace, and where to ask and whom to trust, of the TokenServer alone, since
// whoever may edit those Secrets could send the manager anywhere. The error is a
// *refresher.Error.
func (p *pass) tokenRequest() (*refresher.Credentials, error) {
	var spec *v1alpha1.CredentialsSecretSpec
	if c := p.app.Spec.Credentials; c != nil {
		spec = c.Secret
	}
	data := map[string][]byte{}
	take := func(from *corev1.Secret, name string) {
		if value, ok := from.Data[plan.SecretKey(spec, name)]; ok {
			data[name] = value
		}
	}
	for _, name := range []string{plan.KeyClientID, plan.KeyAuthMethod} {
		take(p.credentials, name)
	}
	take(p.clientSecret, plan.KeyClientSecret)
	for _, needed := range []struct {
		in   *corev1.Secret
		name string
	}{{p.credentials, plan.KeyClientID}, {p.clientSecret, plan.KeyClientSecret}} {
		if len(data[needed.name]) == 0 {
			return nil, &refresher.Error{
				Reason: refresher.ReasonCredentialsInvalid,
				Err:    fmt.Errorf("waiting for key %s of Secret %s", plan.SecretKey(spec, needed.name), needed.in.Name),
			}
		}
	}
	if id := string(data[plan.KeyClientID]); p.app.Status.ClientID != "" && id != p.app.Status.ClientID {
		return nil, &refresher.Error{
			Reason: refresher.ReasonCredentialsInvalid,
			Err: fmt.Errorf("waiting for key %s of Secret %s to be %s, which is the app's client id",
				plan.SecretKey(spec, plan.KeyClientID), p.credentials.Name, p.app.Status.ClientID),
		}
	}
	endpoint := p.connection.Discovery.TokenEndpoint
	credentials, err := refresher.ParseCredentials(data, cmp.Or(p.connection.Internal(endpoint), endpoint))
	if err != nil {
		return nil, err
	}
	credentials.CABundle = p.connection.CABundle
	return credentials, nil
}
