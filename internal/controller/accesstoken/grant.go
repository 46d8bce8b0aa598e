// SPDX-License-Identifier: Apache-2.0

package accesstoken

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/apply"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/plan"
	"connectedapps.dev/operator/internal/refresher"
)

// Keys of the Secret of a password grant, and of a chain.
const (
	keyUsername     = "username"
	keyPassword     = "password"
	keyRefreshToken = "refresh-token"
)

// readGrant sets grantSecret, when the grant names one.
func (r *Reconciler) readGrant(ctx context.Context, p *pass) (err error) {
	if name := p.token.GrantSecretName(); name != "" {
		p.grantSecret, err = r.referenced(ctx, p.token.Namespace, name, "which spec.grant names", "of spec.grant")
	}
	return err
}

// grant fills in what a token is asked for with, beside the app's own credentials.
func (p *pass) grant(c *refresher.Credentials) (err error) {
	c.GrantType = plan.TokenGrantType(p.token.GrantType())
	switch grant := p.token.Spec.Grant; p.token.GrantType() {
	case v1alpha1.AccessTokenClientCredentials:
	case v1alpha1.AccessTokenRefreshToken:
		c.RefreshToken, err = p.refreshToken()
	case v1alpha1.AccessTokenPassword:
		if c.Username, err = valueOf(p.grantSecret, keyUsername); err == nil {
			c.Password, err = valueOf(p.grantSecret, keyPassword)
		}
	case v1alpha1.AccessTokenJWTBearer:
		c.Subject = grant.JWTBearer.Subject
		c.PrivateKey, err = valueOf(p.grantSecret, grant.JWTBearer.PrivateKeySecretRef.Key)
	}
	return err
}

// grantVersion tells one content of the grant's Secret from the next: another one
// asks for another token, and an edit of anything else does not. A password has too
// few possible values for a digest that readers of the token Secret see: its digest
// needs the client secret that the manager made, and without one the Secret's
// version has to do.
func (p *pass) grantVersion() string {
	if p.grantSecret == nil {
		return ""
	}
	switch grant := p.token.Spec.Grant; p.token.GrantType() {
	case v1alpha1.AccessTokenRefreshToken:
		return p.seedHash()
	case v1alpha1.AccessTokenJWTBearer:
		return p.keyHash(grant.JWTBearer.PrivateKeySecretRef.Key)
	case v1alpha1.AccessTokenPassword:
		if p.app.CredentialsType() != v1alpha1.CredentialsSecret {
			break
		}
		if secret, err := p.value(p.clientSecret, plan.KeyClientSecret); err == nil {
			return p.passwordHash(secret)
		}
	case v1alpha1.AccessTokenClientCredentials:
	}
	return string(p.grantSecret.UID) + "/" + p.grantSecret.ResourceVersion
}

// passwordHash tells one username and password from the next to who knows the
// client secret.
func (p *pass) passwordHash(clientSecret string) string {
	h := hmac.New(sha256.New, []byte(clientSecret))
	for _, key := range []string{keyUsername, keyPassword} {
		value, _ := valueOf(p.grantSecret, key) // what is missing is empty
		_, _ = fmt.Fprintf(h, "%d %s", len(value), value)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// A chain of refresh tokens begins with the seed, and each answer of the server
// brings the next one, which may be the only one that works from then on:
//
//	seed (of the user) ──► answer ──► chain Secret ──► token Secret
//	                         ▲             │
//	                         └── when due ─┘
//
// It is stored before the access token is published, so that a kill at any moment
// leaves either the refresh token that was used last, which the server takes once
// more, or its successor. Nothing but another seed begins anew.

// seedHash tells which seed a chain is of.
func (p *pass) seedHash() string { return p.keyHash(p.token.Spec.Grant.RefreshToken.SeedSecretRef.Key) }

// keyHash tells one value of the grant's Secret from the next; empty: there is none.
// The value is random and long, so that a digest tells nothing about it.
func (p *pass) keyHash(key string) string {
	value, err := valueOf(p.grantSecret, key)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:16])
}

// refreshToken is the last one of the chain of this seed, or the seed.
func (p *pass) refreshToken() (string, error) {
	if p.chain != nil && p.chain.Annotations[v1alpha1.AnnotationIssuedFor] == p.seedHash() {
		if token, err := valueOf(p.chain, keyRefreshToken); err == nil {
			return token, nil
		}
	}
	return valueOf(p.grantSecret, p.token.Spec.Grant.RefreshToken.SeedSecretRef.Key)
}

// readChain sets chain. It is read from the API server: a refresh token of a moment
// ago may be spent.
func (r *Reconciler) readChain(ctx context.Context, p *pass) error {
	if p.token.GrantType() != v1alpha1.AccessTokenRefreshToken {
		return nil
	}
	name := p.token.ChainSecretName()
	chain := &corev1.Secret{}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: p.token.Namespace, Name: name}, chain)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return unread(err, "Secret "+name)
	case !apply.Owned(chain, p.token):
		e := status.StalledError(v1alpha1.ReasonSecretNameTaken,
			"there is a Secret %s that this AccessToken did not make, and its refresh tokens are kept under that name: delete it", name)
		e.After = unwatchedPause
		return e
	}
	p.chain = chain
	return nil
}

// rotated remembers what an answer brought in place of the refresh token of the
// request, until keepChain has stored it.
func (r *Reconciler) rotated(p *pass, next string) {
	if spent, err := p.refreshToken(); err == nil && p.token.GrantType() == v1alpha1.AccessTokenRefreshToken && next != spent {
		r.memory.rotated(p.name(), spent, next)
	}
}

// keepChain stores the successor of the refresh token that was used last, if there
// is one. Until it is stored nothing is asked for: the answer would bring another.
// It never overwrites what another process stored meanwhile.
func (r *Reconciler) keepChain(ctx context.Context, p *pass) error {
	if p.token.GrantType() != v1alpha1.AccessTokenRefreshToken {
		return nil
	}
	var successor string
	spent, err := p.refreshToken()
	if err == nil {
		successor = r.memory.successor(p.name(), spent)
	}
	if successor == "" {
		return nil // why there is no refresh token, asking tells
	}
	name := p.token.ChainSecretName()
	next := &corev1.Secret{Type: corev1.SecretTypeOpaque}
	if p.chain != nil {
		next = p.chain.DeepCopy()
	}
	next.Namespace, next.Name = p.token.Namespace, name
	for label, value := range apply.Labels(nil, map[string]string{v1alpha1.LabelAccessToken: p.token.Name}) {
		metav1.SetMetaDataLabel(&next.ObjectMeta, label, value)
	}
	metav1.SetMetaDataAnnotation(&next.ObjectMeta, v1alpha1.AnnotationIssuedFor, p.seedHash())
	next.Data = map[string][]byte{keyRefreshToken: []byte(successor)}
	if p.chain == nil {
		if err = r.own(p.token, next); err == nil {
			err = r.Client.Create(ctx, next, client.FieldOwner(apply.ManagerAccessToken))
		}
	} else {
		err = r.Client.Patch(ctx, next, client.MergeFromWithOptions(p.chain, client.MergeFromWithOptimisticLock{}), client.FieldOwner(apply.ManagerAccessToken))
	}
	if err != nil {
		return refused(err, "Secret "+name)
	}
	p.chain = next
	r.memory.rotated(p.name(), "", "")
	return nil
}

// dropChain removes refresh tokens that nobody uses any more, since the grant is
// another.
func (r *Reconciler) dropChain(ctx context.Context, p *pass) error {
	if p.token.GrantType() == v1alpha1.AccessTokenRefreshToken || p.token.SecretName() == p.token.ChainSecretName() {
		return nil
	}
	key := client.ObjectKey{Namespace: p.token.Namespace, Name: p.token.ChainSecretName()}
	chain := &corev1.Secret{}
	err := r.Client.Get(ctx, key, chain)
	if apierrors.IsNotFound(err) || err == nil && !apply.Owned(chain, p.token) {
		return nil
	}
	if err != nil {
		return unread(err, "Secret "+key.Name)
	}
	return r.remove(ctx, p.token, key.Name)
}

func (r *Reconciler) own(token *v1alpha1.AccessToken, secret *corev1.Secret) error {
	reference, err := r.Secrets.Reference(token)
	if err != nil {
		return fmt.Errorf("making a reference to the owner: %w", err)
	}
	secret.OwnerReferences = append(secret.OwnerReferences, reference)
	return nil
}

// loginRequired is a chain that has ended.
func (p *pass) loginRequired(cause error) *status.Error {
	seed := p.token.Spec.Grant.RefreshToken.SeedSecretRef
	return status.StalledError(v1alpha1.ReasonLoginRequired,
		"the token server takes the refresh token of ConnectedApp %s no more, and only its user can begin anew: "+
			"put the refresh token of a new login into key %s of Secret %s: %v",
		p.app.Name, seed.Key, seed.Name, cause)
}
