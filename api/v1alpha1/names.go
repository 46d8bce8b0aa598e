// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Labels, annotations and finalizers. All of them live under
// connectedapps.dev/ or a subdomain of it.
const (
	// LabelSecret marks a Secret the manager may see: SecretManaged on those it
	// makes, SecretReferenced on those whose owner lets it read them. Secrets
	// without it are not in the manager's cache.
	LabelSecret = "connectedapps.dev/secret"
	// SecretManaged is the value of LabelSecret on Secrets the manager made.
	SecretManaged = "managed"
	// SecretReferenced is the value of LabelSecret by which an owner opts a
	// Secret in to be read for an object that names it.
	SecretReferenced = "referenced"

	// LabelConnectedApp names, on a Secret, the ConnectedApp it belongs to.
	LabelConnectedApp = "connectedapps.dev/connected-app"
	// LabelAccessToken names, on a Secret, the AccessToken it belongs to.
	LabelAccessToken = "connectedapps.dev/access-token"

	// AnnotationClientID holds, on a credentials Secret, the client its
	// credentials belong to.
	AnnotationClientID = "connectedapps.dev/client-id"
	// AnnotationSecretID holds, on a credentials Secret, the token server's id
	// of the client secret in it.
	AnnotationSecretID = "connectedapps.dev/secret-id"
	// AnnotationSecretHash holds, on a credentials Secret, a hash of the client
	// secret in it, by which an edit is noticed.
	AnnotationSecretHash = "connectedapps.dev/secret-hash"
	// LabelTombstone marks ConfigMaps in the manager's namespace that remember a
	// client whose server did not answer when it was to be deleted.
	LabelTombstone = "connectedapps.dev/tombstone"
	// AnnotationIssuedAt, on a token Secret, is when its token was issued.
	AnnotationIssuedAt = "connectedapps.dev/issued-at"
	// AnnotationIssuedFor, on a token Secret, is a digest of the client, secret
	// and scopes its token was issued for.
	AnnotationIssuedFor = "connectedapps.dev/issued-for"
	// AnnotationContentHash, on a token Secret, is a digest of its data: data
	// that somebody changed is replaced.
	AnnotationContentHash = "connectedapps.dev/content-hash"
	// AnnotationRefreshRequestedAt asks for a new token now; any new value
	// does, the time by habit. status.lastHandledRefreshAt repeats it when it
	// was done.
	AnnotationRefreshRequestedAt = "connectedapps.dev/refresh-requested-at"
	// AnnotationRotateRequestedAt, on a ConnectedApp, asks for another client
	// secret now; any new value does, the time by habit.
	// status.lastHandledRotateAt repeats it when it was done.
	AnnotationRotateRequestedAt = "connectedapps.dev/rotate-requested-at"
	// AnnotationAcceptServer, on a TokenServer, accepts a server that took the
	// place of the one that apps are registered on, or lost many of their clients:
	// its installation id (or issuer), "@" and the time of the finding, as the
	// condition shows it.
	AnnotationAcceptServer = "connectedapps.dev/accept-server"

	// AnnotationAdoptClientID, on a ConnectedApp that has no client, names one on
	// the token server that it takes over, or that is registered for it under that id
	// where there is none and an access rule lists the id. Taking it off later changes
	// nothing.
	AnnotationAdoptClientID = "connectedapps.dev/adopt-client-id"
	// LabelClientOwner marks ConfigMaps in the manager's namespace that remember
	// whose a client is where the token server does not tell: its value is the UID of
	// that ConnectedApp. LabelClient stands for the client id, which can be anything.
	LabelClientOwner = "connectedapps.dev/client-owner"
	LabelClient      = "connectedapps.dev/client"

	// AnnotationsRestart is before the names of what the manager notes on workloads
	// that it restarts, and on their Pod templates.
	AnnotationsRestart = "restart.connectedapps.dev/"

	// Finalizer keeps an object until what it made on a token server is gone.
	Finalizer = "connectedapps.dev/finalizer"
)

// DefaultTokenServer is the TokenServer of an object that names none.
const DefaultTokenServer = "default"
