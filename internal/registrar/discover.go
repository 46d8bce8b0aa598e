// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"connectedapps.dev/operator/internal/oauth"
)

// Discovery is what a server says about itself.
type Discovery struct {
	oauth.Metadata
}

// Has tells whether the server has an extension of the management API.
func (d Discovery) Has(extension string) bool { return slices.Contains(d.Extensions, extension) }

// Discover reads the discovery document, without logging in, and checks that
// the server is the one configured: its issuer is the public URL and the
// issuer's path.
// https://www.rfc-editor.org/rfc/rfc8414#section-3.3
func (c *Client) Discover(ctx context.Context) (Discovery, error) {
	const doing = "reading the discovery document"
	var d Discovery
	status, err := c.do(ctx, request{doing: doing, method: http.MethodGet, path: oauth.PathDiscovery, public: true}, &d.Metadata)
	if err != nil {
		return d, err
	}
	if want := strings.TrimRight(c.config.URL, "/") + oauth.IssuerPath; d.Issuer != want {
		message := fmt.Sprintf("the server is the issuer %q, expected %q", printable(d.Issuer), want)
		return d, &Error{Doing: doing, Reason: ReasonIssuerMismatch, Status: status, Message: message}
	}
	return d, nil
}

// Organization returns the organization that the calls are about: the
// configured one, or that of the credentials.
func (c *Client) Organization(ctx context.Context) (string, error) {
	if c.config.OrganizationID != "" {
		return c.config.OrganizationID, nil
	}
	const doing = "reading the organization of the credentials"
	var me oauth.Me
	status, err := c.do(ctx, request{doing: doing, method: http.MethodGet, path: oauth.PathMe}, &me)
	if err != nil {
		return "", err
	}
	if me.Client != nil && me.Client.OrgID != "" {
		return me.Client.OrgID, nil
	}
	if me.User.OrganizationID != "" {
		return me.User.OrganizationID, nil
	}
	return "", &Error{Doing: doing, Reason: ReasonInvalidAnswer, Status: status, Message: "the answer names no organization"}
}
