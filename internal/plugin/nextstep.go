// SPDX-License-Identifier: Apache-2.0

package plugin

import "connectedapps.dev/operator/api/v1alpha1"

// Who takes a next step.
const (
	forAppTeam      = "app team"
	forPlatformTeam = "platform team"
	// forNobody: it goes on by itself.
	forNobody = "wait"
)

// NextStep is what to do about a reason.
type NextStep struct {
	// Who does it: the app team, the platform team, or nobody but time.
	Who string `json:"who"`
	// What to do, in a sentence. The comments of the reasons, and docs/reference, say the same.
	What string `json:"what"`
}

// nothingToDo is the step of reasons that say that all is well.
var nothingToDo = NextStep{}

// unseen is the step for an object whose spec the manager has not looked at.
var unseen = NextStep{forNobody, "Wait; if that takes longer than a minute, ask the platform team whether the manager runs."}

// nextSteps are what to do about each reason of a condition.
var nextSteps = map[string]NextStep{
	// Any kind.
	v1alpha1.ReasonReady:           nothingToDo,
	v1alpha1.ReasonProgressing:     {forNobody, "Wait."},
	v1alpha1.ReasonSuspended:       {forAppTeam, "Remove suspend."},
	v1alpha1.ReasonDeleting:        {forNobody, "Wait; the message says what the deletion waits for."},
	v1alpha1.ReasonSecretNameTaken: {forAppTeam, "Name another Secret, or remove the one that is there."},
	v1alpha1.ReasonSecretContested: {forAppTeam, "Take the Secret out of what the field manager in the message applies, or name another."},
	v1alpha1.ReasonWriteFailed: {forAppTeam, "Mend what the message says, or ask the platform team for the " +
		"manager's log; it is tried again."},
	v1alpha1.ReasonTokenServerNotFound:    {forAppTeam, "Correct the name in a new ConnectedApp, or ask the platform team for it."},
	v1alpha1.ReasonTokenServerUnavailable: {forNobody, "Wait; it goes on by itself. The platform team sees more in the conditions of the TokenServer."},

	// Workloads.
	v1alpha1.ReasonUpToDate:         nothingToDo,
	v1alpha1.ReasonRestartPending:   {forNobody, "Wait; the message says when the workloads are rolled out."},
	v1alpha1.ReasonWorkloadNotFound: {forAppTeam, "Create the workload, or take it off restart. It is looked for every 5 minutes."},
	v1alpha1.ReasonRestartRefused:   {forPlatformTeam, "Do what the message says: mostly the platform team has to grant a right."},

	// ConnectedApps.
	v1alpha1.ReasonAccepted:          nothingToDo,
	v1alpha1.ReasonNotAllowed:        {forAppTeam, "Ask for less, or the platform team for a rule."},
	v1alpha1.ReasonRegistered:        nothingToDo,
	v1alpha1.ReasonRejected:          {forAppTeam, "Correct the spec. When it is Reconciling it is tried again."},
	v1alpha1.ReasonInvalidPublicKey:  {forAppTeam, "Correct the key: one PEM block, RSA from 2048 bits, EC or Ed25519."},
	v1alpha1.ReasonConfigMapNotFound: {forAppTeam, "Create the ConfigMap, or its key."},
	v1alpha1.ReasonOwnedElsewhere: {forAppTeam, "Find out who wrote the status or the annotation. To register a client of its own, delete " +
		"the object and apply it again without the annotation."},
	v1alpha1.ReasonAdoptionRefused:       {forAppTeam, "Do what the message says, or take the annotation off."},
	v1alpha1.ReasonClientNotFound:        {forAppTeam, "Correct the annotation, or take it off to have a new client registered."},
	v1alpha1.ReasonSecretlessNotPossible: {forPlatformTeam, "Do what the message says, mostly with the platform team."},
	v1alpha1.ReasonPublished:             nothingToDo,
	v1alpha1.ReasonWaitingForSecret:      {forAppTeam, "Create the Secret, or its key, with the label connectedapps.dev/secret: referenced."},
	v1alpha1.ReasonSecretNotShared:       {forAppTeam, "Label the Secret connectedapps.dev/secret: referenced."},
	v1alpha1.ReasonInvalidSecret:         {forAppTeam, "Put a new value there, or leave the client id out of it."},
	v1alpha1.ReasonDisabled:              {forAppTeam, "Take enabled: false out, or see NotAllowed."},
	v1alpha1.ReasonRequestFailed:         {forNobody, "Wait; it is tried again, at the latest with the next comparison. The server's log says more."},
	v1alpha1.ReasonTokenServerDeleting:   {forAppTeam, "Ask the platform team to create it again, or name another in a new ConnectedApp."},
	v1alpha1.ReasonDriftDetected:         {forAppTeam, "Change the spec or the server, or set driftPolicy Repair."},
	v1alpha1.ReasonDriftRepaired:         {forAppTeam, "Find out who it was."},
	v1alpha1.ReasonNoDrift:               nothingToDo,
	v1alpha1.ReasonOverlap:               nothingToDo,
	v1alpha1.ReasonFormerSecretUsed:      {forAppTeam, "Find out who has not read the Secret again before the end in the message."},
	v1alpha1.ReasonFormerSecretHeld:      {forAppTeam, "Restart the Pods before the end in the message."},
	v1alpha1.ReasonRotationNotPossible:   {forAppTeam, "Do what the message says."},

	// AccessTokens.
	v1alpha1.ReasonTokenIssued:  nothingToDo,
	v1alpha1.ReasonTokenExpired: {forNobody, "Ready says why there is no newer one."},
	v1alpha1.ReasonAppNotFound:  {forAppTeam, "Create the ConnectedApp, or delete the AccessToken."},
	v1alpha1.ReasonAppNotReady:  {forNobody, "The message says what is waited for, and in which Secret; it goes on by itself."},
	v1alpha1.ReasonAppDisabled:  {forAppTeam, "Take enabled: false out of the ConnectedApp."},
	v1alpha1.ReasonAppNotAllowed: {forAppTeam, "The message says what no access rule allows: change the ConnectedApp, or " +
		"ask the platform team for a rule."},
	v1alpha1.ReasonAppDeleting: {forAppTeam, "Delete the AccessToken as well."},
	v1alpha1.ReasonAppStalled:  {forAppTeam, "The message repeats what the ConnectedApp says: mend that."},
	v1alpha1.ReasonGrantNotAllowed: {forAppTeam, "Give the ConnectedApp the grant type that the message names, or make an " +
		"AccessToken for an app that has it."},
	v1alpha1.ReasonSecretlessNeedsSidecar: {forAppTeam, "Use the refresher sidecar in its Pods."},
	v1alpha1.ReasonTokenRefused:           {forAppTeam, "Ask for scopes the app has."},
	v1alpha1.ReasonLoginRequired: {forAppTeam, "The user has to log in again: put the new refresh token into the " +
		"Secret that the message names."},
	v1alpha1.ReasonRevocationFailed: nothingToDo,
	v1alpha1.ReasonLifetimeTooShort: {forAppTeam, "Use the sidecar, or have the server issue tokens that live longer."},

	// TokenServers.
	v1alpha1.ReasonCredentialsMissing: {forPlatformTeam, "Create the Secret, or its key, in the manager's namespace; or do what the message says."},
	v1alpha1.ReasonCredentialsInvalid: {forPlatformTeam, "Write the credentials with printf '%s' or --from-literal."},
	v1alpha1.ReasonCredentialsRefused: {forPlatformTeam, "Put the current ones into the Secret; for type ServiceAccount the message says " +
		"which ServiceAccount or audience it expected."},
	v1alpha1.ReasonUnauthorized:         {forPlatformTeam, "Give the app the scope manage:orgconnapps in the organization."},
	v1alpha1.ReasonCABundleInvalid:      {forPlatformTeam, "Correct the ConfigMap that caBundle names."},
	v1alpha1.ReasonUnreachable:          {forPlatformTeam, "Look at the server and the way to it."},
	v1alpha1.ReasonTimeout:              {forPlatformTeam, "Look at the server's load."},
	v1alpha1.ReasonTLSFailed:            {forPlatformTeam, "Set caBundle, or renew the certificate."},
	v1alpha1.ReasonServerError:          {forPlatformTeam, "Look at the server's log; the manager tries again."},
	v1alpha1.ReasonRateLimited:          {forPlatformTeam, "Lower requestsPerSecond."},
	v1alpha1.ReasonInvalidAnswer:        {forPlatformTeam, "Look for a proxy in between; url must be the final address."},
	v1alpha1.ReasonIssuerMismatch:       {forPlatformTeam, "Set url to the server's public URL, and internalURL when you connect elsewhere."},
	v1alpha1.ReasonOrganizationNotFound: {forPlatformTeam, "Correct organizationID, or leave it out."},
	v1alpha1.ReasonServerReplaced:       {forPlatformTeam, "Lead url back to the right server, put the right backup back, or accept what was found."},
	v1alpha1.ReasonInUse:                {forPlatformTeam, "Delete the ConnectedApps."},
}

// stepFor is what to do about a reason. One that a later version of the manager
// gives is not known here.
func stepFor(reason string) NextStep {
	switch step, known := nextSteps[reason]; {
	case reason == "":
		return unseen
	case !known:
		return NextStep{forAppTeam, "Do what the message says; this version of the plugin does not know the reason."}
	default:
		return step
	}
}
