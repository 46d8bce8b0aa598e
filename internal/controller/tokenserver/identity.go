// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/identity"
	"connectedapps.dev/operator/internal/controller/object"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/registrar"
)

// checkServer stops at a server that is not the one apps were registered on, or
// no longer has their clients: making them anew would change every client. What
// is known of it is in no object that a deletion or an edit takes along. The
// annotation accept-server lets it pass when it answers the question that the
// condition asks.
func (r *Reconciler) checkServer(ctx context.Context, server *v1alpha1.TokenServer, connection *inventory.Connection, found *findings) error {
	record, err := r.Identities.Get(ctx, server.Name)
	if err != nil {
		return status.TransientError(v1alpha1.ReasonWriteFailed, err, "reading the ConfigMap %s failed", identity.ConfigMapName(server.Name))
	}
	users, err := apps(ctx, r.Client, server.Name)
	if err != nil {
		return err
	}
	before, known := record, identityKnown(record, server, users)
	if known.InstallationID != "" && found.starts() {
		r.Connections.Remove(server.Name) // it may be another one all the same
		return &registrar.Error{Op: "probing", Reason: registrar.ReasonServerError, Message: "the server is starting: it does not know its database yet"}
	}
	changes := known.Changes(found.identity())
	registered := count(users, mayBeRegistered)
	if registered == 0 {
		changes = nil
	}
	if len(changes) > 0 {
		r.Connections.Remove(server.Name) // nobody is to ask it meanwhile
	}
	lost, err := r.losses(ctx, server.Name, connection, found, users, record, len(changes) > 0)
	if err != nil {
		return err
	}
	if len(changes) > 0 || lost != nil && lost.isMass(record.AcceptedLosses) {
		return r.askPerson(ctx, server, found, before, record, question{changes, registered, lost})
	}
	record.Identity, record.Question = found.identity(), nil
	if lost != nil {
		record.AcceptedLosses = min(record.AcceptedLosses, len(lost.lost))
	}
	return r.settle(ctx, server, found, before, record, lost)
}

// losses counts the clients that are missing, when something may have changed;
// nil: nothing has.
func (r *Reconciler) losses(
	ctx context.Context, name string, connection *inventory.Connection, found *findings, users []v1alpha1.ConnectedApp, record identity.Record, changed bool,
) (*loss, error) {
	due := changed || found.total < len(recorded(users)) || r.memory.dropped(name, found.total) ||
		connection.Inventory == nil || record.Question != nil || record.AcceptedLosses > 0
	if !due || len(users) == 0 {
		return nil, nil //nolint:nilnil // nothing to report
	}
	return r.Losses.count(ctx, name, connection.Client, users, record.AcceptedLosses)
}

// question is what a person has to decide.
type question struct {
	changes    []string // of the identity
	registered int      // apps that may have a client
	lost       *loss    // nil: not counted
}

// askPerson goes on when the annotation accepts just this, and otherwise says
// what to accept.
func (r *Reconciler) askPerson(ctx context.Context, server *v1alpha1.TokenServer, found *findings, before, record identity.Record, q question) error {
	lost := 0
	if q.lost != nil {
		lost = len(q.lost.lost)
	}
	answer := record.Ask(found.identity(), lost, r.now()).Answer()
	if server.Annotations[v1alpha1.AnnotationAcceptServer] == answer {
		record.Accept()
		// Nothing that was read of it before is true any more.
		r.memory.connected(server.Name, nil)
		return r.settle(ctx, server, found, before, record, q.lost)
	}
	if err := r.remember(ctx, server.Name, before, record); err != nil {
		return err
	}
	return status.StalledError(v1alpha1.ReasonServerReplaced, "%s; to go on with it: kubectl annotate --overwrite tokenserver %s '%s=%s'",
		q.text(), server.Name, v1alpha1.AnnotationAcceptServer, answer)
}

func (q question) text() string {
	if len(q.changes) == 0 {
		return fmt.Sprintf("%d of the %d clients of ConnectedApps are gone from the server at once: it was replaced or restored from a backup, "+
			"and none of them is registered anew", len(q.lost.lost), q.lost.apps)
	}
	text := fmt.Sprintf("this is another server than the one that %d ConnectedApps are registered on: %s", q.registered, strings.Join(q.changes, ", "))
	if q.lost != nil {
		text += fmt.Sprintf("; it has %d of their %d clients", q.lost.apps-len(q.lost.lost), q.lost.apps)
	}
	return text
}

// settle remembers the server before anybody may use it.
func (r *Reconciler) settle(ctx context.Context, server *v1alpha1.TokenServer, found *findings, before, record identity.Record, lost *loss) error {
	if err := r.remember(ctx, server.Name, before, record); err != nil {
		return err
	}
	r.memory.compared(server.Name, found.total)
	r.memory.heals(server.Name, record.AcceptedLosses > 0 && record.AcceptedLosses != before.AcceptedLosses)
	r.Losses.accept(server.Name, record.AcceptedLosses, lost)
	return nil
}

// remember writes what is known. Its error is a *status.Error.
func (r *Reconciler) remember(ctx context.Context, name string, before, record identity.Record) error {
	what := "ConfigMap " + identity.ConfigMapName(name)
	err := object.WriteError(what, r.Identities.Put(ctx, name, before, record))
	if _, ok := errors.AsType[*status.Error](err); err == nil || ok {
		return err
	}
	return status.TransientError(v1alpha1.ReasonWriteFailed, err, "writing %s failed", what)
}

// starts tells of a server with our extensions that it has not opened its database yet,
// whose id it tells together with them: not known is not another one.
func (f *findings) starts() bool {
	return f.discovery.InstallationID == "" && len(f.discovery.Extensions) > 0
}

func (f *findings) identity() identity.Identity {
	return identity.Identity{Issuer: f.discovery.Issuer, OrganizationID: f.organization, InstallationID: f.discovery.InstallationID}
}

// identityKnown is the server that apps are registered on: as it is remembered,
// else as the status says, else as the apps do.
func identityKnown(record identity.Record, server *v1alpha1.TokenServer, users []v1alpha1.ConnectedApp) identity.Identity {
	if record.Identity != (identity.Identity{}) {
		return record.Identity
	}
	if s := server.Status; s.Issuer != "" {
		return identity.Identity{Issuer: s.Issuer, OrganizationID: s.OrganizationID, InstallationID: s.InstallationID}
	}
	for i := range users {
		if issuer := users[i].Status.Issuer; issuer != "" {
			return identity.Identity{Issuer: issuer}
		}
	}
	return identity.Identity{}
}

// recall fills the status of an object that was made anew, or lost it, with what
// is remembered of the server its spec means: access rules speak of the
// organization, which is then known while the server is away.
func (r *Reconciler) recall(ctx context.Context, server *v1alpha1.TokenServer) error {
	if server.Status.Issuer != "" {
		return nil
	}
	record, err := r.Identities.Get(ctx, server.Name)
	if err != nil {
		return err
	}
	spec := server.Spec
	if record.Issuer != spec.URL+oauth.IssuerPath || spec.OrganizationID != "" && spec.OrganizationID != record.OrganizationID {
		return nil
	}
	s := &server.Status
	s.Issuer, s.OrganizationID, s.InstallationID = record.Issuer, record.OrganizationID, record.InstallationID
	return nil
}
