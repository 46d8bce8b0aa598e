// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	corev1 "k8s.io/api/core/v1"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/plan"
)

// scope is what the phases of one reconciliation share.
type scope struct {
	// app is the working copy. The phases write its status.
	app *v1alpha1.ConnectedApp
	// wasReady tells whether this generation was Ready before the reconciliation:
	// then there is no work pending, and trouble of the server is not the app's.
	wasReady bool

	// server is the app's TokenServer; set by access.
	server *v1alpha1.TokenServer
	// connection is how to reach it; nil until it is usable. Set by access.
	connection *inventory.Connection
	// verdict is what the access rules say. Its Client lacks public keys until
	// references has read them. Set by access.
	verdict plan.Verdict
	// refusal is the outcome of an app that is not allowed, reported once what
	// is left of it was carried out; nil when it is allowed. Set by access.
	refusal *status.Error

	// want is the client as it should be. Set by references.
	want plan.Client
	// existing is the value of the ExistingSecret; nil for other types. Set by
	// references.
	existing *existingSecret
	// secret is the app's Secret as it was found; nil when there is none, or
	// when somebody else makes it. Set by references.
	secret *corev1.Secret
	// stored is the client secret in it; nil when it holds none that is known to
	// be as it was written. Set by references.
	stored *clientSecret

	// live is what the server holds; nil when it was not asked, because nothing
	// called for it. Set by registration.
	live *plan.Live
	// changed tells whether somebody else changed the client since it was last
	// compared. Set by registration.
	changed bool
	// replaced tells that the client was gone and was registered anew. Set by
	// registration.
	replaced bool
	// made is a client secret that was made in this reconciliation and is not
	// published yet; nil when there is none. Set by registration and credentials.
	made *clientSecret
	// drift and repaired are what somebody changed on the server, and whether it
	// was undone. Set by registration.
	drift    []plan.Change
	repaired bool
	// notKept are fields that the server was given and did not keep. Set by
	// registration.
	notKept []plan.Change
	// restored tells that the Secret was written although nothing new was wanted.
	// Set by credentials.
	restored bool
}

// clientSecret is a client secret and its id on the server.
type clientSecret struct {
	id, value string
}

// existingSecret is what was found in the Secret of type ExistingSecret.
type existingSecret struct {
	value, clientID string
	// version changes with every change of that Secret.
	version string
}

// ownSecret tells whether the manager makes the client secret.
func (s *scope) ownSecret() bool { return s.app.CredentialsType() == v1alpha1.CredentialsSecret }

// secretSpec says how the Secret is written; nil is the default.
func (s *scope) secretSpec() *v1alpha1.CredentialsSecretSpec {
	if s.app.Spec.Credentials == nil {
		return nil
	}
	return s.app.Spec.Credentials.Secret
}

// publishedID is the id of the client secret in the Secret, or empty.
func (s *scope) publishedID() string {
	if s.stored == nil {
		return ""
	}
	return s.stored.id
}
