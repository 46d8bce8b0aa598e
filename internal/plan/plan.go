// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"
	"time"

	"connectedapps.dev/operator/api/v1alpha1"
)

// Input is all that a plan depends on.
type Input struct {
	// Now is the time of the plan.
	Now time.Time
	// App is the object. Its status tells what was recorded, nothing else is
	// believed of it.
	App *v1alpha1.ConnectedApp
	// Keys are the app's public keys, in the spec's order.
	Keys []string
	// Hindrance is why the spec cannot be carried out for now, such as a
	// reference that leads nowhere; nil: nothing. SecretHindrance is why the
	// Secret cannot: an app that is registered is changed all the same.
	Hindrance, SecretHindrance *Hold
	// Policy is what the platform team allows; nil: not known yet.
	Policy *Policy
	// Server is the app's TokenServer.
	Server Server
	// Live is what the server holds for the app; nil: it could not be asked.
	Live *Live
	// Adoption is the client that the app, which has none, is to take over; nil:
	// none.
	Adoption *Adoption
	// Secret is the Secret that the app's credentials are published in.
	Secret Secret
	// Existing is what the Secret of type ExistingSecret holds; nil for other
	// types, and while that Secret is not there.
	Existing *ExistingSecret
	// Holders are the Pods that may hold a client secret that was replaced; nil:
	// nobody looked, which is right unless AsksForHolders.
	Holders *Holders
}

// Policy is what a platform team allows in a namespace.
type Policy struct {
	// Rules are those of the TokenServer.
	Rules []v1alpha1.AccessRule
	// Namespace is the app's.
	Namespace Namespace
	// OrganizationID is where apps are registered.
	OrganizationID string
	// Unknown: who asks may not know the rules, and everything is taken to be
	// allowed. Nothing is carried out by such a plan.
	Unknown bool
}

// judge is what is allowed of a client.
func (p *Policy) judge(c Client) Verdict {
	if p.Unknown {
		return Verdict{Allowed: true, OrphanAllowed: true, Client: c}
	}
	return Judge(c, p.Namespace, p.Rules, p.OrganizationID)
}

// Server is what a plan has to know of a TokenServer.
type Server struct {
	// Name of the TokenServer.
	Name string
	// Exists: there is such an object.
	Exists bool
	// Deleting: it is being deleted, so that nothing new is registered on it.
	Deleting bool
	// ExternalID, Secrets and Restore are the extensions it has (oauth.Extension…).
	ExternalID, Secrets, Restore bool
	// NoWorkloads: it said that it takes no tokens of workloads; NoKeys: that it
	// takes no assertions by which clients authenticate (private_key_jwt).
	NoWorkloads, NoKeys bool
	// WorkloadIssuer is what it calls this cluster; empty: nobody said.
	WorkloadIssuer string
	// Lost is why a client that is gone must not be registered anew yet; nil: it
	// may be.
	Lost *Hold
	// Away is why the server cannot be asked; nil when it can.
	Away *Hold
	// DeletionTimeout is how long a deletion waits for it.
	DeletionTimeout time.Duration
}

// Live is what a token server holds for an app.
type Live struct {
	// Client is the app's; nil: there is none.
	Client *LiveClient
	// Unclaimed are ids of further clients made for this very object, whose
	// making was never recorded: nobody can have used them.
	Unclaimed []string
	// OwnedElsewhere: there is a client with the id that was recorded, and it was
	// made for another object.
	OwnedElsewhere bool
}

// LiveClient is a client on a token server.
type LiveClient struct {
	// ID is its client id.
	ID string
	// Revision is the server's mark of its state; empty on servers without.
	Revision string
	// Unread: the server's list shows it as it was last compared, so that it was
	// not read. Client and Secrets are not known.
	Unread bool
	// Adopted: it was not made for the app, which took it over. What was never
	// compared is then of somebody else's making, and so are the client secrets in
	// Kept, by their ids, which it had before.
	Adopted bool
	Kept    []string
	// Client is its registration.
	Client Client
	// Secrets are its secrets. They count only with SecretsKnown.
	Secrets      []ClientSecret
	SecretsKnown bool
	// CompleteUntil is up to when the server knows of all uses of the secrets;
	// zero: it does not tell.
	CompleteUntil time.Time
}

// ClientSecret is a client secret as the server lists it.
type ClientSecret struct {
	ID string
	// CreatedAt is when it was made.
	CreatedAt time.Time
	// ExpiresAt is when it ends; zero: never.
	ExpiresAt time.Time
	// LastUsed is when a token request used it last; zero: none ever did.
	LastUsed time.Time
}

// Secret is a Secret of ours, as it was found, or the ConfigMap in its place.
type Secret struct {
	// Name is what the spec calls it.
	Name string
	// IsConfigMap: it is a ConfigMap, since there is nothing secret to publish.
	IsConfigMap bool
	// Exists tells whether it is there.
	Exists bool
	// SecretID is the server's id of the client secret in it, or in the former one
	// while it is not there; empty when it holds none that is as it was written.
	SecretID string
	// Foreign is the field manager that wrote what we had written; empty: none.
	Foreign string
	// Former is the name of the Secret that the spec called differently before;
	// empty: none of ours. FormerConfigMap likewise.
	Former, FormerConfigMap string
	// Yields: the Secret's name is taken by an app that waits, by way of others
	// perhaps, for the former one of this app.
	Yields bool
	// Differs tells whether it has to be written for a client like this; nil: no.
	Differs func(Client) bool
}

func (s Secret) String() string {
	if s.IsConfigMap {
		return "ConfigMap " + s.Name
	}
	return "secret " + s.Name
}

// ExistingSecret is what was found in the Secret of type ExistingSecret.
type ExistingSecret struct {
	// Name of the Secret.
	Name string
	// ClientID is the client it names; empty: none.
	ClientID string
	// Version changes with every change of that Secret.
	Version string
}

// Kind is a kind of action.
type Kind string

// Kinds of action.
const (
	// Register creates the client; the answer holds its first secret.
	Register Kind = "register the client"
	// Restore creates the client under its former id and secret.
	Restore Kind = "restore the client"
	// RegisterAs creates the client under the id that it is to have, which no client
	// of the server has.
	RegisterAs Kind = "register the client under its id"
	// Record notes that a client that was found is the app's.
	Record Kind = "take the client that was registered for it"
	// Adopt takes over a client that was not made for the app.
	Adopt Kind = "adopt the client"
	// DeleteClient deletes a client.
	DeleteClient Kind = "delete the client"
	// Update changes fields of the client.
	Update Kind = "update the client"
	// AssignScopes replaces the scopes of a client that acts for itself, which
	// have a place of their own in the management API.
	AssignScopes Kind = "assign scopes"
	// DeleteSecret deletes a client secret that nobody needs.
	DeleteSecret Kind = "delete a client secret"
	// MakeSecret makes a further client secret.
	MakeSecret Kind = "make a client secret"
	// ResetSecret makes a client secret on a server where a client has one only.
	ResetSecret Kind = "reset the client secret"
	// GiveBack gives the client the published secret that its server has forgotten,
	// or makes another when the server does not take it.
	GiveBack Kind = "give the published secret back"
	// GiveSecret gives the client the secret that somebody else provides.
	GiveSecret Kind = "give the client the secret of its Secret"
	// Publish writes the Secret, or the ConfigMap in its place, as all that follow.
	Publish Kind = "publish the Secret"
	// RemoveFormer deletes the Secret that the spec called differently before.
	RemoveFormer Kind = "delete the former Secret"
	// RemoveFormerConfigMap deletes the ConfigMap that the spec called differently
	// before, or that a Secret has taken the place of.
	RemoveFormerConfigMap Kind = "delete the former ConfigMap"
	// RemoveSecret deletes the Secret.
	RemoveSecret Kind = "delete the Secret"
	// ReleaseSecret lets the Secret stay when the object goes.
	ReleaseSecret Kind = "release the Secret"
	// Remember keeps a client in mind whose object does not wait for its server.
	Remember Kind = "remember the client, to delete it when the server is back"
	// LetGo removes the finalizer.
	LetGo Kind = "let the object go"
)

// Action is one thing to do.
type Action struct {
	Kind Kind
	// Changes are the fields that Update and AssignScopes are about.
	Changes []Change
	// ID is the client or client secret that the action is about.
	ID string
}

// Hold is why something is not done.
type Hold struct {
	// Condition is the condition that shows it; empty: Ready alone.
	Condition string
	// Reason is one of v1alpha1.Reason….
	Reason string
	// Message is for people.
	Message string
	// Stalled: only a change by a person helps. Otherwise it passes.
	Stalled bool
	// After is when to look again; 0 leaves it to the watches.
	After time.Duration
}

// Result is a plan.
type Result struct {
	// Actions are to be carried out in this order; none: all is as it should be.
	Actions []Action
	// CarriesOut tells that the client was compared with the spec, and is made as
	// that says, as far as it is allowed.
	CarriesOut bool
	// Verdict is what the access rules say about the spec; nil while they are not
	// known.
	Verdict *Verdict
	// Target is the client as the actions make it. It is what is published.
	Target Client
	// Drift are the differences that somebody made on the server; Repaired tells
	// that the actions undo them.
	Drift    []Change
	Repaired bool
	// Narrowed are what the actions take away because no access rule allows it,
	// though the spec is not carried out.
	Narrowed []Change
	// Replaced is the client id that is given up because its client is gone;
	// empty: none.
	Replaced string
	// Repairs tells that the Secret is written because somebody else changed or
	// removed it.
	Repairs bool
	// Rotates tells that the actions replace the client secret in the Secret though
	// it is valid.
	Rotates bool
	// Refusal is what access rules do not allow; nil: nothing.
	Refusal *Hold
	// Hold is why the spec is not carried out, or not wholly; nil when it is. It is
	// the refusal when nothing weightier is in the way.
	Hold *Hold
}

// Make plans one pass. Carrying out the actions and planning again yields no
// action.
func Make(in Input) Result {
	var r Result
	if in.Policy != nil {
		verdict := in.Policy.judge(desired(in))
		r.Verdict, r.Target = &verdict, verdict.Client
		r.Refusal = refusal(in, verdict)
	}
	switch {
	case !in.App.DeletionTimestamp.IsZero():
		return deletion(in, r)
	case in.Policy == nil:
		// Without a word from the server nothing can be judged. An app that was as it
		// should be is left alone.
		if !in.Server.Exists || in.App.Status.Compared == nil || in.App.Status.ObservedGeneration != in.App.Generation || !publishedWell(in) {
			r.Hold = in.Server.Away
		}
		r.Hold = firstHold(suspended(in), r.Hold)
		return r
	case in.Live == nil:
		return withoutServer(in, r)
	}
	r = presence(in, r)
	r.Actions = refusableLast(r.Actions)
	return r
}

// refusableLast puts changes that a server may refuse behind all others, so that
// a refusal keeps nothing else from being done.
func refusableLast(actions []Action) []Action {
	var last []Change
	var kept []Action
	for _, a := range actions {
		if a.Kind == Update {
			var sure []Change
			for _, c := range a.Changes {
				if c.MayBeRefused() {
					last = append(last, c)
				} else {
					sure = append(sure, c)
				}
			}
			if a.Changes = sure; len(sure) == 0 {
				continue
			}
		}
		kept = append(kept, a)
	}
	if len(last) > 0 {
		kept = append(kept, Action{Kind: Update, Changes: last})
	}
	return kept
}

// withoutServer is the plan while the server cannot be asked: an app that is as
// it should be stays so.
func withoutServer(in Input, r Result) Result {
	r.Hold = firstHold(suspended(in), hindrance(in), in.SecretHindrance, r.Refusal)
	settled := Settled(in)
	if r.Hold == nil && !settled {
		r.Hold = in.Server.Away
	}
	r.CarriesOut = settled && !in.App.Suspended()
	return r
}

// desired is the client that the spec asks for.
func desired(in Input) Client { return Desired(in.App, in.Keys, in.Server.WorkloadIssuer) }

// hindrance is why the spec cannot be carried out for now.
func hindrance(in Input) *Hold { return firstHold(in.Hindrance, secretless(in)) }

// secretless is why an app cannot do without a client secret on its server.
func secretless(in Input) *Hold {
	kind, name := in.App.CredentialsType(), in.Server.Name
	message := ""
	switch {
	case kind == v1alpha1.CredentialsPrivateKey && in.Server.NoKeys:
		message = fmt.Sprintf("TokenServer %s does not offer private_key_jwt, which spec.credentials.type PrivateKey needs; use type Secret", name)
	case kind != v1alpha1.CredentialsServiceAccount:
		return nil
	case in.Server.NoWorkloads:
		message = fmt.Sprintf("TokenServer %s takes no tokens of ServiceAccounts, which spec.credentials.type ServiceAccount needs: "+
			"it does not offer the extension federated_identities; the platform team configures this cluster there, or use type Secret", name)
	case in.Server.WorkloadIssuer == "":
		message = fmt.Sprintf("TokenServer %s does not say what the token server calls this cluster, which spec.credentials.type ServiceAccount needs; "+
			"the platform team sets spec.workloadIssuer of the TokenServer, or use type Secret", name)
	default:
		return nil
	}
	return &Hold{Condition: v1alpha1.ConditionRegistered, Reason: v1alpha1.ReasonSecretlessNotPossible, Stalled: true, Message: message}
}

func firstHold(holds ...*Hold) *Hold {
	for _, h := range holds {
		if h != nil {
			return h
		}
	}
	return nil
}

// presence is the plan for an app that is to be there.
func presence(in Input, r Result) Result {
	live := in.Live.Client
	// What was made and never recorded goes first, whatever else holds.
	for _, id := range in.Live.Unclaimed {
		r.Actions = append(r.Actions, Action{Kind: DeleteClient, ID: id})
	}
	if in.Adoption != nil {
		return adoption(in, r)
	}
	first := firstHold(ownedElsewhere(in), suspended(in), hindrance(in), changeover(in, r.Target))
	secret := firstHold(in.SecretHindrance, foreignSecret(in))
	r.Hold = firstHold(first, secret, r.Refusal, hasAnother(in))
	if in.Live.OwnedElsewhere {
		return r
	}
	if live == nil {
		return absent(in, r)
	}
	if live.ID != in.App.Status.ClientID {
		r.Actions = append(r.Actions, Action{Kind: Record, ID: live.ID})
	}
	// An app that is refused is carried out as far as it is allowed.
	r.CarriesOut = first == nil
	r = clientActions(in, r, r.CarriesOut)
	if r.CarriesOut && secret == nil {
		return secretActions(in, r)
	}
	if r.CarriesOut && in.Secret.Yields {
		return removeFormer(in, r)
	}
	return r
}

// absent is the plan for an app that the server holds no client of.
func absent(in Input, r Result) Result {
	if recorded := in.App.Status.ClientID; recorded != "" {
		if in.App.Spec.DriftPolicy == v1alpha1.DriftReport {
			r.Drift = gone(recorded)
			r.Hold = firstHold(r.Hold, &Hold{
				Condition: v1alpha1.ConditionRegistered, Reason: v1alpha1.ReasonDriftDetected, Stalled: true,
				Message: fmt.Sprintf("client %s is gone from the token server, and spec.driftPolicy Report leaves it so; "+
					"set it to Repair to have the client registered again", recorded),
			})
		}
		r.Hold = firstHold(r.Hold, in.Server.Lost)
	}
	if r.Hold = firstHold(r.Hold, serverDeleting(in)); r.Hold != nil {
		return r
	}
	create := Action{Kind: Register}
	if recorded := in.App.Status.ClientID; recorded != "" {
		r.Drift, r.Repaired = gone(recorded), true
		if in.Server.Restore && (in.Existing != nil || in.Secret.SecretID != "" || !r.Target.HasSecret()) {
			create = Action{Kind: Restore, ID: recorded}
		} else {
			r.Replaced = recorded
		}
	}
	return creation(in, r, create)
}

// creation is the plan for a client that is made by create.
func creation(in Input, r Result, create Action) Result {
	r.CarriesOut = true
	r.Actions = append(r.Actions, create)
	if r.Target.ActsForItself() && hasContexts(r.Target) {
		r.Actions = append(r.Actions, Action{Kind: AssignScopes, Changes: Diff(Client{GrantTypes: r.Target.GrantTypes}, Client{
			GrantTypes: r.Target.GrantTypes, Scopes: r.Target.Scopes,
		})})
	}
	if !in.Server.ExternalID {
		// It was created under a name that only this object can have.
		r.Actions = append(r.Actions, Action{Kind: Update, Changes: []Change{{FieldClientName, "a temporary name", r.Target.Name}}})
	}
	for _, c := range Diff(Client{}, r.Target) {
		if c.MayBeRefused() { // a registration does not speak of it
			r.Actions = append(r.Actions, Action{Kind: Update, Changes: []Change{c}})
		}
	}
	if in.Existing != nil && create.Kind == Register {
		r.Actions = append(r.Actions, Action{Kind: GiveSecret})
	}
	r.Actions = append(r.Actions, Action{Kind: Publish})
	return removeFormer(in, r)
}

func serverDeleting(in Input) *Hold {
	if !in.Server.Deleting {
		return nil
	}
	return &Hold{
		Condition: v1alpha1.ConditionRegistered, Reason: v1alpha1.ReasonTokenServerDeleting,
		Message: fmt.Sprintf("TokenServer %s is being deleted, nothing new is registered on it; "+
			"the platform team creates it again, or name another in a new ConnectedApp", in.Server.Name),
	}
}

// gone is the drift of a client that somebody deleted.
func gone(clientID string) []Change {
	return []Change{{Field: "registration", Old: "client " + clientID + " is gone", New: "registered"}}
}

func hasContexts(c Client) bool {
	return slices.ContainsFunc(c.Scopes, func(s Scope) bool { return s.OrganizationID != "" || s.EnvironmentID != "" })
}

// clientActions makes the client as it should be: the spec where that is carried
// out, what it is now otherwise, and of either only what access rules allow.
func clientActions(in Input, r Result, carriesOut bool) Result {
	live := in.Live.Client
	if live.Unread {
		return r // nothing has changed on either side
	}
	want := r.Target
	report := in.App.Spec.DriftPolicy == v1alpha1.DriftReport
	changes := slices.DeleteFunc(Diff(live.Client, want), func(c Change) bool { return notKept(in, want, c) })
	if carriesOut {
		for _, c := range changes {
			if isDrift(in, want, c) {
				r.Drift = append(r.Drift, c)
			}
		}
	}
	r.Repaired = !report && len(r.Drift) > 0
	if carriesOut && !report {
		r.Actions = append(r.Actions, updates(in, want, changes)...)
		return r
	}
	// What stays as it is on the server stays within what is allowed.
	base := live.Client
	var ours []Change
	for _, c := range changes {
		if carriesOut && !isDrift(in, want, c) {
			copyField(&base, want, c.Field)
			ours = append(ours, c)
		}
	}
	verdict := in.Policy.judge(base)
	target := verdict.Client
	changes = slices.DeleteFunc(Diff(live.Client, target), func(c Change) bool { return notKept(in, target, c) })
	for _, c := range changes {
		if !slices.ContainsFunc(ours, func(o Change) bool { return o.Field == c.Field }) {
			r.Narrowed = append(r.Narrowed, c)
			r.Drift = slices.DeleteFunc(r.Drift, func(d Change) bool { return d.Field == c.Field })
		}
	}
	r.Target = target
	r.Actions = append(r.Actions, updates(in, target, changes)...)
	return r
}

// updates are the actions that make the changes.
func updates(in Input, target Client, changes []Change) []Action {
	apart := func(c Change) bool { return c.Field == FieldScopes && target.ActsForItself() }
	var actions []Action
	if fields := slices.DeleteFunc(slices.Clone(changes), apart); len(fields) > 0 {
		actions = append(actions, Action{Kind: Update, Changes: fields})
	}
	i := slices.IndexFunc(changes, apart)
	if i < 0 {
		return actions
	}
	scopes := Action{Kind: AssignScopes, Changes: changes[i : i+1]}
	if tooMany(in.Live.Client.Client, target) {
		// A client is not woken up with what somebody else gave it, and the server
		// would refuse that to a manager who does not hold as much.
		return append([]Action{scopes}, actions...)
	}
	return append(actions, scopes)
}

// tooMany tells whether a client that acts for itself has a scope that it should
// not have.
func tooMany(live, target Client) bool {
	return live.ActsForItself() && slices.ContainsFunc(NormalScopes(live, live.Scopes), func(s Scope) bool {
		return !slices.Contains(target.Scopes, s)
	})
}

// changeover is why a client goes on authenticating as it does, with a secret or
// without one: what the app needs for the other way cannot be published, and it
// would be left without either. What somebody else made of the client is undone.
func changeover(in Input, want Client) *Hold {
	live := in.Live.Client
	if live == nil || live.Unread || in.Secret.Yields || live.Client.HasSecret() == want.HasSecret() ||
		isDrift(in, want, Change{Field: FieldTokenEndpointAuthMethod}) {
		return nil
	}
	return in.SecretHindrance
}

func suspended(in Input) *Hold {
	if !in.App.Suspended() {
		return nil
	}
	return &Hold{Reason: v1alpha1.ReasonSuspended, Message: "spec.suspend is true: the manager changes nothing but what access rules forbid"}
}

// ownedElsewhere: a status can be written by others, so that an id in it is no
// proof.
func ownedElsewhere(in Input) *Hold {
	if !in.Live.OwnedElsewhere {
		return nil
	}
	message := "client %s on the token server was registered for another object than this one; it was left as it is"
	if !in.Server.ExternalID {
		message = "client %s on the token server is another object's, or nothing proves that it is this one's: its Secret does not hold that client's " +
			"credentials; it was left as it is. The annotation " + v1alpha1.AnnotationAdoptClientID + " takes it over"
	}
	return &Hold{
		Condition: v1alpha1.ConditionRegistered, Reason: v1alpha1.ReasonOwnedElsewhere, Stalled: true,
		Message: fmt.Sprintf(message, in.App.Status.ClientID),
	}
}

// foreignSecret keeps another client's secret from being sent anywhere.
func foreignSecret(in Input) *Hold {
	if in.Existing == nil || in.Existing.ClientID == "" || in.Existing.ClientID == in.App.Status.ClientID {
		return nil
	}
	own := "the app is not registered yet and gets an id of its own"
	if in.App.Status.ClientID != "" {
		own = "the app is registered as client " + in.App.Status.ClientID
	}
	return &Hold{
		Condition: v1alpha1.ConditionSecretPublished, Reason: v1alpha1.ReasonInvalidSecret, Stalled: true,
		Message: fmt.Sprintf("secret %s names client %s, but %s; leave the client id out of it", in.Existing.Name, in.Existing.ClientID, own),
	}
}

func refusal(in Input, verdict Verdict) *Hold {
	message := Refusal(in.App, verdict)
	if message == "" {
		return nil
	}
	return &Hold{Condition: v1alpha1.ConditionPolicyAccepted, Reason: v1alpha1.ReasonNotAllowed, Stalled: true, Message: message}
}

// Refusal says why the access rules do not allow an app whose client got this
// verdict; empty: they do.
func Refusal(app *v1alpha1.ConnectedApp, verdict Verdict) string {
	switch {
	case !verdict.Allowed:
		return verdict.Message()
	case app.Spec.DeletionPolicy == v1alpha1.DeletionOrphan && !verdict.OrphanAllowed:
		return verdict.OrphanMessage()
	}
	return ""
}
