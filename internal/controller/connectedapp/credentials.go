// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/apply"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/plan"
	"connectedapps.dev/operator/internal/registrar"
)

// overlap is how long earlier client secrets stay valid when another is made,
// so that whoever read one has time to read again.
const overlap = 24 * time.Hour

// maxSecrets bounds the list in the status.
const maxSecrets = 100

// credentials keeps the Secret, and the client secret in it valid.
type credentials struct {
	secrets *apply.Secrets
	now     time.Time
}

func (p credentials) reconcile(ctx context.Context, s *scope) error {
	if err := p.provide(ctx, s); err != nil {
		if errors.Is(err, apply.ErrNotOurs) {
			err = nameTaken(s.app)
		}
		return notPublished(s, remoteError(err))
	}
	name := s.app.CredentialsSecretName()
	if err := p.removeFormer(ctx, s, name); err != nil {
		return notPublished(s, err)
	}
	s.app.Status.Binding = &v1alpha1.SecretBinding{Name: name}
	status.True(s.app, v1alpha1.ConditionSecretPublished, v1alpha1.ReasonPublished, "credentials are in secret "+name)
	return nil
}

func (p credentials) provide(ctx context.Context, s *scope) error {
	if s.existing != nil {
		return p.handOver(ctx, s)
	}
	if err := p.makeSecret(ctx, s); err != nil {
		return err
	}
	return p.publish(ctx, s)
}

// makeSecret sees to it that there is a client secret to publish: the one in the
// Secret, the one that came with the registration, or a new one.
func (p credentials) makeSecret(ctx context.Context, s *scope) error {
	if s.live == nil {
		return nil // nothing called for a comparison
	}
	if len(p.actions(s)) == 0 {
		return nil
	}
	// The cache may not have the Secret that was written a moment ago, and
	// making a secret ends others.
	secret, err := p.secrets.GetLive(ctx, s.app, s.app.CredentialsSecretName())
	if err != nil {
		return err
	}
	s.secret, s.stored = secret, storedSecret(secret, s.app.Status.ClientID)
	for _, action := range p.actions(s) {
		if err := p.do(ctx, s, action); err != nil {
			return err
		}
		s.app.Status.Revision = "" // the answers do not tell the new one
	}
	return nil
}

func (p credentials) actions(s *scope) []plan.Action {
	live := *s.live
	live.Client = s.want // registration saw to it
	published := s.publishedID()
	if s.made != nil {
		published = s.made.id
	}
	former := make([]string, len(s.app.Status.Secrets))
	for i, secret := range s.app.Status.Secrets {
		former[i] = secret.ID
	}
	return plan.Make(plan.Input{
		Want: s.want, Live: &live, OwnSecret: s.ownSecret() && s.want.HasSecret(), Published: published, Former: former,
	}).Actions
}

func (p credentials) do(ctx context.Context, s *scope, action plan.Action) error {
	id := s.app.Status.ClientID
	if !s.connection.Discovery.Has(oauth.ExtensionSecrets) {
		return status.StalledError(v1alpha1.ReasonRejected,
			"client %s needs another secret, and the token server can only replace the one in use; delete and create the ConnectedApp to get a new client", id)
	}
	if action.Kind == plan.DeleteSecret {
		return s.connection.DeleteSecret(ctx, id, action.SecretID)
	}
	secret, err := s.connection.AddSecret(ctx, id, overlap)
	if err != nil {
		return err
	}
	s.made = &clientSecret{id: secret.ID, value: secret.ClientSecret}
	return nil
}

// publish writes the Secret where it differs.
func (p credentials) publish(ctx context.Context, s *scope) error {
	if s.connection == nil {
		return nil // nothing is pending, and the addresses in it are not known
	}
	secret := s.made
	if secret == nil {
		secret = s.stored
	}
	if secret == nil {
		secret = &clientSecret{}
	}
	live, written, err := p.secrets.Apply(ctx, s.app, s.secret, wantedSecret(s, *secret))
	if err != nil {
		return err
	}
	s.secret, s.stored = live, storedSecret(live, s.app.Status.ClientID)
	s.restored = written && s.wasReady
	p.record(s, secret.id)
	return nil
}

// record keeps the list of published secrets: this one, and earlier ones that
// the server still accepts.
func (p credentials) record(s *scope, id string) {
	var list []v1alpha1.ClientSecretStatus
	known := false
	for _, former := range s.app.Status.Secrets {
		known = known || former.ID == id
		if former.ID == id || s.live == nil || !s.live.SecretsKnown || stillAccepted(s.live.Secrets, former.ID) {
			list = append(list, former)
		}
	}
	if id != "" && !known {
		now := metav1.NewTime(p.now.Truncate(time.Second))
		list = append(list, v1alpha1.ClientSecretStatus{ID: id, CreatedAt: &now})
	}
	s.app.Status.Secrets = list[max(0, len(list)-maxSecrets):]
}

func stillAccepted(secrets []plan.Secret, id string) bool {
	return slices.ContainsFunc(secrets, func(s plan.Secret) bool { return s.ID == id })
}

// handOver gives the client the secret that somebody else provides.
func (p credentials) handOver(ctx context.Context, s *scope) error {
	if s.existing.version != s.app.Status.ReferencedSecretVersion || s.changed || s.replaced {
		if s.connection == nil {
			return errNoConnection(s.server)
		}
		_, err := s.connection.Update(ctx, s.app.Status.ClientID, registrar.Fields{ClientSecret: &s.existing.value})
		if registrar.IsInvalid(err) {
			return status.StalledError(v1alpha1.ReasonInvalidSecret,
				"the token server does not accept the client secret in secret %s; one that was replaced before cannot come back", s.app.CredentialsSecretName())
		}
		if err != nil {
			return err
		}
		s.app.Status.Revision = ""
		s.app.Status.ReferencedSecretVersion = s.existing.version
		s.app.Status.Secrets = nil
	}
	if id := s.existing.clientID; id != "" && id != s.app.Status.ClientID {
		return status.StalledError(v1alpha1.ReasonInvalidSecret,
			"secret %s names another client than %s, as which the app is registered", s.app.CredentialsSecretName(), s.app.Status.ClientID)
	}
	return nil
}

// removeFormer deletes the Secret of ours that the spec called by another name
// before, or that is no longer ours to make.
func (p credentials) removeFormer(ctx context.Context, s *scope, name string) error {
	former := s.app.Status.Binding
	if former == nil || former.Name == name {
		return nil
	}
	secret, err := p.secrets.Get(ctx, s.app, former.Name)
	if errors.Is(err, apply.ErrNotOurs) || err == nil && secret == nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for the former secret: %w", err)
	}
	return p.secrets.Delete(ctx, s.app, secret)
}
