// SPDX-License-Identifier: Apache-2.0

package importer

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
)

// Keycloak imports the OpenID Connect clients of a realm export, of several, or of a
// list of clients as kcadm prints it.
// https://www.keycloak.org/docs-api/latest/rest-api/index.html#ClientRepresentation
func Keycloak(raw []byte, o Options) (*Result, error) {
	s := &source{}
	if err := s.keycloak(raw, ""); err != nil {
		return nil, err
	}
	s.about.add("consent", "Keycloak asks people only where consentRequired is true; the token server asks each once: "+
		"spec.skipUserConsent changes that where an access rule and an administrator of the token server allow it")
	return s.result(o)
}

// keycloak reads a realm, a client, or a list of either.
func (s *source) keycloak(raw []byte, path string) error {
	if list, ok := objectsOf(raw); ok && path == "" {
		for _, one := range list {
			if err := s.keycloak(one, "[]"); err != nil {
				return err
			}
		}
		return nil
	}
	realm, err := newObject(raw, "", &s.about)
	if err != nil {
		return errors.New("this is neither a realm export nor a list of clients: a JSON object, or a list of objects, is expected")
	}
	clients, isRealm := realm.members["clients"]
	if !isRealm {
		if _, ok := realm.members["clientId"]; !ok {
			return errors.New("this is neither a realm export nor a client of Keycloak: it has neither clients nor clientId")
		}
		s.keycloakClient(raw, "")
		return nil
	}
	list, ok := objectsOf(clients)
	if !ok {
		return errors.New("clients of the realm is not a list")
	}
	name := realm.text("realm")
	for _, client := range list {
		s.keycloakClient(client, name)
	}
	realm.ignore("clients", "id")
	realm.together("settings of the realm, not of a client")
	return nil
}

// keycloakOwn are the clients that Keycloak makes in each realm for itself.
var keycloakOwn = []string{"account", "account-console", "admin-cli", "broker", "realm-management", "security-admin-console"}

func (s *source) keycloakClient(raw []byte, realm string) {
	d := &draft{fields: fields{
		grants: "grant type", redirects: "redirectUris", postLogout: "attributes.post.logout.redirect.uris", scopes: "client scope",
		keys: "attributes.jwt.credential.certificate",
	}}
	c, err := newObject(raw, "", &d.left)
	if err != nil {
		s.leave("", "one of clients "+err.Error())
		return
	}
	d.id = c.text("clientId")
	switch protocol := c.text("protocol"); {
	case d.id == "":
		s.leave("", "it has no clientId")
		return
	case slices.Contains(keycloakOwn, d.id), realm == "master" && strings.HasSuffix(d.id, "-realm"):
		s.leave(d.id, "it is Keycloak's own")
		return
	case protocol != "" && protocol != "openid-connect":
		s.leave(d.id, "its protocol is "+protocol+", not OpenID Connect")
		return
	case c.flag("bearerOnly", false):
		s.leave(d.id, "it is bearerOnly: a service that gets no tokens needs no client")
		return
	}
	if d.name = c.text("name"); d.name == "" || strings.HasPrefix(d.name, "${") {
		d.name = d.id
	}
	if !c.flag("enabled", true) {
		d.spec.Enabled = new(false)
	}
	attributes := c.object("attributes")
	if attributes == nil {
		attributes = &object{path: "attributes.", left: &d.left}
	}
	attributes.nothing = []string{"false"}
	keycloakAuthentication(c, attributes, d)
	keycloakURIs(c, attributes, d)
	keycloakGrants(c, attributes, d)
	keycloakScopes(c, d)
	keycloakRest(c, attributes, d)
	s.drafts = append(s.drafts, d)
}

func keycloakAuthentication(c, attributes *object, d *draft) {
	isPublic, by := c.flag("publicClient", false), c.text("clientAuthenticatorType")
	d.secret, d.noSecret = c.text("secret"), "the export has none"
	if d.secret != "" && strings.Trim(d.secret, "*") == "" {
		d.secret, d.noSecret = "", "the export hides it (kc.sh export does not)"
	}
	certificate := attributes.text("jwt.credential.certificate")
	switch {
	case isPublic:
		if by != "" && by != "client-secret" {
			d.left.add("clientAuthenticatorType "+by, "a public client has none")
		}
		d.authentication = oauth.AuthMethodNone
	case by == "client-jwt" && certificate != "":
		d.authentication = oauth.AuthMethodPrivateKeyJWT
		d.spec.PublicKeys = []v1alpha1.PublicKey{{PEM: certificatePEM(certificate)}}
		return
	case by != "" && by != "client-secret":
		d.left.add("clientAuthenticatorType "+by, "the token server does not offer it in this form: the app authenticates with a secret")
	}
	if certificate != "" {
		d.left.add("attributes.jwt.credential.certificate", "the client does not authenticate by it")
	}
}

func certificatePEM(base64 string) string {
	const begin, end = "-----BEGIN CERTIFICATE-----\n", "\n-----END CERTIFICATE-----\n"
	base64 = strings.Join(strings.Fields(base64), "")
	var lines []string
	for line := range slices.Chunk([]byte(base64), 64) {
		lines = append(lines, string(line))
	}
	return begin + strings.Join(lines, "\n") + end
}

// keycloakURIs reads the addresses. Those without a host are below rootUrl.
func keycloakURIs(c, attributes *object, d *draft) {
	root := c.text("rootUrl")
	below := func(uri string) string {
		if strings.HasPrefix(uri, "/") {
			return strings.TrimSuffix(root, "/") + uri
		}
		return uri
	}
	for _, uri := range c.texts("redirectUris") {
		uri = below(uri)
		if strings.Contains(uri, "*") {
			d.left.add("redirectUris "+uri, "redirect URIs are compared exactly: list each that the app uses")
			continue
		}
		d.spec.RedirectURIs = append(d.spec.RedirectURIs, v1alpha1.RedirectURI(uri))
	}
	for uri := range strings.SplitSeq(attributes.text("post.logout.redirect.uris"), "##") {
		switch {
		case uri == "", uri == "-": // none
		case uri == "+":
			d.spec.PostLogoutRedirectURIs = append(d.spec.PostLogoutRedirectURIs, d.spec.RedirectURIs...)
		case strings.Contains(uri, "*"):
			d.left.add(d.fields.postLogout+" "+uri, "redirect URIs are compared exactly: list each that the app uses")
		default:
			d.spec.PostLogoutRedirectURIs = append(d.spec.PostLogoutRedirectURIs, v1alpha1.RedirectURI(below(uri)))
		}
	}
	base := below(c.text("baseUrl"))
	if base == "" {
		base = root
	}
	d.spec.ClientURI = v1alpha1.WebURI(base)
	d.spec.PolicyURI = v1alpha1.WebURI(attributes.text("policyUri"))
	d.spec.TOSURI = v1alpha1.WebURI(attributes.text("tosUri"))

	origins := map[string]bool{"+": true}
	for _, uri := range d.spec.RedirectURIs {
		if u, err := url.Parse(string(uri)); err == nil {
			origins[u.Scheme+"://"+u.Host] = true
		}
	}
	for _, origin := range c.texts("webOrigins") {
		if !origins[origin] {
			d.left.add("webOrigins "+origin, "browsers may call the token server from the origins of redirect URIs of public clients alone")
		}
	}
}

func keycloakGrants(c, attributes *object, d *draft) {
	add := func(grants ...v1alpha1.GrantType) { d.spec.GrantTypes = append(d.spec.GrantTypes, grants...) }
	const refresh = "use.refresh.tokens"
	attributes.usual(refresh, "true")
	refreshes := !attributes.usual(refresh, "false")
	if c.flag("standardFlowEnabled", true) {
		add(oauth.GrantAuthorizationCode)
		if refreshes {
			add(oauth.GrantRefreshToken)
		}
	}
	if c.flag("directAccessGrantsEnabled", false) {
		add(oauth.GrantPassword)
	}
	if c.flag("serviceAccountsEnabled", false) {
		add(oauth.GrantClientCredentials)
	}
	if c.flag("implicitFlowEnabled", false) {
		d.left.add("implicitFlowEnabled", "the token server has no implicit grant: use authorization_code with PKCE")
	}
	const device = "oauth2.device.authorization.grant.enabled"
	attributes.leave("the token server has no device grant", device)
	attributes.leave("the token server has no CIBA grant", "oidc.ciba.grant.enabled")
}

// keycloakBuiltIn are client scopes that every realm has, and what of them the
// token server has.
var keycloakBuiltIn = map[string]string{
	"profile": oauth.ScopeProfile, "email": oauth.ScopeEmail, "offline_access": oauth.ScopeOfflineAccess,
	"address": "", "phone": "", "roles": "", "web-origins": "", "microprofile-jwt": "", "acr": "", "basic": "", "organization": "", "service_account": "",
}

func keycloakScopes(c *object, d *draft) {
	forUsers := slices.ContainsFunc(d.spec.GrantTypes, func(g v1alpha1.GrantType) bool { return g != oauth.GrantClientCredentials })
	if forUsers {
		d.spec.Scopes = assignments([]string{oauth.ScopeOpenID}) // implied by the protocol
	}
	for _, scope := range slices.Concat(c.texts("defaultClientScopes"), c.texts("optionalClientScopes")) {
		ours, isBuiltIn := keycloakBuiltIn[scope]
		switch {
		case !isBuiltIn:
			d.left.add("client scope "+scope, "its name is carried over, and is in tokens; its mappers are not")
			d.spec.Scopes = append(d.spec.Scopes, v1alpha1.ScopeAssignment{Scope: scope})
		case ours == "":
			d.left.add("client scope "+scope, "the token server has no such scope")
		default:
			d.spec.Scopes = append(d.spec.Scopes, v1alpha1.ScopeAssignment{Scope: ours})
		}
	}
	if slices.Contains(d.spec.GrantTypes, oauth.GrantRefreshToken) {
		d.spec.Scopes = union(d.spec.Scopes, v1alpha1.ScopeAssignment{Scope: oauth.ScopeOfflineAccess}) // refresh tokens need it here
	}
}

// keycloakRest reads what is left of a client, and remarks what cannot be carried
// over.
func keycloakRest(c, attributes *object, d *draft) {
	spec := &d.spec
	if alg := signingAlg(attributes, "access.token.signed.response.alg"); alg != "" {
		spec.AccessTokenSigningAlg = alg
	}
	if alg := signingAlg(attributes, "id.token.signed.response.alg"); alg != "" {
		spec.IDTokenSigningAlg = alg
	}
	if d.authentication == oauth.AuthMethodNone {
		attributes.usual("pkce.code.challenge.method", "S256") // every public client needs it
	}
	attributes.leave("PKCE is taken, but required of public clients alone, and with S256", "pkce.code.challenge.method")
	attributes.ignore("client.secret.creation.time", "realm_client")
	attributes.leave("lifetimes are the token server's, for all clients", "access.token.lifespan", "client.session.idle.timeout",
		"client.session.max.lifespan", "client.offline.session.idle.timeout", "client.offline.session.max.lifespan")
	attributes.leave("the token server tells no app of a logout", "backchannel.logout.url", "backchannel.logout.session.required",
		"backchannel.logout.revoke.offline.tokens", "frontchannel.logout.url", "frontchannel.logout.session.required")
	attributes.rest("the token server has no such setting of a client")

	c.ignore("id", "access", "origin")
	const noRoles = "the token server has no roles and mappers: apps read claims of the scopes that it has"
	c.unlessUsual("fullScopeAllowed", true, noRoles)
	c.unlessUsual("nodeReRegistrationTimeout", -1, "the token server keeps no nodes of a client")
	c.usual("consentRequired", true) // the token server asks
	c.leave(noRoles, "protocolMappers", "defaultRoles")
	c.leave("the token server has no authorization services", "authorizationServicesEnabled", "authorizationSettings")
	c.leave("the token server tells no app of a logout", "frontchannelLogout", "adminUrl")
	c.leave("sign-in is the token server's, the same for all clients", "authenticationFlowBindingOverrides")
	c.leave("a credential for changing the client at Keycloak", "registrationAccessToken")
	c.leave("a ConnectedApp has no description: put it into an annotation", "description")
	c.rest("the token server has no such setting of a client")
}

// signingAlg is an algorithm that the token server signs with; any other stays for
// the rest.
func signingAlg(o *object, key string) v1alpha1.SigningAlg {
	for _, alg := range []v1alpha1.SigningAlg{"RS256", "ES256"} {
		if o.usual(key, alg) {
			return alg
		}
	}
	return ""
}
