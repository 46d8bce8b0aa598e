// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"context"
	"errors"
	"slices"
	"time"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/metrics"
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
	found, err := r.ask(ctx, server, connection)
	if err != nil {
		r.keepAway(server.Name, connection, err)
		if connection.Inventory == nil { // nobody else has it
			connection.Client.Close()
		}
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
	total        int // of its apps, whoever made them
}

// ask makes the calls of a probe, cheapest first: who are you, may I manage apps
// of the organization, are you the one I know.
func (r *Reconciler) ask(ctx context.Context, server *v1alpha1.TokenServer, connection *inventory.Connection) (*findings, error) {
	api := connection.Client
	discovery, err := api.Discover(ctx)
	if err != nil {
		return nil, err
	}
	organization, err := api.Organization(ctx)
	if err != nil {
		return nil, err
	}
	page, err := api.List(ctx, 0, 1)
	if registrar.IsNotFound(err) {
		return nil, status.StalledError(v1alpha1.ReasonOrganizationNotFound, "the server does not know organization %s", organization)
	}
	if err != nil {
		return nil, err
	}
	found := &findings{discovery: discovery, organization: organization, total: page.Total}
	return found, r.checkServer(ctx, server, connection, found)
}

// fill writes the findings into the status. They stay there while the server is
// away: credentials Secrets are made from them.
func (f *findings) fill(s *v1alpha1.TokenServerStatus) {
	m := f.discovery.Metadata
	s.Issuer = m.Issuer
	s.OrganizationID = f.organization
	s.InstallationID = m.InstallationID
	s.Endpoints = endpoints(f.discovery)
	s.Extensions = extensions(f.discovery)
}

func endpoints(d *registrar.Discovery) v1alpha1.TokenServerEndpoints {
	return v1alpha1.TokenServerEndpoints{
		Token: d.TokenEndpoint, Authorization: d.AuthorizationEndpoint, JWKS: d.JWKSURI,
		UserInfo: d.UserinfoEndpoint, Introspection: d.IntrospectionEndpoint, Revocation: d.RevocationEndpoint,
	}
}

func extensions(d *registrar.Discovery) []string {
	return slices.Compact(slices.Sorted(slices.Values(d.Extensions)))
}

// authMethods are how clients may authenticate.
func authMethods(d *registrar.Discovery) []string {
	return slices.Compact(slices.Sorted(slices.Values(d.TokenEndpointAuthMethodsSupported)))
}

// handOver gives the connection to the other controllers, anew when it says
// something new: all apps look again then, since their Secrets are made of it.
func (r *Reconciler) handOver(server *v1alpha1.TokenServer, connection *inventory.Connection, found *findings) {
	if connection.Inventory != nil && hasContents(connection, found) && endpoints(&connection.Discovery) == endpoints(found.discovery) &&
		slices.Equal(authMethods(&connection.Discovery), authMethods(found.discovery)) {
		if r.memory.failed(server.Name) {
			connection.Recovered()
			r.Connections.Notify(server.Name)
		}
		return
	}
	fresh := *connection
	fresh.Issuer = found.discovery.Issuer
	fresh.OrganizationID = found.organization
	fresh.Discovery = *found.discovery
	fresh.Inventory = r.inventory(server.Name, connection, found)
	r.memory.connected(server.Name, &fresh)
	r.Connections.Set(server.Name, &fresh)
}

// inventory is an empty one when the server may hold something else than before:
// what is new is read, which costs several calls an app. Addresses, certificates
// and credentials change nothing of what is there.
func (r *Reconciler) inventory(name string, connection *inventory.Connection, found *findings) *inventory.Inventory {
	if connection.Inventory != nil && hasContents(connection, found) {
		connection.Recovered()
		return connection.Inventory
	}
	options := inventory.Options{
		ExternalID: found.discovery.Has(oauth.ExtensionExternalID),
		Revision:   found.discovery.Has(oauth.ExtensionRevision),
		Secrets:    found.discovery.Has(oauth.ExtensionSecrets),
		OnOpen:     func() { r.probeNow(name) },
		OnCall:     func(took time.Duration, err error) { metrics.Call(name, took, err) },
	}
	if r.ClusterID != "" {
		options.Unclaimed = r.unclaimed
	}
	// Only a server that tells its database is surely the same behind another
	// address.
	if last := r.memory.last(name); last != nil && found.discovery.InstallationID != "" && hasContents(last, found) {
		return last.Through(connection.Client, options)
	}
	return inventory.New(connection.Client, options)
}

// hasContents tells whether a connection is to the server that was found, with
// the abilities it has.
func hasContents(connection *inventory.Connection, found *findings) bool {
	return connection.Issuer == found.discovery.Issuer && connection.OrganizationID == found.organization &&
		connection.Discovery.InstallationID == found.discovery.InstallationID &&
		slices.Equal(extensions(&connection.Discovery), extensions(found.discovery))
}

// keepAway keeps others from a server in trouble: for a moment when time may
// heal it, altogether when it is not, or no longer, the server to talk to.
func (r *Reconciler) keepAway(name string, connection *inventory.Connection, err error) {
	if isOurs(err) {
		return
	}
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
	if !isOurs(err) {
		r.Connections.Remove(name)
	}
}

// isOurs tells whether an error is of our own API server, which says nothing about
// the token server.
func isOurs(err error) bool {
	known, ok := errors.AsType[*status.Error](err)
	return ok && (known.Kind == status.Transient || known.Kind == status.Race)
}
