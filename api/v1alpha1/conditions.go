// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Types of conditions. Ready, Reconciling and Stalled follow kstatus
// (https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md):
// Ready is there unless the object is suspended, the other two only while they are
// True, and never both.
//
// The lists here and below are what docs/reference/conditions.md is made of: the kinds
// and what each status says; of reasons the kinds, the conditions and Events that show
// it, and what to do.
const (
	// ConditionReady summarises the others.
	//
	//   - ConnectedApp True: The client is registered as the spec says, and the
	//     Secret holds valid credentials.
	//   - ConnectedApp False: The reason and message say what is missing.
	//   - ConnectedApp Unknown: For a moment after each edit.
	//   - ConnectedApp Absent: It is suspended, and something waits for the end of
	//     that.
	//   - AccessToken True: The Secret holds a valid token as the spec asks for it.
	//   - AccessToken False: The reason and message say what is missing.
	//   - AccessToken Unknown: The manager is at work on a change.
	//   - AccessToken Absent: It is suspended, without a token that is known to be
	//     valid.
	//   - TokenServer True: The server can be reached, is the right one, and can be
	//     managed.
	//   - TokenServer False: The reason and message say what is wrong.
	//   - TokenServer Unknown: The manager is at work on a change.
	ConditionReady = "Ready"
	// ConditionReconciling is there while something is still to come.
	//
	//   - ConnectedApp and AccessToken True: The manager works or waits.
	//   - TokenServer True: Something is missing or in trouble, and time or a watch
	//     may mend it.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is there while nothing comes by itself.
	//
	//   - ConnectedApp True: Only a change by a person helps.
	//   - AccessToken True: Only a change by a person helps. What was refused is
	//     tried again all the same.
	//   - TokenServer True: Only a change by a person helps. It is probed again all
	//     the same.
	ConditionStalled = "Stalled"

	// ConditionPolicyAccepted is what the access rules of the TokenServer say.
	//
	//   - ConnectedApp True: An access rule allows all of the spec.
	//   - ConnectedApp False: None does.
	ConditionPolicyAccepted = "PolicyAccepted"
	// ConditionRegistered is about the client on the token server.
	//
	//   - ConnectedApp True: It is as the spec says, as far as that is allowed.
	//   - ConnectedApp False: It is not, or not yet.
	ConditionRegistered = "Registered"
	// ConditionSecretPublished is about the Secret with the credentials.
	//
	//   - ConnectedApp True: It holds credentials that the server accepts.
	//   - ConnectedApp False: It does not, or not yet.
	ConditionSecretPublished = "SecretPublished"
	// ConditionDrifted is about changes that somebody made on the server.
	//
	//   - ConnectedApp True: Somebody changed the client, and it is left so, or not
	//     mended yet.
	//   - ConnectedApp False: Such a change is undone, or is gone.
	//   - ConnectedApp Absent: There never was one.
	ConditionDrifted = "Drifted"
	// ConditionRotating is about client secrets beside the one in the Secret.
	//
	//   - ConnectedApp True: Some that were replaced are still accepted.
	//   - ConnectedApp False: A rotation was asked for that is not carried out.
	//   - ConnectedApp Absent: Neither.
	ConditionRotating = "Rotating"

	// ConditionTokenFresh is about the token in the Secret.
	//
	//   - AccessToken True: It is valid.
	//   - AccessToken False: There is none, or it has expired.
	//   - AccessToken Unknown: It has not expired, but its app is, or was since, in
	//     trouble.
	ConditionTokenFresh = "TokenFresh"

	// ConditionWorkloadsCurrent is about the workloads that restart names.
	//
	//   - ConnectedApp and AccessToken True: Each was rolled out since the content
	//     of the Secret changed, as far as it was running.
	//   - ConnectedApp and AccessToken False: One waits for its roll-out, is not
	//     there, or cannot be rolled out.
	//   - ConnectedApp and AccessToken Absent: None is named.
	ConditionWorkloadsCurrent = "WorkloadsCurrent"
)

// Reasons any kind may show.
const (
	// ReasonReady: all is as the spec says.
	//
	//   - ConnectedApp Ready=True.
	//   - AccessToken Ready=True.
	//   - TokenServer Ready=True.
	ReasonReady = "Ready"
	// ReasonProgressing: the manager is at work on a change.
	//
	//   - ConnectedApp Ready=Unknown, Reconciling: Wait.
	//   - AccessToken Ready=Unknown, Reconciling, TokenFresh=False: Wait.
	//   - TokenServer Ready=Unknown, Reconciling: Wait.
	ReasonProgressing = "Progressing"
	// ReasonSuspended: the spec has suspend true, and nothing waits for its end.
	//
	//   - ConnectedApp Ready=True, Events: Remove suspend.
	//   - AccessToken Ready=True, Events: Remove suspend.
	ReasonSuspended = "Suspended"
	// ReasonDeleting: the object is being deleted.
	//
	//   - ConnectedApp Ready=False, Reconciling: Wait; the message says what the
	//     deletion waits for.
	ReasonDeleting = "Deleting"
	// ReasonSecretNameTaken: there is a Secret, or ConfigMap, of that name that
	// somebody else made, or an earlier object; it was left as it is, and the
	// message says whose it is.
	//
	//   - ConnectedApp Ready=False, Stalled, SecretPublished=False: Name another
	//     Secret, or remove the one that is there.
	//   - AccessToken Ready=False, Stalled: Name another Secret, or remove the one
	//     that is there.
	ReasonSecretNameTaken = "SecretNameTaken"
	// ReasonSecretContested: somebody else keeps changing or deleting the Secret;
	// repairs become rarer.
	//
	//   - ConnectedApp Ready=False, Reconciling, SecretPublished=False: Take the
	//     Secret out of what the field manager in the message applies, or name
	//     another.
	//   - AccessToken Ready=False, Reconciling, TokenFresh=False: Take the Secret
	//     out of what the field manager in the message applies, or name another.
	ReasonSecretContested = "SecretContested"
	// ReasonWriteFailed: the API server refused a write, for the reason in the
	// message, such as a quota; or it failed, and the manager's log says why.
	//
	//   - ConnectedApp Ready=False, Stalled or Reconciling, SecretPublished=False:
	//     Mend what the message says, or ask the platform team for the manager's
	//     log; it is tried again.
	//   - AccessToken Ready=False, Stalled or Reconciling: Mend what the message
	//     says, or ask the platform team for the manager's log; it is tried again.
	//   - TokenServer Ready=False, Reconciling: Mend what the message says, or ask
	//     the platform team for the manager's log; it is tried again.
	ReasonWriteFailed = "WriteFailed"
	// ReasonTokenServerNotFound: there is no TokenServer of that name.
	//
	//   - ConnectedApp Ready=False, Reconciling, Registered=False: Correct the name
	//     in a new ConnectedApp, or ask the platform team for it.
	ReasonTokenServerNotFound = "TokenServerNotFound"
	// ReasonTokenServerUnavailable: the TokenServer cannot be used, or gives no
	// answer that is one; the message says why in a few words.
	//
	//   - ConnectedApp Ready=False, Reconciling, Registered=False,
	//     SecretPublished=False: Wait; it goes on by itself. The platform team sees
	//     more in the conditions of the TokenServer.
	//   - AccessToken Ready=False, Reconciling: Wait; it goes on by itself. The
	//     platform team sees more in the conditions of the TokenServer.
	ReasonTokenServerUnavailable = "TokenServerUnavailable"
)

// Reasons of the condition WorkloadsCurrent.
const (
	// ReasonUpToDate: no workload of restart waits for a roll-out.
	//
	//   - ConnectedApp and AccessToken WorkloadsCurrent=True.
	ReasonUpToDate = "UpToDate"
	// ReasonRestartPending: what is published changed, and workloads are rolled out
	// at the time in the message, together with what else changes until then.
	//
	//   - ConnectedApp and AccessToken WorkloadsCurrent=False: Wait; the message
	//     says when the workloads are rolled out.
	ReasonRestartPending = "RestartPending"
	// ReasonWorkloadNotFound: a workload of restart is not there.
	//
	//   - ConnectedApp and AccessToken WorkloadsCurrent=False, Events: Create the
	//     workload, or take it off restart. It is looked for every 5 minutes.
	ReasonWorkloadNotFound = "WorkloadNotFound"
	// ReasonRestartRefused: a workload of restart cannot be rolled out: the manager
	// lacks the right, or a manifest or policy is against it.
	//
	//   - ConnectedApp and AccessToken WorkloadsCurrent=False, Events: Do what the
	//     message says: mostly the platform team has to grant a right
	//     (docs/token-delivery.md#restarts).
	ReasonRestartRefused = "RestartRefused"
)

// Reasons of a ConnectedApp.
const (
	// ReasonAccepted: an access rule allows the app; the message names it.
	//
	//   - ConnectedApp PolicyAccepted=True.
	ReasonAccepted = "Accepted"
	// ReasonNotAllowed: no access rule of the TokenServer allows all of the app. The
	// message names the nearest, what it lacks and what it allows instead. What is
	// allowed works.
	//
	//   - ConnectedApp Ready=False, Stalled, PolicyAccepted=False: Ask for less, or
	//     the platform team for a rule.
	ReasonNotAllowed = "NotAllowed"
	// ReasonRegistered: the client is as the spec says, as far as it is allowed. The
	// message may name scopes that the server does not know.
	//
	//   - ConnectedApp Registered=True.
	ReasonRegistered = "Registered"
	// ReasonRejected: the token server refused; its words are in the message.
	//
	//   - ConnectedApp Ready=False, Stalled or Reconciling, Registered=False,
	//     SecretPublished=False: Correct the spec. When it is Reconciling it is
	//     tried again.
	ReasonRejected = "Rejected"
	// ReasonInvalidPublicKey: a public key cannot be read, or is of a kind that is
	// not accepted.
	//
	//   - ConnectedApp Ready=False, Stalled, Registered=False: Correct the key: one
	//     PEM block, RSA from 2048 bits, EC or Ed25519.
	ReasonInvalidPublicKey = "InvalidPublicKey"
	// ReasonConfigMapNotFound: a ConfigMap that publicKeys names, or its key, is not
	// there.
	//
	//   - ConnectedApp Ready=False, Reconciling, Registered=False: Create the
	//     ConfigMap, or its key.
	ReasonConfigMapNotFound = "ConfigMapNotFound"
	// ReasonOwnedElsewhere: the client id in the status, or in the annotation
	// adopt-client-id, is another object's client, in this cluster or another, or
	// the manager's own, or one that nothing proves to be this app's
	// (docs/spec/v1alpha1/connectedapps.md#servers-without-our-extensions); nothing
	// was changed.
	//
	//   - ConnectedApp Ready=False, Stalled, Registered=False: Find out who wrote
	//     the status or the annotation. To register a client of its own, delete the
	//     object and apply it again without the annotation.
	ReasonOwnedElsewhere = "OwnedElsewhere"
	// ReasonAdoptionRefused: the app may not adopt the client that its annotation
	// names (docs/spec/v1alpha1/connectedapps.md#adopt-a-client), or has another;
	// the message says why.
	//
	//   - ConnectedApp Ready=False, Stalled, Registered=False: Do what the message
	//     says, or take the annotation off.
	ReasonAdoptionRefused = "AdoptionRefused"
	// ReasonClientNotFound: there is no client of the id in the annotation
	// adopt-client-id.
	//
	//   - ConnectedApp Ready=False, Reconciling, Registered=False: Correct the
	//     annotation, or take it off to have a new client registered.
	ReasonClientNotFound = "ClientNotFound"
	// ReasonSecretlessNotPossible: the token server does not authenticate apps of
	// this credentials.type, or does not know the cluster; nothing was changed.
	//
	//   - ConnectedApp Ready=False, Stalled, Registered=False: Do what the message
	//     says, mostly with the platform team.
	ReasonSecretlessNotPossible = "SecretlessNotPossible"
	// ReasonPublished: the Secret, or ConfigMap, that the message names holds what
	// the app needs.
	//
	//   - ConnectedApp SecretPublished=True.
	ReasonPublished = "Published"
	// ReasonWaitingForSecret: the ExistingSecret is not there, or lacks its key.
	//
	//   - ConnectedApp Ready=False, Reconciling, SecretPublished=False: Create the
	//     Secret, or its key, with the label connectedapps.dev/secret: referenced.
	ReasonWaitingForSecret = "WaitingForSecret"
	// ReasonSecretNotShared: the ExistingSecret may not be read.
	//
	//   - ConnectedApp Ready=False, Reconciling, SecretPublished=False: Label the
	//     Secret connectedapps.dev/secret: referenced.
	ReasonSecretNotShared = "SecretNotShared"
	// ReasonInvalidSecret: the value in the ExistingSecret cannot be a client
	// secret, which has 16 to 256 printable ASCII characters and was never replaced
	// before; or the ExistingSecret names another client.
	//
	//   - ConnectedApp Ready=False, Stalled, SecretPublished=False: Put a new value
	//     there, or leave the client id out of it.
	ReasonInvalidSecret = "InvalidSecret"
	// ReasonDisabled: the spec has enabled false, or access rules leave nothing useful
	// of the app: it gets no tokens.
	//
	//   - ConnectedApp Ready=True, Registered=True: Take enabled: false out, or see
	//     NotAllowed.
	ReasonDisabled = "Disabled"
	// ReasonRequestFailed: the token server failed at this app, and serves others.
	// The message says at which request.
	//
	//   - ConnectedApp Ready=False, Reconciling, Registered=False,
	//     SecretPublished=False: Wait; it is tried again, at the latest with the
	//     next comparison. The server's log says more.
	ReasonRequestFailed = "RequestFailed"
	// ReasonTokenServerDeleting: the TokenServer is being deleted, and no new client
	// is registered on it.
	//
	//   - ConnectedApp Ready=False, Reconciling, Registered=False: Ask the platform
	//     team to create it again, or name another in a new ConnectedApp.
	ReasonTokenServerDeleting = "TokenServerDeleting"
	// ReasonDriftDetected: somebody changed the client, and it is left so
	// (docs/spec/v1alpha1/connectedapps.md#drift), or not mended yet. When the client
	// is gone, Ready, Stalled and Registered say so, too.
	//
	//   - ConnectedApp Drifted=True, Ready=False, Stalled, Registered=False, Events:
	//     Change the spec or the server, or set driftPolicy Repair.
	ReasonDriftDetected = "DriftDetected"
	// ReasonDriftRepaired: such a change is undone; the message names it.
	//
	//   - ConnectedApp Drifted=False, Events: Find out who it was.
	ReasonDriftRepaired = "DriftRepaired"
	// ReasonNoDrift: an earlier change is gone.
	//
	//   - ConnectedApp Drifted=False.
	ReasonNoDrift = "NoDrift"
	// ReasonOverlap: a client secret that was replaced is accepted until its end, or
	// until it is known that nobody needs it
	// (docs/spec/v1alpha1/connectedapps.md#rotation).
	//
	//   - ConnectedApp Rotating=True.
	ReasonOverlap = "Overlap"
	// ReasonFormerSecretUsed: a client secret was used after it was replaced.
	//
	//   - ConnectedApp Rotating=True: Find out who has not read the Secret again
	//     before the end in the message.
	ReasonFormerSecretUsed = "FormerSecretUsed"
	// ReasonFormerSecretHeld: Pods that the message names took a client secret when
	// they started, before it was replaced.
	//
	//   - ConnectedApp Rotating=True: Restart the Pods before the end in the
	//     message.
	ReasonFormerSecretHeld = "FormerSecretHeld"
	// ReasonRotationNotPossible: a rotation was asked for that is not carried out;
	// the message says why.
	//
	//   - ConnectedApp Rotating=False: Do what the message says.
	ReasonRotationNotPossible = "RotationNotPossible"
)

// Reasons of a TokenServer.
const (
	// ReasonCredentialsMissing: there is no such Secret, or it lacks a key; or the
	// API server gives the manager no token of its ServiceAccount.
	//
	//   - TokenServer Ready=False, Reconciling: Create the Secret, or its key, in
	//     the manager's namespace; or do what the message says.
	ReasonCredentialsMissing = "CredentialsMissing"
	// ReasonCredentialsRefused: the server does not accept the credentials.
	//
	//   - TokenServer Ready=False, Reconciling: Put the current ones into the
	//     Secret; for type ServiceAccount the message says which ServiceAccount or
	//     audience it expected.
	ReasonCredentialsRefused = "CredentialsRefused"
	// ReasonUnauthorized: the server accepts the credentials, but they may not
	// manage apps.
	//
	//   - TokenServer Ready=False, Stalled: Give the app the scope
	//     manage:orgconnapps in the organization.
	ReasonUnauthorized = "Unauthorized"
	// ReasonCABundleInvalid: there is no such ConfigMap or key, or no certificate in
	// it.
	//
	//   - TokenServer Ready=False, Reconciling: Correct the ConfigMap that caBundle
	//     names.
	ReasonCABundleInvalid = "CABundleInvalid"
	// ReasonUnreachable: no connection: the name, the address or a NetworkPolicy.
	// The message says which step failed.
	//
	//   - TokenServer Ready=False, Stalled or Reconciling: Look at the server and
	//     the way to it.
	ReasonUnreachable = "Unreachable"
	// ReasonTimeout: a connection, but no complete answer in time.
	//
	//   - TokenServer Ready=False, Reconciling: Look at the server's load.
	ReasonTimeout = "Timeout"
	// ReasonTLSFailed: the certificate is not trusted, or not for this name.
	//
	//   - TokenServer Ready=False, Reconciling: Set caBundle, or renew the
	//     certificate.
	ReasonTLSFailed = "TLSFailed"
	// ReasonServerError: the server answered with a failure of its own.
	//
	//   - TokenServer Ready=False, Reconciling: Look at the server's log; the
	//     manager tries again.
	ReasonServerError = "ServerError"
	// ReasonRateLimited: the server asked to slow down. The manager waits as long as
	// it was told.
	//
	//   - TokenServer Ready=False, Reconciling: Lower requestsPerSecond.
	ReasonRateLimited = "RateLimited"
	// ReasonInvalidAnswer: what answers is not this API: an HTML page, a redirect,
	// half a document.
	//
	//   - TokenServer Ready=False, Reconciling: Look for a proxy in between; url
	//     must be the final address.
	ReasonInvalidAnswer = "InvalidAnswer"
	// ReasonIssuerMismatch: the server calls itself by another URL.
	//
	//   - TokenServer Ready=False, Stalled: Set url to the server's public URL, and
	//     internalURL when you connect elsewhere.
	ReasonIssuerMismatch = "IssuerMismatch"
	// ReasonOrganizationNotFound: the server does not know organizationID.
	//
	//   - TokenServer Ready=False, Stalled: Correct organizationID, or leave it
	//     out.
	ReasonOrganizationNotFound = "OrganizationNotFound"
	// ReasonServerReplaced: it is another server than the one apps are registered
	// on, or many of their clients are gone at once. The annotation
	// connectedapps.dev/accept-server, with the value that the message shows, lets
	// the manager go on.
	//
	//   - TokenServer Ready=False, Stalled: Lead url back to the right server, put
	//     the right backup back, or accept what was found
	//     (docs/spec/v1alpha1/tokenservers.md#working-with-tokenservers).
	ReasonServerReplaced = "ServerReplaced"
	// ReasonInUse: it is being deleted, and ConnectedApps still use it. The message
	// says how many, and whether they are being deleted as well.
	//
	//   - TokenServer Ready=False, Reconciling: Delete the ConnectedApps.
	ReasonInUse = "InUse"
	// ReasonCredentialsInvalid: the credentials cannot be any: they end with a line
	// end, as echo writes it, or have white space around them. The message names the
	// key.
	//
	//   - TokenServer Ready=False, Stalled: Write the credentials with printf '%s'
	//     or --from-literal.
	ReasonCredentialsInvalid = "CredentialsInvalid"
)

// Reasons of an AccessToken.
const (
	// ReasonTokenIssued: the token in the Secret is valid.
	//
	//   - AccessToken TokenFresh=True, Events.
	ReasonTokenIssued = "TokenIssued"
	// ReasonTokenExpired: the token in the Secret has expired, and no new one could
	// be had.
	//
	//   - AccessToken TokenFresh=False: Ready says why there is no newer one.
	ReasonTokenExpired = "TokenExpired"
	// ReasonAppNotFound: there is no ConnectedApp of that name.
	//
	//   - AccessToken Ready=False, Reconciling, TokenFresh=Unknown: Create the
	//     ConnectedApp, or delete the AccessToken.
	ReasonAppNotFound = "AppNotFound"
	// ReasonAppNotReady: the ConnectedApp has no valid credentials yet, or what the
	// grant needs is not there.
	//
	//   - AccessToken Ready=False, Reconciling, TokenFresh=Unknown: The message says
	//     what is waited for, and in which Secret; it goes on by itself.
	ReasonAppNotReady = "AppNotReady"
	// ReasonAppDisabled: the ConnectedApp has enabled false, so that the token
	// server takes none of its tokens.
	//
	//   - AccessToken Ready=False, Stalled, TokenFresh=Unknown: Take enabled: false
	//     out of the ConnectedApp.
	ReasonAppDisabled = "AppDisabled"
	// ReasonAppNotAllowed: no access rule of the TokenServer allows all of the
	// ConnectedApp.
	//
	//   - AccessToken Ready=False, Stalled, TokenFresh=Unknown: The message says
	//     what no access rule allows: change the ConnectedApp, or ask the platform
	//     team for a rule.
	ReasonAppNotAllowed = "AppNotAllowed"
	// ReasonAppDeleting: the ConnectedApp is being deleted, and its tokens end with
	// it.
	//
	//   - AccessToken Ready=False, Reconciling, TokenFresh=Unknown: Delete the
	//     AccessToken as well.
	ReasonAppDeleting = "AppDeleting"
	// ReasonAppStalled: the ConnectedApp is Stalled: a person has to change it.
	//
	//   - AccessToken Ready=False, Stalled, TokenFresh=Unknown: The message repeats
	//     what the ConnectedApp says: mend that.
	ReasonAppStalled = "AppStalled"
	// ReasonGrantNotAllowed: the ConnectedApp does not have the grant type.
	//
	//   - AccessToken Ready=False, Stalled, TokenFresh=Unknown: Give the
	//     ConnectedApp the grant type that the message names, or make an AccessToken
	//     for an app that has it.
	ReasonGrantNotAllowed = "GrantNotAllowed"
	// ReasonSecretlessNeedsSidecar: the ConnectedApp has no client secret
	// (docs/spec/v1alpha1/connectedapps.md#without-a-client-secret), and what
	// authenticates it is in its Pods alone.
	//
	//   - AccessToken Ready=False, Stalled, TokenFresh=Unknown: Use the refresher
	//     sidecar in its Pods (docs/token-delivery.md#injection).
	ReasonSecretlessNeedsSidecar = "SecretlessNeedsSidecar"
	// ReasonTokenRefused: the token endpoint said no; its words are in the message.
	//
	//   - AccessToken Ready=False, Stalled or Reconciling: Ask for scopes the app
	//     has.
	ReasonTokenRefused = "TokenRefused"
	// ReasonLoginRequired: the chain of refresh tokens has ended, and only the user
	// can begin another.
	//
	//   - AccessToken Ready=False, Stalled: The user has to log in again: put the
	//     new refresh token into the Secret that the message names.
	ReasonLoginRequired = "LoginRequired"
	// ReasonRevocationFailed: the token of an AccessToken that was deleted could not
	// be revoked; it expires by itself.
	//
	//   - AccessToken Events.
	ReasonRevocationFailed = "RevocationFailed"
	// ReasonLifetimeTooShort: the server's tokens expire before a mounted Secret
	// reaches its readers.
	//
	//   - AccessToken Ready=False, Stalled: Use the sidecar, or have the server
	//     issue tokens that live longer.
	ReasonLifetimeTooShort = "LifetimeTooShort"
)
