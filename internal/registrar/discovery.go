// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"golang.org/x/time/rate"

	"connectedapps.dev/operator/internal/oauth"
)

// Discovery is what a server says about itself.
type Discovery struct {
	oauth.Metadata
}

// Has tells whether the server offers an extension of the management API, one
// of oauth.Extension….
func (d *Discovery) Has(extension string) bool { return slices.Contains(d.Extensions, extension) }

// Discover reads the server's discovery document without logging in. The issuer
// in it must be the public URL's, also when the connection is to an internal
// address: a client that takes another issuer's document would send its users
// there (https://www.rfc-editor.org/rfc/rfc8414#section-3.3).
func (c *Client) Discover(ctx context.Context) (*Discovery, error) {
	const op = "reading the discovery document"
	d := &Discovery{}
	_, err := c.send(ctx, request{
		op: op, method: http.MethodGet, path: oauth.PathDiscovery, into: &d.Metadata, success: []int{http.StatusOK},
	}, "")
	if IsNotFound(err) {
		return nil, unexpected(op, http.StatusNotFound, "no discovery document")
	}
	if err != nil {
		return nil, err
	}
	if d.Issuer != c.issuer {
		return nil, &Error{
			Op: op, Reason: ReasonIssuerMismatch,
			Message: fmt.Sprintf("the issuer is %s, expected %s", c.redact.clean(d.Issuer), c.issuer),
		}
	}
	if err := checkMetadata(op, &d.Metadata); err != nil {
		return nil, err
	}
	c.limitFor(d)
	return d, nil
}

// limitFor takes the limit away from a server that lists our extensions, unless
// the configuration sets one: it says 429 when it is too much, and what is called
// at a time is bounded elsewhere. Any other server gets the default back.
func (c *Client) limitFor(d *Discovery) {
	if c.limited {
		return
	}
	if len(d.Extensions) > 0 {
		c.limiter.SetLimit(rate.Inf)
	} else {
		c.limiter.SetLimit(defaultRequestsPerSecond)
	}
}

// maxName bounds the names a server gives to itself and to its extensions.
const maxName = 128

func checkMetadata(op string, m *oauth.Metadata) error {
	if len(m.InstallationID) > maxName {
		return unexpected(op, http.StatusOK, "connectedapps_installation_id has more than %d bytes", maxName)
	}
	// Extensions nobody here knows are of no use; a list without end is none.
	m.Extensions = slices.DeleteFunc(m.Extensions, func(name string) bool { return len(name) > maxName })
	m.Extensions = m.Extensions[:min(len(m.Extensions), 100)]
	return checkEndpoints(op, m)
}

// checkEndpoints refuses a document whose addresses cannot be handed to anybody.
func checkEndpoints(op string, m *oauth.Metadata) error {
	for _, endpoint := range []struct {
		name, address string
		required      bool
	}{
		{"token_endpoint", m.TokenEndpoint, true},
		{"authorization_endpoint", m.AuthorizationEndpoint, false},
		{"jwks_uri", m.JWKSURI, false},
		{"userinfo_endpoint", m.UserinfoEndpoint, false},
		{"revocation_endpoint", m.RevocationEndpoint, false},
		{"introspection_endpoint", m.IntrospectionEndpoint, false},
	} {
		if endpoint.address == "" && !endpoint.required {
			continue
		}
		u, err := url.Parse(endpoint.address)
		if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || u.User != nil || len(endpoint.address) > 2048 {
			return unexpected(op, http.StatusOK, "%s is not an http or https URL", endpoint.name)
		}
	}
	return nil
}

// Organization returns the id of the organization whose apps are managed. When
// the configuration names none it logs in and asks, once.
func (c *Client) Organization(ctx context.Context) (string, error) {
	if known := c.organization.Load(); known != nil {
		return *known, nil
	}
	me, err := c.Me(ctx)
	if err != nil {
		return "", err
	}
	id := me.User.Organization.ID
	if me.Client != nil {
		id = cmp.Or(me.Client.OrgID, id)
	}
	if id == "" {
		return "", unexpected("asking who the credentials belong to", http.StatusOK, "no organization")
	}
	c.organization.Store(&id)
	return id, nil
}

// Me logs in and returns who the credentials belong to.
func (c *Client) Me(ctx context.Context) (*oauth.Me, error) {
	me := &oauth.Me{}
	_, err := c.authorized(ctx, request{
		op: "asking who the credentials belong to", method: http.MethodGet, path: oauth.PathMe, into: me, success: []int{http.StatusOK},
	})
	return me, err
}

// ScopeCatalogue logs in and returns the names of the scopes that the server
// lists (contract section 3.5); nil when it has no such list.
func (c *Client) ScopeCatalogue(ctx context.Context) ([]string, error) {
	const op = "reading the scope catalogue"
	var catalogue []oauth.CatalogScope
	_, err := c.authorized(ctx, request{
		op: op, method: http.MethodGet, path: oauth.PathScopeCatalog, into: &catalogue, limit: maxListBody, success: []int{http.StatusOK},
	})
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(catalogue))
	for _, scope := range catalogue {
		if scope.Scope != "" && len(scope.Scope) <= maxName {
			names = append(names, scope.Scope)
		}
	}
	return names, nil
}

// isMissing tells whether a server does not offer a path, be it in a proxy's
// words.
func isMissing(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Status == http.StatusNotFound || e.Status == http.StatusMethodNotAllowed || e.Status == http.StatusNotImplemented)
}
