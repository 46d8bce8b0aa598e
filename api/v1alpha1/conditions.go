// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Types of conditions. Ready, Reconciling and Stalled follow kstatus
// (https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md):
// Ready is always there, the other two only while they are True, and never both.
const (
	// ConditionReady summarises the others. True: the object is as its spec
	// says, at status.observedGeneration.
	ConditionReady = "Ready"
	// ConditionReconciling is True while the manager works or waits; absent
	// otherwise.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True when only a change by a person helps; absent
	// otherwise.
	ConditionStalled = "Stalled"

	// ConditionPolicyAccepted, on a ConnectedApp: True when an access rule of the
	// TokenServer allows the whole spec.
	ConditionPolicyAccepted = "PolicyAccepted"
	// ConditionRegistered, on a ConnectedApp: True when the client on the server
	// is as the spec says.
	ConditionRegistered = "Registered"
	// ConditionSecretPublished, on a ConnectedApp: True when the Secret holds
	// credentials the server accepts.
	ConditionSecretPublished = "SecretPublished"
	// ConditionDrifted, on a ConnectedApp: True when somebody changed the client
	// on the server and driftPolicy is Report; False, with what it was, after a
	// repair; absent when nothing ever drifted.
	ConditionDrifted = "Drifted"
	// ConditionRotating, on a ConnectedApp: True while the server accepts client
	// secrets that were replaced beside the one in the Secret; False when a
	// rotation was asked for that is not carried out; absent otherwise.
	ConditionRotating = "Rotating"

	// ConditionTokenFresh, on an AccessToken: True while the token in the Secret
	// is valid.
	ConditionTokenFresh = "TokenFresh"

	// ConditionWorkloadsCurrent, on an AccessToken or ConnectedApp that restarts
	// workloads: True when each of them was rolled out since the content of the
	// Secret changed; absent when the spec names none.
	ConditionWorkloadsCurrent = "WorkloadsCurrent"
)

// Reasons any kind may show.
const (
	// ReasonReady: as the spec says.
	ReasonReady = "Ready"
	// ReasonProgressing: the manager is at work on a change.
	ReasonProgressing = "Progressing"
	// ReasonSuspended: spec.suspend is true.
	ReasonSuspended = "Suspended"
	// ReasonDeleting: the object is being deleted.
	ReasonDeleting = "Deleting"
	// ReasonSecretNameTaken: the Secret's name is that of a Secret somebody else
	// made; it was left as it is.
	ReasonSecretNameTaken = "SecretNameTaken"
	// ReasonSecretContested: somebody else keeps changing or deleting the Secret;
	// repairs become rarer. The message names the other field manager.
	ReasonSecretContested = "SecretContested"
	// ReasonWriteFailed: the API server refused a write of the manager.
	ReasonWriteFailed = "WriteFailed"
	// ReasonTokenServerNotFound: there is no TokenServer of that name.
	ReasonTokenServerNotFound = "TokenServerNotFound"
	// ReasonTokenServerUnavailable: the TokenServer does not answer as it should;
	// its own condition says more. Work goes on when it is back.
	ReasonTokenServerUnavailable = "TokenServerUnavailable"
)

// Reasons of the condition WorkloadsCurrent.
const (
	// ReasonUpToDate: no workload of restart waits for a roll-out.
	ReasonUpToDate = "UpToDate"
	// ReasonRestartPending: the Secret changed, and workloads are rolled out at the
	// time in the message, together with what else changes until then.
	ReasonRestartPending = "RestartPending"
	// ReasonWorkloadNotFound: a workload of restart is not there.
	ReasonWorkloadNotFound = "WorkloadNotFound"
	// ReasonRestartRefused: a workload of restart cannot be rolled out: the manager
	// lacks the right, or a manifest or policy is against it; the message says which.
	ReasonRestartRefused = "RestartRefused"
)

// Reasons of a ConnectedApp.
const (
	// ReasonAccepted: an access rule allows the app.
	ReasonAccepted = "Accepted"
	// ReasonNotAllowed: no access rule of the TokenServer allows all of the app;
	// the message names what is missing.
	ReasonNotAllowed = "NotAllowed"
	// ReasonRegistered: the client is as the spec says.
	ReasonRegistered = "Registered"
	// ReasonRejected: the token server refused the registration; the message
	// says why.
	ReasonRejected = "Rejected"
	// ReasonInvalidPublicKey: a public key cannot be read, or is of a kind that
	// is not accepted.
	ReasonInvalidPublicKey = "InvalidPublicKey"
	// ReasonConfigMapNotFound: a ConfigMap that publicKeys names, or its key, is
	// not there.
	ReasonConfigMapNotFound = "ConfigMapNotFound"
	// ReasonOwnedElsewhere: the client belongs to somebody else.
	ReasonOwnedElsewhere = "OwnedElsewhere"
	// ReasonAdoptionRefused: the client that the annotation adopt-client-id names
	// is not the app's to take over; the message says what would let it.
	ReasonAdoptionRefused = "AdoptionRefused"
	// ReasonClientNotFound: there is no client of the id that the annotation
	// adopt-client-id names.
	ReasonClientNotFound = "ClientNotFound"
	// ReasonSecretlessNotPossible: the TokenServer cannot authenticate apps with
	// credentials of the type ServiceAccount, or PrivateKey; the message says why.
	ReasonSecretlessNotPossible = "SecretlessNotPossible"
	// ReasonPublished: the Secret holds valid credentials.
	ReasonPublished = "Published"
	// ReasonWaitingForSecret: the ExistingSecret, or its key, is not there yet.
	ReasonWaitingForSecret = "WaitingForSecret"
	// ReasonSecretNotShared: the ExistingSecret lacks the label
	// connectedapps.dev/secret: referenced.
	ReasonSecretNotShared = "SecretNotShared"
	// ReasonInvalidSecret: the value in the ExistingSecret cannot be a client
	// secret, or belongs to another client.
	ReasonInvalidSecret = "InvalidSecret"
	// ReasonDisabled: the app is as its spec says, which is disabled: it gets no
	// tokens.
	ReasonDisabled = "Disabled"
	// ReasonRequestFailed: the token server failed at this app's request while it
	// serves others; the message says at which.
	ReasonRequestFailed = "RequestFailed"
	// ReasonTokenServerDeleting: the TokenServer is being deleted, and no new
	// client is registered on it.
	ReasonTokenServerDeleting = "TokenServerDeleting"
	// ReasonDriftDetected: the client on the server differs from the spec.
	ReasonDriftDetected = "DriftDetected"
	// ReasonDriftRepaired: a difference was undone.
	ReasonDriftRepaired = "DriftRepaired"
	// ReasonNoDrift: an earlier difference is gone.
	ReasonNoDrift = "NoDrift"
	// ReasonOverlap: a client secret that was replaced is accepted until its
	// overlap ends, or until it is known that nobody needs it.
	ReasonOverlap = "Overlap"
	// ReasonFormerSecretUsed: a client secret was used after it was replaced.
	ReasonFormerSecretUsed = "FormerSecretUsed"
	// ReasonFormerSecretHeld: Pods took a client secret when they started, before
	// it was replaced; the message names them.
	ReasonFormerSecretHeld = "FormerSecretHeld"
	// ReasonRotationNotPossible: a rotation was asked for that is not carried out;
	// the message says why.
	ReasonRotationNotPossible = "RotationNotPossible"
)

// Reasons of a TokenServer.
const (
	// ReasonCredentialsMissing: the Secret with the credentials, or one of its
	// keys, is not there.
	ReasonCredentialsMissing = "CredentialsMissing"
	// ReasonCredentialsRefused: the server does not accept the credentials.
	ReasonCredentialsRefused = "CredentialsRefused"
	// ReasonUnauthorized: the credentials may not manage apps.
	ReasonUnauthorized = "Unauthorized"
	// ReasonCABundleInvalid: the ConfigMap with the certificates, or its key, is
	// not there or holds no certificate.
	ReasonCABundleInvalid = "CABundleInvalid"
	// ReasonUnreachable: no connection, or it broke.
	ReasonUnreachable = "Unreachable"
	// ReasonTimeout: no answer in time.
	ReasonTimeout = "Timeout"
	// ReasonTLSFailed: the server's certificate is not trusted.
	ReasonTLSFailed = "TLSFailed"
	// ReasonServerError: the server answered with a failure of its own.
	ReasonServerError = "ServerError"
	// ReasonRateLimited: the server asked to slow down.
	ReasonRateLimited = "RateLimited"
	// ReasonInvalidAnswer: what answers is not a token server, such as an HTML
	// page of a proxy.
	ReasonInvalidAnswer = "InvalidAnswer"
	// ReasonIssuerMismatch: the server calls itself by another URL than
	// spec.url.
	ReasonIssuerMismatch = "IssuerMismatch"
	// ReasonOrganizationNotFound: spec.organizationID is unknown to the server.
	ReasonOrganizationNotFound = "OrganizationNotFound"
	// ReasonServerReplaced: the issuer, organization or installation is another
	// than the one that apps are registered on, or many of their clients are gone
	// at once. The annotation connectedapps.dev/accept-server, with the value that
	// the message shows, lets the manager go on.
	ReasonServerReplaced = "ServerReplaced"
	// ReasonInUse: ConnectedApps still use the TokenServer that is being deleted.
	ReasonInUse = "InUse"
	// ReasonCredentialsInvalid: the credentials in the Secret cannot be any, such
	// as those with a line end; the message says what is wrong.
	ReasonCredentialsInvalid = "CredentialsInvalid"
)

// Reasons of an AccessToken.
const (
	// ReasonTokenIssued: the token in the Secret is valid.
	ReasonTokenIssued = "TokenIssued"
	// ReasonTokenExpired: the token in the Secret has expired and no new one
	// could be had.
	ReasonTokenExpired = "TokenExpired"
	// ReasonAppNotFound: there is no ConnectedApp of that name.
	ReasonAppNotFound = "AppNotFound"
	// ReasonAppNotReady: the ConnectedApp has no valid credentials yet.
	ReasonAppNotReady = "AppNotReady"
	// ReasonAppDisabled: the ConnectedApp has spec.enabled false, so that the
	// token server takes none of its tokens.
	ReasonAppDisabled = "AppDisabled"
	// ReasonAppNotAllowed: no access rule of the TokenServer allows all of the
	// ConnectedApp; its condition PolicyAccepted says what is missing.
	ReasonAppNotAllowed = "AppNotAllowed"
	// ReasonAppDeleting: the ConnectedApp is being deleted, and its tokens end
	// with it.
	ReasonAppDeleting = "AppDeleting"
	// ReasonAppStalled: the ConnectedApp is Stalled: a person has to change it.
	ReasonAppStalled = "AppStalled"
	// ReasonGrantNotAllowed: the ConnectedApp does not have the grant type.
	ReasonGrantNotAllowed = "GrantNotAllowed"
	// ReasonSecretlessNeedsSidecar: the ConnectedApp has no client secret, and what
	// authenticates it is in its Pods alone: the refresher sidecar gets their tokens.
	ReasonSecretlessNeedsSidecar = "SecretlessNeedsSidecar"
	// ReasonTokenRefused: the token endpoint refused the request; the message
	// says why.
	ReasonTokenRefused = "TokenRefused"
	// ReasonLoginRequired: the chain of refresh tokens of an AccessToken has ended,
	// and only the user can begin another.
	ReasonLoginRequired = "LoginRequired"
	// ReasonRevocationFailed, on Events: the token of an AccessToken that was
	// deleted could not be revoked; it expires by itself.
	ReasonRevocationFailed = "RevocationFailed"
	// ReasonLifetimeTooShort: the server's tokens expire before a mounted Secret
	// reaches its readers.
	ReasonLifetimeTooShort = "LifetimeTooShort"
)
