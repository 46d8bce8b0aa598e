// SPDX-License-Identifier: Apache-2.0

package importer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
)

// Hydra imports the clients that hydra list oauth2-clients --format json prints, or
// that GET /admin/clients answers with.
// https://www.ory.com/docs/hydra/reference/api#tag/oAuth2/operation/listOAuth2Clients
func Hydra(raw []byte, o Options) (*Result, error) {
	s := &source{}
	list, ok := objectsOf(raw)
	if !ok {
		document, err := newObject(raw, "", &s.about)
		if err != nil {
			return nil, errors.New("this is no list of Hydra's clients: a JSON list, or an object with items, is expected")
		}
		items, isList := document.members["items"]
		switch {
		case isList:
			if list, ok = objectsOf(items); !ok {
				return nil, errors.New("items is not a list")
			}
			document.usual("is_last_page", true)
			document.ignore("items")
			if token := document.text("next_page_token"); token != "" {
				s.about.add("next_page_token", "this is not the whole list: ask for the other pages too, with --page-token, or for one page with --page-size")
			}
			document.ignore("is_last_page")
			document.rest(notUnderstood)
		case len(document.members["client_id"]) > 0:
			list = []json.RawMessage{raw}
		default:
			return nil, errors.New("this is no list of Hydra's clients: it has neither items nor client_id")
		}
	}
	for _, client := range list {
		s.hydraClient(client)
	}
	return s.result(o)
}

func (s *source) hydraClient(raw []byte) {
	d := &draft{fields: fields{
		grants: "grant_types", redirects: "redirect_uris", postLogout: "post_logout_redirect_uris", scopes: "scope", keys: "jwks",
	}}
	c, err := newObject(raw, "", &d.left)
	if err != nil {
		s.leave("", "one of the clients "+err.Error())
		return
	}
	if d.id = c.text("client_id"); d.id == "" {
		s.leave("", "it has no client_id")
		return
	}
	if d.name = c.text("client_name"); d.name == "" {
		d.name = d.id
	}
	d.secret, d.noSecret = c.text("client_secret"), "Hydra keeps a hash of it alone"
	hydraAuthentication(c, d)
	hydraSpec(c, d)
	hydraRest(c)
	s.drafts = append(s.drafts, d)
}

func hydraAuthentication(c *object, d *draft) {
	d.authentication = c.text("token_endpoint_auth_method")
	keys, problem := keysOf(c.members["jwks"])
	switch {
	case d.authentication == "":
		d.authentication = oauth.AuthMethodSecretBasic // Hydra's default
	case d.authentication == oauth.AuthMethodNone, d.authentication == oauth.AuthMethodSecretBasic, d.authentication == oauth.AuthMethodSecretPost:
	case d.authentication == oauth.AuthMethodPrivateKeyJWT && len(keys) > 0:
		d.spec.PublicKeys = keys
		c.ignore("jwks")
		if problem != "" {
			d.left.add("jwks", problem)
		}
	default:
		d.left.add("token_endpoint_auth_method "+d.authentication, "there is no key of the client that can be carried over: the app authenticates with a secret")
		d.authentication = oauth.AuthMethodSecretPost
	}
	c.leave("the client does not authenticate by these keys, or they are of kinds that the token server does not take", "jwks")
	c.leave("the token server fetches no keys: put them into spec.publicKeys", "jwks_uri")
}

func hydraSpec(c *object, d *draft) {
	spec := &d.spec
	grants, ok := take[[]string](c, "grant_types")
	if !ok || len(grants) == 0 {
		grants = []string{oauth.GrantAuthorizationCode} // Hydra's default
	}
	for _, grant := range grants {
		if grant == oauth.GrantJWTBearer {
			d.left.add("grant_types "+grant, "Hydra trusts issuers, not clients, with assertions: see spec.publicKeys and spec.identityProviders")
			continue
		}
		spec.GrantTypes = append(spec.GrantTypes, v1alpha1.GrantType(grant))
	}
	for _, kind := range c.texts("response_types") {
		if kind != "code" {
			d.left.add("response_types "+kind, "the token server answers with a code alone")
		}
	}
	spec.RedirectURIs = converted[v1alpha1.RedirectURI](c.texts("redirect_uris"))
	spec.PostLogoutRedirectURIs = converted[v1alpha1.RedirectURI](c.texts("post_logout_redirect_uris"))
	for scope := range strings.FieldsSeq(c.text("scope")) {
		if scope == "offline" { // Hydra's own word
			scope = oauth.ScopeOfflineAccess
		}
		spec.Scopes = union(spec.Scopes, v1alpha1.ScopeAssignment{Scope: scope})
	}
	spec.ClientURI = v1alpha1.WebURI(c.text("client_uri"))
	spec.PolicyURI = v1alpha1.WebURI(c.text("policy_uri"))
	spec.TOSURI = v1alpha1.WebURI(c.text("tos_uri"))
	if format := c.text("access_token_strategy"); format == "jwt" || format == "opaque" {
		spec.AccessTokenFormat = v1alpha1.AccessTokenFormat(format)
	} else if format != "" {
		d.left.add("access_token_strategy "+format, "is neither jwt nor opaque")
	}
	if c.flag("skip_consent", false) {
		spec.SkipUserConsent = new(true)
	}
}

func hydraRest(c *object) {
	c.ignore("created_at", "updated_at", "client_secret_expires_at")
	c.usual("subject_type", "public")
	c.usual("userinfo_signed_response_alg", "none")
	c.leave("the token server asks nobody whether to sign out", "skip_logout_consent")
	c.leave("the token server tells no app of a logout", "frontchannel_logout_uri", "frontchannel_logout_session_required",
		"backchannel_logout_uri", "backchannel_logout_session_required")
	c.leave("a credential for changing the client at Hydra", "registration_access_token", "registration_client_uri")
	c.leave("sub is the same for all clients", "subject_type", "sector_identifier_uri")
	c.leave("browsers may call the token server from the origins of redirect URIs of public clients alone", "allowed_cors_origins")
	c.leave("tokens are for the token server's own audience", "audience")
	c.leave("the token server takes no request objects", "request_uris", "request_object_signing_alg")
	c.leave("the token server takes RS256, ES256 and EdDSA of every client", "token_endpoint_auth_signing_alg")
	for key := range c.members {
		if strings.HasSuffix(key, "_lifespan") {
			c.leave("lifetimes are the token server's, for all clients", key)
		}
	}
	c.leave("a ConnectedApp does not say it: put it into an annotation", "owner", "contacts", "metadata", "logo_uri")
	c.rest("the token server has no such setting of a client")
	slices.SortStableFunc(*c.left, func(a, b Remark) int { return strings.Compare(a.Field, b.Field) })
}

// keysOf are the public keys of a JWK Set; problem says which are of no use.
func keysOf(raw json.RawMessage) (keys []v1alpha1.PublicKey, problem string) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if len(bytes.TrimSpace(raw)) == 0 || json.Unmarshal(raw, &set) != nil {
		return nil, ""
	}
	for i, key := range set.Keys {
		text, err := publicPEM(key)
		if err != nil {
			problem = fmt.Sprintf("key %d %v", i+1, err)
			continue
		}
		keys = append(keys, v1alpha1.PublicKey{PEM: text})
	}
	return keys, problem
}
