// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"
	"time"
)

// Kind is a kind of action.
type Kind string

// Kinds of action, in the order in which they are carried out.
const (
	// Register creates the client; the answer holds its first secret.
	Register Kind = "register the client"
	// Update changes fields of the client.
	Update Kind = "update the client"
	// AssignScopes replaces the scopes of a client that acts for itself, which
	// have a place of their own in the management API.
	AssignScopes Kind = "assign scopes"
	// DeleteSecret deletes a client secret that was made and never published.
	DeleteSecret Kind = "delete an unpublished client secret"
	// MakeSecret makes a client secret and publishes it.
	MakeSecret Kind = "make a client secret"
)

// Action is one thing to do.
type Action struct {
	Kind Kind
	// Changes are the fields that Update and AssignScopes are about.
	Changes []Change
	// SecretID is the secret that DeleteSecret is about.
	SecretID string
}

// Live is what the token server holds.
type Live struct {
	Client Client
	// Secrets are the client's secrets. They count only with SecretsKnown.
	Secrets []Secret
	// SecretsKnown tells whether the server was asked for the secrets.
	SecretsKnown bool
}

// Secret is a client secret as the server lists it.
type Secret struct {
	ID string
	// ExpiresAt is when it ends; zero: never.
	ExpiresAt time.Time
	// Used tells whether a token request ever used it.
	Used bool
}

// Input is all that a plan depends on.
type Input struct {
	// Want is the client as it should be: the verdict's.
	Want Client
	// Live is what the server holds; nil: no such client.
	Live *Live
	// OwnSecret tells whether the manager makes the client's secret and keeps it
	// published.
	OwnSecret bool
	// Published is the id of the secret that the Secret holds; empty: it holds
	// none that could be valid.
	Published string
	// Former are ids of secrets that were published before and may be in use.
	Former []string
	// Changed tells whether somebody else changed the client since it was last
	// compared: what differs then has drifted.
	Changed bool
	// ReportDrift leaves what has drifted as it is.
	ReportDrift bool
	// NotTaken are fields that the server was given and did not keep.
	NotTaken []string
}

// Result is a plan.
type Result struct {
	// Actions are to be carried out in this order; none: all is as it should be.
	Actions []Action
	// Drift are the fields that somebody else changed on the server.
	Drift []Change
}

// Make plans. Carrying out the actions and planning again yields no action.
func Make(in Input) Result {
	if in.Live == nil {
		return Result{Actions: []Action{{Kind: Register}}}
	}
	var r Result
	changes := slices.DeleteFunc(Diff(in.Live.Client, in.Want), func(c Change) bool { return slices.Contains(in.NotTaken, c.Field) })
	if in.Changed {
		r.Drift = changes
	}
	if !in.Changed || !in.ReportDrift {
		r.Actions = clientActions(in, changes)
	}
	r.Actions = append(r.Actions, secretActions(in)...)
	return r
}

func clientActions(in Input, changes []Change) []Action {
	apart := func(c Change) bool { return c.Field == FieldScopes && in.Want.ActsForItself() }
	var actions []Action
	if fields := slices.DeleteFunc(slices.Clone(changes), apart); len(fields) > 0 {
		actions = append(actions, Action{Kind: Update, Changes: fields})
	}
	i := slices.IndexFunc(changes, apart)
	if i < 0 {
		return actions
	}
	scopes := Action{Kind: AssignScopes, Changes: changes[i : i+1]}
	if tooMany(in) {
		// A client is not woken up with what somebody else gave it, and the server
		// would refuse that to a manager who does not hold as much.
		return append([]Action{scopes}, actions...)
	}
	return append(actions, scopes)
}

// tooMany tells whether a client that acts for itself has a scope that it should
// not have.
func tooMany(in Input) bool {
	return in.Live.Client.ActsForItself() && slices.ContainsFunc(NormalScopes(in.Live.Client, in.Live.Client.Scopes), func(s Scope) bool {
		return !slices.Contains(in.Want.Scopes, s)
	})
}

// secretActions sees to it that the Secret holds a secret that stays valid. A
// secret that was made and not published, because something failed in between,
// goes before another is made; one that has been used is left alone, whoever
// made it.
func secretActions(in Input) []Action {
	if !in.OwnSecret || publishedIsValid(in) {
		return nil
	}
	var actions []Action
	for _, s := range in.Live.Secrets {
		if s.ID != in.Published && !s.Used && s.ExpiresAt.IsZero() && !slices.Contains(in.Former, s.ID) {
			actions = append(actions, Action{Kind: DeleteSecret, SecretID: s.ID})
		}
	}
	return append(actions, Action{Kind: MakeSecret})
}

// publishedIsValid trusts the Secret when the server was not asked.
func publishedIsValid(in Input) bool {
	if in.Published == "" {
		return false
	}
	if !in.Live.SecretsKnown {
		return true
	}
	return slices.ContainsFunc(in.Live.Secrets, func(s Secret) bool {
		return s.ID == in.Published && s.ExpiresAt.IsZero()
	})
}
