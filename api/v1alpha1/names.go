// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Labels, annotations and finalizers. All of them live under
// connectedapps.dev/ or a subdomain of it. Each comment ends with the objects that
// have it and with who sets it, for the page that is made of them.
const (
	// LabelSecret marks a Secret the manager may see: SecretManaged on those it
	// makes, SecretReferenced on those whose owner lets it read them. Secrets
	// without it are not in the manager's cache.
	// On: Secrets. Set by: the manager, or the owner of a Secret.
	LabelSecret = "connectedapps.dev/secret"
	// SecretManaged is the value of LabelSecret on Secrets the manager made.
	SecretManaged = "managed"
	// SecretReferenced is the value of LabelSecret by which an owner opts a
	// Secret in to be read for an object that names it.
	SecretReferenced = "referenced"

	// LabelConnectedApp names the ConnectedApp that it was made for.
	// On: credentials Secrets and ConfigMaps. Set by: the manager.
	LabelConnectedApp = "connectedapps.dev/connected-app"
	// LabelAccessToken names the AccessToken that it was made for.
	// On: token Secrets, those of refresh tokens included. Set by: the manager.
	LabelAccessToken = "connectedapps.dev/access-token"

	// AnnotationClientID is the client that the credentials belong to.
	// On: credentials Secrets and ConfigMaps. Set by: the manager.
	AnnotationClientID = "connectedapps.dev/client-id"
	// AnnotationSecretID is the token server's id of the client secret in it.
	// On: credentials Secrets. Set by: the manager.
	AnnotationSecretID = "connectedapps.dev/secret-id"
	// AnnotationSecretHash is a hash of the client secret in it, by which an edit is
	// noticed.
	// On: credentials Secrets. Set by: the manager.
	AnnotationSecretHash = "connectedapps.dev/secret-hash"
	// LabelTombstone marks what remembers a client whose server did not answer when
	// it was to be deleted.
	// On: ConfigMaps of the manager's namespace. Set by: the manager.
	LabelTombstone = "connectedapps.dev/tombstone"
	// AnnotationIssuedAt is when the token was issued.
	// On: token Secrets. Set by: the manager, or the refresher.
	AnnotationIssuedAt = "connectedapps.dev/issued-at"
	// AnnotationIssuedFor is a digest of the client, secret and scopes that the token
	// was issued for, or of the first refresh token of a chain.
	// On: token Secrets, those of refresh tokens included. Set by: the manager, or the
	// refresher.
	AnnotationIssuedFor = "connectedapps.dev/issued-for"
	// AnnotationContentHash is a digest of the data: data that somebody changed is
	// replaced.
	// On: token Secrets. Set by: the manager, or the refresher.
	AnnotationContentHash = "connectedapps.dev/content-hash"
	// AnnotationRefreshRequestedAt asks for a new token now; any new value
	// does, the time by habit. status.lastHandledRefreshAt repeats it when it
	// was done.
	// On: AccessTokens. Set by: whoever wants one.
	AnnotationRefreshRequestedAt = "connectedapps.dev/refresh-requested-at"
	// AnnotationRotateRequestedAt asks for another client secret now; any new value
	// does, the time by habit. status.lastHandledRotateAt repeats it when it was done.
	// On: ConnectedApps. Set by: whoever wants one, as kubectl connectedapp rotate does.
	AnnotationRotateRequestedAt = "connectedapps.dev/rotate-requested-at"
	// AnnotationAcceptServer accepts a server that took the place of the one that apps
	// are registered on, or lost many of their clients: its installation id (or
	// issuer), "@" and the time of the finding, as the condition shows it.
	// On: TokenServers. Set by: the platform team.
	AnnotationAcceptServer = "connectedapps.dev/accept-server"

	// AnnotationAdoptClientID names a client on the token server that an app without
	// one takes over, or the id that it is registered under where there is no such
	// client and an access rule lists the id. Taking it off later changes nothing.
	// On: ConnectedApps. Set by: the app team.
	AnnotationAdoptClientID = "connectedapps.dev/adopt-client-id"
	// LabelClientOwner marks what remembers whose a client is where the token server
	// does not tell: its value is the UID of that ConnectedApp.
	// On: ConfigMaps of the manager's namespace. Set by: the manager.
	LabelClientOwner = "connectedapps.dev/client-owner"
	// LabelClient stands for the client's id there, which can be anything.
	// On: ConfigMaps of the manager's namespace. Set by: the manager.
	LabelClient = "connectedapps.dev/client"

	// AnnotationsRestart is before the names of Secrets and ConfigMaps whose content a
	// workload was restarted for, and before "at", the time of that.
	// On: workloads that restart names, and their Pod templates. Set by: the manager.
	AnnotationsRestart = "restart.connectedapps.dev/"

	// Finalizer keeps an object until what it made on a token server is gone, and a
	// TokenServer while apps use it.
	// On: ConnectedApps, AccessTokens that are revoked and TokenServers. Set by: the
	// manager.
	Finalizer = "connectedapps.dev/finalizer"
)

// DefaultTokenServer is the TokenServer of an object that names none.
const DefaultTokenServer = "default"
