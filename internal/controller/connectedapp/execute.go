// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/apply"
	"connectedapps.dev/operator/internal/controller/object"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/plan"
	"connectedapps.dev/operator/internal/registrar"
)

// maxSecrets bounds the list in the status.
const maxSecrets = 100

// execute carries out the plan up to the first action that fails, and records
// what was reached.
func (r *Reconciler) execute(ctx context.Context, p *pass) error {
	defer p.recordRevision()
	compared := false
	for _, action := range p.result.Actions {
		if !compared && isAfterClient(action.Kind) {
			p.recordComparison()
			compared = true
		}
		err := r.do(ctx, p, action)
		p.account(ctx, action, err)
		if err != nil {
			p.secretFailed = isAfterClient(action.Kind)
			p.forgetComparison(action.Changes)
			if p.isPublished {
				p.recordSecrets()
			}
			return err
		}
		p.isPublished = p.isPublished || action.Kind == plan.Publish
	}
	if !compared {
		p.recordComparison()
	}
	p.recordSecrets()
	p.hint(ctx)
	return nil
}

// hint tells of scopes that the server does not list. It accepts them, since
// other services may know them, so that a slip of the pen goes unnoticed.
func (p *pass) hint(ctx context.Context) {
	if !p.result.CarriesOut || len(p.result.Target.Scopes) == 0 {
		return
	}
	if p.connection == nil || p.in.Live == nil {
		p.hints = p.formerHints()
		return
	}
	catalogue, err := p.connection.ScopeCatalogue(ctx)
	if err != nil {
		p.hints = p.formerHints() // it is asked again
		return
	}
	var names []string
	for _, s := range p.result.Target.Scopes {
		names = append(names, s.Name)
	}
	unknown := plan.UnknownScopes(names, catalogue)
	for _, s := range unknown[:min(len(unknown), 3)] {
		p.hints = append(p.hints, s.String())
	}
}

// formerHints are those of the pass before, when that was about the same spec.
func (p *pass) formerHints() []string {
	before := p.condition(v1alpha1.ConditionRegistered)
	_, hints, found := strings.Cut(before.Message, hintSeparator)
	if !found || before.ObservedGeneration != p.app.Generation || before.Status != metav1.ConditionTrue {
		return nil
	}
	return strings.Split(hints, hintSeparator)
}

// isAfterClient tells whether an action follows all that change the client's
// registration.
func isAfterClient(kind plan.Kind) bool {
	switch kind {
	case plan.DeleteSecret, plan.MakeSecret, plan.ResetSecret, plan.GiveBack, plan.GiveSecret, plan.Publish, plan.RemoveFormer,
		plan.RemoveFormerConfigMap:
		return true
	}
	return false
}

func (r *Reconciler) do(ctx context.Context, p *pass, action plan.Action) error {
	switch action.Kind {
	case plan.Register:
		return r.register(ctx, p)
	case plan.Restore:
		return r.restore(ctx, p, action.ID)
	case plan.RegisterAs:
		return r.registerAs(ctx, p, action.ID)
	case plan.Record:
		p.app.Status.ClientID = action.ID
		p.app.Status.Issuer = p.connection.Issuer
		return nil
	case plan.Adopt:
		return r.adopt(ctx, p, action.ID)
	case plan.DeleteClient:
		return p.failure(p.connection.Delete(ctx, action.ID))
	case plan.Update, plan.AssignScopes:
		return p.failure(p.change(ctx, action))
	case plan.DeleteSecret, plan.MakeSecret, plan.ResetSecret:
		return p.failure(p.changeSecret(ctx, action))
	case plan.GiveBack:
		return p.failure(p.giveBack(ctx))
	case plan.GiveSecret:
		return p.giveSecret(ctx)
	case plan.Publish:
		return r.publish(ctx, p)
	case plan.RemoveFormer, plan.RemoveFormerConfigMap:
		return r.removeFormer(ctx, p, action)
	case plan.RemoveSecret, plan.ReleaseSecret:
		return r.withPublished(ctx, p, action.Kind)
	case plan.Remember:
		return r.remember(ctx, p)
	case plan.LetGo:
		return r.letGo(ctx, p)
	}
	return fmt.Errorf("the plan has the unknown action %q", action.Kind)
}

// register creates the client. On a server without external ids it gets a name
// that only this object can have, until the manager remembers whose it is.
func (r *Reconciler) register(ctx context.Context, p *pass) error {
	fields := allFields(p.result.Target)
	mark, name := externalID(r.ClusterID, p.app), temporaryName(r.ClusterID, p.app)
	if !p.in.Server.ExternalID {
		mark, fields.ClientName = "", &name
	}
	answer, err := p.connection.Register(ctx, mark, fields)
	if err != nil {
		return p.failure(err)
	}
	if answer.Existed {
		// An earlier attempt came further than its answer. What it made is looked
		// at first; the secret in this answer is one more that nobody knows of.
		return &status.Error{Kind: status.Race, Reason: v1alpha1.ReasonProgressing, Message: "the client was registered before", After: time.Second}
	}
	if !p.in.Server.ExternalID {
		if err := r.own(ctx, p, answer.App.ClientID); err != nil {
			p.connection.Doubt(name) // an older list does not have it
			return err
		}
	}
	p.registered(&answer.App)
	p.app.Status.ReferencedSecretVersion = "" // it is yet to be given
	return nil
}

// restore brings a client back under its id and secret, so that nobody who has
// them notices anything.
func (r *Reconciler) restore(ctx context.Context, p *pass, clientID string) error {
	secret := p.existing
	if stored := p.stored(); stored != nil {
		secret = stored.value
	}
	err := r.registerUnder(ctx, p, clientID, secret)
	if registrar.IsConflict(err) {
		// Somebody else has the id by now.
		p.result.Replaced = clientID
		return r.register(ctx, p)
	}
	return p.failure(err)
}

// registerAs creates the client under an id that is not to be another's.
func (r *Reconciler) registerAs(ctx context.Context, p *pass, clientID string) error {
	p.app.Status = plan.Unregistered(p.app.Status)
	err := r.registerUnder(ctx, p, clientID, p.existing)
	if registrar.IsConflict(err) {
		return &status.Error{
			Kind: status.Stalled, Reason: v1alpha1.ReasonAdoptionRefused, Cause: err,
			Message: "client " + clientID + " cannot be registered: the id is or was another's on the token server, whose configuration may have it",
		}
	}
	if err == nil && p.in.Existing != nil {
		p.app.Status.ReferencedSecretVersion = p.in.Existing.Version
	}
	return p.failure(err)
}

// registerUnder creates a client under an id of the caller's, with a secret of its
// own; empty: another is made.
func (r *Reconciler) registerUnder(ctx context.Context, p *pass, clientID, secret string) error {
	if secret == "" {
		secret = rand.Text() // a client that has none needs one here, too
	}
	fields := allFields(p.result.Target)
	fields.ClientID, fields.ClientSecret = &clientID, &secret
	answer, err := p.connection.Register(ctx, externalID(r.ClusterID, p.app), fields)
	if err != nil {
		return err
	}
	p.registered(&answer.App)
	p.made = nil
	if p.app.CredentialsType() == v1alpha1.CredentialsSecret && p.result.Target.HasSecret() {
		p.made = &clientSecret{id: secretID(&answer.App), value: secret}
	}
	return nil
}

// registered takes over what the answer to a registration tells.
func (p *pass) registered(app *oauth.ConnectedApp) {
	p.app.Status.ClientID, p.app.Status.Issuer = app.ClientID, p.connection.Issuer
	p.app.Status.Secrets = nil
	p.revision = app.Revision
	if p.isExisting() {
		p.app.Status.Secrets = publishedSecret(app.ClientSecretID, p.in.Now)
	} else if app.ClientSecret != "" {
		p.made = &clientSecret{id: secretID(app), value: app.ClientSecret}
	}
	p.learn(app, plan.Diff(plan.Client{}, p.result.Target))
}

// secretID is the id of the secret in an answer, or one of our own on servers that
// know only one secret: with it the next pass tells a secret that was published
// from the one before, whatever became of the status.
func secretID(app *oauth.ConnectedApp) string {
	if app.ClientSecretID == "" {
		return "only-" + rand.Text()[:10]
	}
	return app.ClientSecretID
}

// unknownRevision is recorded after a write whose answer does not tell the
// revision. The one from before must not be: a server that is put back from a
// copy would have it again, and seem to be as this write left it.
const unknownRevision = ""

// change makes the client as the plan says.
func (p *pass) change(ctx context.Context, action plan.Action) error {
	id, target := p.app.Status.ClientID, p.result.Target
	if action.Kind == plan.AssignScopes {
		p.revision = unknownRevision
		return p.connection.PutScopes(ctx, id, contextScopes(target))
	}
	otherKind := false
	if live := p.in.Live.Client; live != nil {
		id = live.ID
		otherKind = live.Client.ActsForItself() != target.ActsForItself()
	}
	answer, err := p.connection.Update(ctx, id, someFields(target, action.Changes, otherKind))
	if err != nil {
		return err
	}
	p.revision = answer.Revision
	p.learn(answer, action.Changes)
	return nil
}

// learn notes what the server did not keep of what it was sent, so that it is
// not sent again and again.
func (p *pass) learn(answer *oauth.ConnectedApp, sent []plan.Change) {
	got := plan.ClientOf(answer)
	if got.ActsForItself() {
		got.Scopes = p.result.Target.Scopes // they have an answer of their own
	}
	for _, c := range plan.Diff(got, p.result.Target) {
		isIt := func(other plan.Change) bool { return other.Field == c.Field }
		if c.Field == plan.FieldClientName && !p.in.Server.ExternalID && len(sent) != 1 {
			continue // it has a temporary one
		}
		if slices.ContainsFunc(sent, isIt) && !slices.ContainsFunc(p.notKept, isIt) {
			p.notKept = append(p.notKept, c)
			if p.keptAs == nil {
				p.keptAs = map[string]v1alpha1.FieldDigest{}
			}
			p.keptAs[c.Field] = plan.NotKept(got, p.result.Target, c.Field)
		}
	}
}

func (p *pass) changeSecret(ctx context.Context, action plan.Action) error {
	id := p.app.Status.ClientID
	switch action.Kind {
	case plan.DeleteSecret:
		p.revision = unknownRevision
		return p.connection.DeleteSecret(ctx, id, action.ID)
	case plan.ResetSecret:
		app, err := p.connection.ResetSecret(ctx, id)
		if err == nil {
			p.revision = app.Revision
			p.made = &clientSecret{id: secretID(app), value: app.ClientSecret}
		}
		return err
	}
	lasts := plan.Overlap(p.app)
	if p.in.Live.Client.Adopted && len(p.app.Status.Secrets) == 0 {
		lasts = keptOverlap
	}
	p.revision = unknownRevision
	secret, err := p.connection.AddSecret(ctx, id, lasts)
	if err == nil {
		p.made = &clientSecret{id: secret.ID, value: secret.ClientSecret}
	}
	return err
}

// giveSecret gives the client the secret that somebody else provides.
func (p *pass) giveSecret(ctx context.Context) error {
	answer, err := p.connection.Update(ctx, p.app.Status.ClientID, registrar.Fields{ClientSecret: &p.existing})
	if registrar.IsInvalid(err) || err == nil && p.isEnding(answer.Revision) {
		return status.StalledError(v1alpha1.ReasonInvalidSecret,
			"the token server does not accept the client secret in secret %s; one that was replaced before cannot come back, put a new one there", p.in.Existing.Name)
	}
	if err != nil {
		return p.failure(err)
	}
	p.revision = answer.Revision
	p.app.Status.ReferencedSecretVersion = p.in.Existing.Version
	p.app.Status.Secrets = publishedSecret(answer.ClientSecretID, p.in.Now)
	return nil
}

// isEnding tells whether the secret of the ExistingSecret, which the client had
// already, since giving it made no other revision, is one that was replaced: it is
// accepted for the rest of its overlap only.
func (p *pass) isEnding(revision string) bool {
	live := p.in.Live.Client
	if live == nil || !live.SecretsKnown || revision == "" || revision != p.revision {
		return false
	}
	can := slices.Clone(live.Secrets)
	if stored := p.stored(); stored != nil && stored.value != p.existing {
		can = slices.DeleteFunc(can, func(s plan.ClientSecret) bool { return s.ID == stored.id })
	}
	return len(can) > 0 && !slices.ContainsFunc(can, func(s plan.ClientSecret) bool { return s.ExpiresAt.IsZero() })
}

func publishedSecret(id string, now time.Time) []v1alpha1.ClientSecretStatus {
	if id == "" {
		return nil
	}
	at := metav1.NewTime(now.Truncate(time.Second))
	return []v1alpha1.ClientSecretStatus{{ID: id, CreatedAt: &at}}
}

// publish writes the Secret.
func (r *Reconciler) publish(ctx context.Context, p *pass) error {
	live, written, err := r.objectsOf(p.published()).Apply(ctx, p.app, p.secret, wantedSecret(p, p.result.Target))
	if errors.Is(err, apply.ErrNotOurs) {
		if err := r.nameTaken(ctx, p); err != nil {
			return err
		}
		return errorOf(p.in.SecretHindrance)
	}
	if err != nil {
		return object.WriteError(p.in.Secret.String(), err)
	}
	p.replaced = p.secret != nil && replaces(p.secret.Data, wantedSecret(p, p.result.Target).Data)
	p.secret, p.written = live, written
	setPublished(p.app, p.published(), p.in.Secret.Name)
	if p.result.Repairs && written {
		count := plan.Repaired(p.app.Status.SecretRepairs, p.in.Now)
		p.app.Status.SecretRepairs = &v1alpha1.SecretRepairs{Count: count, LastTime: metav1.NewTime(p.in.Now.Truncate(time.Second))}
	}
	return nil
}

// recordComparison notes what the client is like, once all that was to be done
// to it is done.
func (p *pass) recordComparison() {
	live := p.in.Live
	if live == nil || live.Client != nil && live.Client.Unread {
		return
	}
	if !p.result.CarriesOut {
		p.recordNotKept()
		return
	}
	want := p.result.Verdict.Client
	p.tookOver = p.app.Status.Compared == nil && live.Client != nil && live.Client.Adopted
	p.app.Status.Compared = plan.Compared(p.app.Status.Compared, p.revision, want, p.result.Drift, p.keptAs)
	p.compared = true
	if p.app.Status.Issuer == "" {
		p.app.Status.Issuer = p.connection.Issuer
	}
}

// recordRevision brings the record up to what came after the comparison: client
// secrets count in a revision.
func (p *pass) recordRevision() {
	if p.compared {
		p.app.Status.Compared.Revision = p.revision
	}
}

// recordNotKept notes what the server did not let be taken from a client that is
// not made as its spec says, so that it is not told again and again.
func (p *pass) recordNotKept() {
	if p.app.Status.Compared == nil || len(p.keptAs) == 0 {
		return
	}
	if p.app.Status.Compared.NotKept == nil {
		p.app.Status.Compared.NotKept = map[string]v1alpha1.FieldDigest{}
	}
	maps.Copy(p.app.Status.Compared.NotKept, p.keptAs)
}

// forgetComparison takes from the record what was not reached: it is our own
// unfinished work, not somebody else's.
func (p *pass) forgetComparison(changes []plan.Change) {
	if p.app.Status.Compared != nil {
		plan.Uncompared(p.app.Status.Compared, changes)
	}
}

// recordSecrets keeps the list of published secrets: this one, and earlier ones
// that the server still accepts.
func (p *pass) recordSecrets() {
	if !p.isExisting() {
		p.app.Status.ReferencedSecretVersion = "" // when it is named again, the client may not have what it holds
	}
	if p.app.CredentialsType() != v1alpha1.CredentialsSecret {
		p.app.Status.Secrets = plan.NotOver(p.app, p.in.Now)
		return
	}
	if p.secret == nil {
		return
	}
	id := ""
	if stored := p.stored(); stored != nil {
		id = stored.id
	}
	before := p.app.Status.Secrets
	handled := plan.Handled(p.in, id)
	list := plan.Published(p.in, id, p.made != nil, p.isEnded)
	p.app.Status.Secrets, p.app.Status.LastHandledRotateAt = list[max(0, len(list)-maxSecrets):], handled
	p.noteRotation(before)
}

// isEnded tells whether the server does not accept a client secret any more, as
// far as it tells.
func (p *pass) isEnded(id string) bool {
	switch live := p.in.Live; {
	case slices.ContainsFunc(p.result.Actions, func(a plan.Action) bool { return a.Kind == plan.DeleteSecret && a.ID == id }):
		return true
	case live == nil:
		return false
	case !p.in.Server.Secrets:
		return true // it has one only
	case live.Client == nil || !live.Client.SecretsKnown:
		return !slices.ContainsFunc(plan.NotOver(p.app, p.in.Now), func(s v1alpha1.ClientSecretStatus) bool { return s.ID == id })
	default:
		return !slices.ContainsFunc(live.Client.Secrets, func(s plan.ClientSecret) bool { return s.ID == id })
	}
}
