// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"connectedapps.dev/operator/api/v1alpha1"
)

// adoptionRetry is when to look again whether a client can be adopted: what is in
// the way is on the token server, or another object's, and no watch tells of it.
const adoptionRetry = time.Minute

// maxClientID is the length of the longest client id that a status holds.
const maxClientID = 256

// Adoption is a client that an app without one is to take over, and what was
// found of it. Its zero value but for ID is one that nothing was asked about.
type Adoption struct {
	// ID is its client id.
	ID string
	// Proven: the server takes the secret of the ExistingSecret for the client's.
	Proven bool
	// Client is what the server holds; nil: there is no such client. It is asked for
	// only when MayAdopt.
	Client *LiveClient
	// Taken: it is another object's. Orphaned: it was one's of this cluster that is
	// gone.
	Taken, Orphaned bool
}

// Presentable tells whether the secret of the ExistingSecret may be shown to the
// token server as that of the client that is to be adopted: its owner said that
// it is that client's, or did not say whose and the platform team lists the
// client.
func Presentable(in Input) bool {
	if in.Existing == nil || in.Adoption == nil || len(in.Adoption.ID) > maxClientID {
		return false
	}
	return in.Existing.ClientID == in.Adoption.ID || in.Existing.ClientID == "" && listed(in)
}

// MayAdopt tells whether the app may take over the client, whatever that is like.
// Until then nobody learns from the answer whether there is such a client.
func MayAdopt(in Input) bool {
	isThere := in.App.CredentialsType() != v1alpha1.CredentialsExistingSecret || in.Existing != nil
	return in.Adoption != nil && isThere && notPermitted(in) == nil
}

// listed tells whether an access rule for the namespace lists the client.
func listed(in Input) bool {
	return in.Policy != nil && slices.ContainsFunc(in.Policy.Rules, func(rule v1alpha1.AccessRule) bool {
		return slices.Contains(rule.ClientIDs, v1alpha1.ClientID(in.Adoption.ID)) && selects(rule.NamespaceSelector, in.Policy.Namespace.Labels)
	})
}

// adoption is the plan for an app that has no client and is to take one over.
// While it may not, none is registered for it.
func adoption(in Input, r Result) Result {
	r.Hold = firstHold(suspended(in), hindrance(in), in.SecretHindrance, r.Refusal, serverDeleting(in), notPermitted(in), notAdoptable(in, r.Target))
	if r.Hold != nil {
		return r
	}
	if in.Adoption.Client == nil {
		app := *in.App
		app.Status = Unregistered(app.Status)
		in.App = &app
		return creation(in, r, Action{Kind: RegisterAs, ID: in.Adoption.ID})
	}
	live, app := *in.Live, *in.App
	live.Client, live.OwnedElsewhere = in.Adoption.Client, false
	app.Status = Unregistered(app.Status)
	in.Live, in.App = &live, &app
	r.Actions = append(r.Actions, Action{Kind: Adopt, ID: in.Adoption.ID})
	r.CarriesOut = true
	return secretActions(in, clientActions(in, r, true))
}

// Unregistered is a status without what it says of a client, which was another
// object's or is of another time.
func Unregistered(status v1alpha1.ConnectedAppStatus) v1alpha1.ConnectedAppStatus {
	status.ClientID, status.Compared, status.Secrets, status.ReferencedSecretVersion = "", nil, nil, ""
	return status
}

// CannotAdopt is why the app would not adopt the client, as far as can be said
// without asking the token server for it; nil: nothing is known against it.
func CannotAdopt(in Input) *Hold { return firstHold(hasAnother(in), notPermitted(in)) }

// notPermitted is why the app may not adopt the client, as far as can be said
// without asking for it.
func notPermitted(in Input) *Hold {
	id, existing := in.Adoption.ID, in.App.CredentialsType() == v1alpha1.CredentialsExistingSecret
	switch {
	case len(id) > maxClientID || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }):
		return adoptionRefused("the value of the annotation %s is no client id; correct it, or take it off to have a new client registered",
			v1alpha1.AnnotationAdoptClientID)
	case !existing && !listed(in):
		return adoptionRefused("the app may not adopt client %s: an access rule of TokenServer %s for %s has to list it in clientIDs, "+
			"or credentials of type ExistingSecret have to name a Secret with that client's id and secret", id, in.Server.Name, in.Policy.Namespace)
	case !existing || in.Existing == nil: // what is wrong with the Secret is said
		return nil
	case in.Existing.ClientID == "" && !listed(in):
		return adoptionRefused("the app may not adopt client %s: secret %s does not say whose secret it holds; put that client's id beside it, "+
			"or have an access rule of TokenServer %s for %s list it in clientIDs", id, in.Existing.Name, in.Server.Name, in.Policy.Namespace)
	case in.Existing.ClientID != "" && in.Existing.ClientID != id:
		return adoptionRefused("the app may not adopt client %s: secret %s says that it holds the credentials of another client; "+
			"name that client's Secret in spec.credentials.secret, or correct the annotation %s", id, in.Existing.Name, v1alpha1.AnnotationAdoptClientID)
	case !in.Adoption.Proven && !listed(in):
		hold := unproven(in)
		hold.Message += fmt.Sprintf(", or ask the platform team for an access rule of TokenServer %s that lists the client in clientIDs", in.Server.Name)
		return hold
	}
	return nil
}

func unproven(in Input) *Hold {
	return adoptionRefused("the app may not adopt client %s: the token server does not accept the secret in secret %s as that client's; "+
		"put one there that it accepts", in.Adoption.ID, in.Existing.Name)
}

// mayRegisterAs tells whether a client that is not there is made under the id, as
// that of an app that moves here from another server: the platform team listed the
// id, and the server takes ids.
func mayRegisterAs(in Input) bool { return listed(in) && in.Server.Restore && in.Server.ExternalID }

// notAdoptable is why a client that the app may adopt cannot be.
func notAdoptable(in Input, target Client) *Hold {
	a := in.Adoption
	switch {
	case a.Client == nil && !a.Taken && mayRegisterAs(in):
		return in.Server.Lost
	case a.Client == nil && !a.Taken:
		hold := adoptionRefused("there is no client %s on the token server; correct the annotation %s, or take it off to have a new client registered",
			a.ID, v1alpha1.AnnotationAdoptClientID)
		hold.Reason, hold.Stalled = v1alpha1.ReasonClientNotFound, false
		return hold
	case a.Taken:
		hold := adoptionRefused("client %s belongs to another object, in this cluster or another, or to the manager itself; it was left as it is. "+
			"One of another object can be adopted when that one has let it go", a.ID)
		hold.Reason = v1alpha1.ReasonOwnedElsewhere
		return hold
	case in.Existing != nil && !a.Proven:
		return unproven(in)
	case a.Orphaned && !listed(in):
		return adoptionRefused("client %s was made for a ConnectedApp of this cluster that is gone, and credentials do not suffice to adopt it: "+
			"an access rule of TokenServer %s for %s has to list it in clientIDs", a.ID, in.Server.Name, in.Policy.Namespace)
	case !in.Server.Secrets && ownSecret(in, target):
		return adoptionRefused("client %s has one secret, which making another would end, on a token server like this: "+
			"put that secret into a Secret and name it in spec.credentials of type ExistingSecret", a.ID)
	}
	return nil
}

func adoptionRefused(format string, args ...any) *Hold {
	return &Hold{
		Condition: v1alpha1.ConditionRegistered, Reason: v1alpha1.ReasonAdoptionRefused, Stalled: true, After: adoptionRetry,
		Message: fmt.Sprintf(format, args...),
	}
}

// hasAnother refuses to take over a client for an app that has one. It goes on as
// before.
func hasAnother(in Input) *Hold {
	id := in.App.Annotations[v1alpha1.AnnotationAdoptClientID]
	if id == "" || in.Live.Client == nil || in.Live.Client.ID == id {
		return nil
	}
	hold := adoptionRefused("the annotation %s names another client, but the app has client %s already; "+
		"take the annotation off, or adopt that client with another ConnectedApp",
		v1alpha1.AnnotationAdoptClientID, in.Live.Client.ID)
	hold.After = 0
	return hold
}
