// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"context"
	"errors"
	"slices"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/registrar"
)

// probe asks the server, fills in what it says about itself, and hands the
// connection over or takes it away. The error is a *status.Error.
func (r *Reconciler) probe(ctx context.Context, server *v1alpha1.TokenServer) error {
	config, err := r.configuration(ctx, server)
	if err != nil {
		r.withdraw(server.Name, err)
		return err
	}
	connection, err := r.connection(server, config)
	if err != nil {
		return err
	}
	found, err := r.ask(ctx, server, connection.Client)
	if err != nil {
		r.keepAway(server.Name, connection, err)
		return finding(err)
	}
	found.fill(&server.Status)
	r.handOver(server, connection, found)
	return nil
}

// connection returns the one in use when the configuration is still the same,
// with its log-in, else a new one that nobody has yet.
func (r *Reconciler) connection(server *v1alpha1.TokenServer, config registrar.Config) (*inventory.Connection, error) {
	mark := fingerprint(server, config)
	if known, ok := r.Connections.Get(server.Name); ok && known.Fingerprint == mark {
		return known, nil
	}
	// The one in use is no longer what the spec says.
	r.Connections.Remove(server.Name)
	api, err := registrar.New(config)
	if err != nil {
		return nil, status.StalledError(v1alpha1.ReasonUnreachable, "the server cannot be asked: %v", err)
	}
	return &inventory.Connection{
		Fingerprint: mark,
		URL:         config.URL,
		InternalURL: config.InternalURL,
		CABundle:    config.CABundle,
		Client:      api,
	}, nil
}

// findings are what a server that is well says about itself.
type findings struct {
	discovery    *registrar.Discovery
	organization string
}

// ask makes the calls of a probe, cheapest first: who are you, do I know you,
// may I manage apps of the organization.
func (r *Reconciler) ask(ctx context.Context, server *v1alpha1.TokenServer, api *registrar.Client) (*findings, error) {
	discovery, err := api.Discover(ctx)
	if err != nil {
		return nil, err
	}
	organization, err := api.Organization(ctx)
	if err != nil {
		return nil, err
	}
	found := &findings{discovery: discovery, organization: organization}
	if err := r.checkIdentity(ctx, server, found); err != nil {
		return nil, err
	}
	if _, err := api.List(ctx, 0, 1); registrar.IsNotFound(err) {
		return nil, status.StalledError(v1alpha1.ReasonOrganizationNotFound, "the server does not know organization %s", organization)
	} else if err != nil {
		return nil, err
	}
	return found, nil
}

// fill writes the findings into the status. They stay there while the server is
// away: credentials Secrets are made from them.
func (f *findings) fill(s *v1alpha1.TokenServerStatus) {
	m := f.discovery.Metadata
	s.Issuer = m.Issuer
	s.OrganizationID = f.organization
	s.InstallationID = m.InstallationID
	s.Endpoints = v1alpha1.TokenServerEndpoints{
		Token: m.TokenEndpoint, Authorization: m.AuthorizationEndpoint, JWKS: m.JWKSURI,
		UserInfo: m.UserinfoEndpoint, Introspection: m.IntrospectionEndpoint, Revocation: m.RevocationEndpoint,
	}
	s.Extensions = slices.Compact(slices.Sorted(slices.Values(m.Extensions)))
}

// handOver gives the connection to the other controllers, anew only when it
// says something new: an inventory that is replaced has to be read again.
func (r *Reconciler) handOver(server *v1alpha1.TokenServer, connection *inventory.Connection, found *findings) {
	if connection.Inventory != nil && same(connection, found) {
		connection.Recovered()
		if r.trouble.had(server.Name) {
			r.Connections.Notify(server.Name)
		}
		return
	}
	fresh := *connection
	fresh.Issuer = found.discovery.Issuer
	fresh.OrganizationID = found.organization
	fresh.Discovery = *found.discovery
	fresh.Inventory = inventory.New(connection.Client, inventory.Options{
		ExternalID: found.discovery.Has(oauth.ExtensionExternalID),
		Revision:   found.discovery.Has(oauth.ExtensionRevision),
		Secrets:    found.discovery.Has(oauth.ExtensionSecrets),
	})
	r.Connections.Set(server.Name, &fresh)
}

func same(connection *inventory.Connection, found *findings) bool {
	before, after := connection.Discovery.Metadata, found.discovery.Metadata
	return connection.OrganizationID == found.organization &&
		before.Issuer == after.Issuer && before.InstallationID == after.InstallationID &&
		before.TokenEndpoint == after.TokenEndpoint && before.RevocationEndpoint == after.RevocationEndpoint &&
		slices.Equal(before.Extensions, after.Extensions)
}

// keepAway keeps others from a server in trouble: for a moment when time may
// heal it, altogether when it is not, or no longer, the server to talk to.
func (r *Reconciler) keepAway(name string, connection *inventory.Connection, err error) {
	if !passing(err) {
		r.Connections.Remove(name)
		return
	}
	if connection.Inventory != nil {
		connection.Failed(err)
	}
}

// withdraw takes the connection away when what it needs is gone, not when it
// could not be read.
func (r *Reconciler) withdraw(name string, err error) {
	if known, ok := errors.AsType[*status.Error](err); ok && known.Kind == status.Transient {
		return
	}
	r.Connections.Remove(name)
}
