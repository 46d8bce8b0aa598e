// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/controller/tokenserver"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/plan"
	"connectedapps.dev/operator/internal/registrar"
)

// registration makes the client on the token server and keeps it as wanted.
type registration struct {
	memory       *memory
	losses       *tokenserver.Losses
	addFinalizer func(context.Context, *v1alpha1.ConnectedApp) (added bool, err error)
	now          time.Time
	resync       time.Duration
	clusterID    string
}

func (p registration) reconcile(ctx context.Context, s *scope) error {
	if !p.isDue(s) {
		return nil
	}
	if s.connection == nil {
		return notRegistered(s, errNoConnection(s.server))
	}
	if err := p.find(ctx, s); err != nil {
		return notRegistered(s, remoteError(err))
	}
	if err := p.follow(ctx, s); err != nil {
		return notRegistered(s, remoteError(err))
	}
	p.reportDrift(s)
	status.True(s.app, v1alpha1.ConditionRegistered, v1alpha1.ReasonRegistered, "registered as client "+s.app.Status.ClientID)
	return nil
}

// isDue tells whether the server has to be asked: something is pending, the
// Secret needs it, or the last comparison is a while ago.
func (p registration) isDue(s *scope) bool {
	if !s.wasReady || !s.intact() || s.app.Status.ClientID == "" {
		return true
	}
	if s.existing != nil && s.existing.version != s.app.Status.ReferencedSecretVersion {
		return true
	}
	return p.memory.isDue(s.app, p.now, p.resync, s.want)
}

// find sets live: the client as the server has it, which is registered when it
// is not there.
func (p registration) find(ctx context.Context, s *scope) error {
	if s.app.Status.ClientID == "" {
		return p.register(ctx, s)
	}
	err := p.read(ctx, s)
	if !registrar.IsNotFound(err) {
		return err
	}
	lost := s.app.Status.ClientID
	s.drift = []plan.Change{{Field: "registration", Old: "client " + lost + " is gone", New: "registered"}}
	if s.app.Spec.DriftPolicy == v1alpha1.DriftReport {
		p.reportDrift(s)
		return status.StalledError(v1alpha1.ReasonDriftDetected,
			"client %s is gone from the token server, and driftPolicy Report leaves it so", lost)
	}
	if err := p.losses.Judge(ctx, s.server.Name, s.connection, lost); err != nil {
		s.drift = nil
		return err
	}
	s.app.Status.ClientID, s.app.Status.Revision, s.app.Status.Secrets = "", "", nil
	s.stored, s.replaced, s.repaired = nil, true, true
	return p.register(ctx, s)
}

// register creates the client. The finalizer goes first, so that whatever is
// made will also be deleted; that it is there already tells that an earlier
// attempt may have come further.
func (p registration) register(ctx context.Context, s *scope) error {
	added, err := p.addFinalizer(ctx, s.app)
	if err != nil {
		return err
	}
	if !added && !s.replaced {
		app, err := s.connection.AppByExternalID(ctx, p.externalID(s.app))
		if err == nil {
			s.app.Status.ClientID = app.ClientID
			s.stored = storedSecret(s.secret, app.ClientID)
			return p.read(ctx, s)
		}
		if !registrar.IsNotFound(err) {
			return err
		}
	}
	answer, err := s.connection.Register(ctx, p.externalID(s.app), allFields(s.want))
	if err != nil {
		return err
	}
	s.app.Status.ClientID = answer.App.ClientID
	s.app.Status.Issuer = s.connection.Issuer
	if answer.Existed {
		// The secret in the answer is one more that nobody knows of; the plan
		// deletes it with any other.
		s.stored = storedSecret(s.secret, answer.App.ClientID)
		return p.read(ctx, s)
	}
	s.app.Status.Revision = answer.App.Revision
	if answer.App.ClientSecret != "" {
		s.made = &clientSecret{id: secretID(&answer.App), value: answer.App.ClientSecret}
	}
	s.live = &plan.Live{Client: clientOf(&answer.App)}
	return nil
}

// secretID is the id of the secret in an answer, or a word in its place on
// servers that know only one secret.
func secretID(app *oauth.ConnectedApp) string {
	if app.ClientSecretID == "" {
		return "current"
	}
	return app.ClientSecretID
}

// read sets live from the server. What is pending needs the present state, a
// resync may be content with a list that is not old.
func (p registration) read(ctx context.Context, s *scope) error {
	maxAge := p.resync / 2
	if !s.wasReady || !s.intact() {
		maxAge = 0
	}
	app, err := s.connection.App(ctx, s.app.Status.ClientID, maxAge)
	if err != nil {
		return err
	}
	if app.ExternalID != p.externalID(s.app) && s.connection.Discovery.Has(oauth.ExtensionExternalID) {
		return status.StalledError(v1alpha1.ReasonOwnedElsewhere,
			"client %s on the token server belongs to somebody else; it was left as it is", s.app.Status.ClientID)
	}
	s.live = liveOf(app)
	s.changed = s.wasReady && app.Revision != "" && app.Revision != s.app.Status.Revision
	s.app.Status.Revision = app.Revision
	s.app.Status.Issuer = s.connection.Issuer
	return nil
}

// follow carries out what the plan says about the client.
func (p registration) follow(ctx context.Context, s *scope) error {
	changes := plan.Diff(s.live.Client, s.want)
	result := plan.Make(plan.Input{
		Want: s.want, Live: s.live, Changed: s.changed, ReportDrift: s.app.Spec.DriftPolicy == v1alpha1.DriftReport,
		NotTaken: p.memory.notTaken(s.app, changes),
	})
	if s.drift == nil {
		s.drift = result.Drift
	}
	for _, action := range result.Actions {
		if err := p.do(ctx, s, action); err != nil {
			return err
		}
		s.repaired = len(s.drift) > 0
	}
	return nil
}

func (p registration) do(ctx context.Context, s *scope, action plan.Action) error {
	id := s.app.Status.ClientID
	switch action.Kind {
	case plan.Update:
		otherKind := s.live.Client.ActsForItself() != s.want.ActsForItself()
		answer, err := s.connection.Update(ctx, id, someFields(s.want, action.Changes, otherKind))
		if err != nil {
			return err
		}
		s.app.Status.Revision = answer.Revision
		p.learn(s, answer, action.Changes)
	case plan.AssignScopes:
		if err := s.connection.PutScopes(ctx, id, contextScopes(s.want)); err != nil {
			return err
		}
		s.app.Status.Revision = "" // the answer has no body
	case plan.Register, plan.DeleteSecret, plan.MakeSecret:
		return fmt.Errorf("planning for client %s: %s is not for this phase", id, action.Kind)
	}
	return nil
}

// learn notes what the server did not keep of an update, so that it is not sent
// again and again.
func (p registration) learn(s *scope, answer *oauth.ConnectedApp, sent []plan.Change) {
	got := clientOf(answer)
	if got.ActsForItself() {
		got.Scopes = s.want.Scopes // they have an answer of their own
	}
	isSent := func(c plan.Change) bool {
		return slices.ContainsFunc(sent, func(other plan.Change) bool { return other.Field == c.Field })
	}
	s.notKept = slices.DeleteFunc(plan.Diff(got, s.want), func(c plan.Change) bool { return !isSent(c) })
	p.memory.learn(s.app, s.notKept)
}

// reportDrift keeps the condition Drifted.
func (p registration) reportDrift(s *scope) {
	switch {
	case len(s.drift) > 0 && s.repaired:
		status.False(s.app, v1alpha1.ConditionDrifted, v1alpha1.ReasonDriftRepaired, "undone: "+describe(s.drift))
	case len(s.drift) > 0:
		status.True(s.app, v1alpha1.ConditionDrifted, v1alpha1.ReasonDriftDetected, "changed on the token server: "+describe(s.drift))
	case status.IsTrue(s.app, v1alpha1.ConditionDrifted) && (s.changed || !s.wasReady):
		status.False(s.app, v1alpha1.ConditionDrifted, v1alpha1.ReasonNoDrift, "the client is as the spec says again")
	}
}

func describe(changes []plan.Change) string {
	texts := make([]string, len(changes))
	for i, c := range changes {
		texts[i] = c.String()
	}
	return strings.Join(texts, "; ")
}

// externalID names the object across clusters, and tells it from one of the
// same name that was there before.
func (p registration) externalID(app *v1alpha1.ConnectedApp) string {
	return externalID(p.clusterID, app)
}

func externalID(clusterID string, app *v1alpha1.ConnectedApp) string {
	return strings.Join([]string{clusterID, app.Namespace, app.Name, string(app.UID)}, "/")
}
