// SPDX-License-Identifier: Apache-2.0

package importer

import (
	"errors"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
)

// Dex imports the static clients of a dex configuration.
// https://dexidp.io/docs/configuration/
func Dex(raw []byte, o Options) (*Result, error) {
	document, err := yaml.YAMLToJSON(raw)
	if err != nil {
		return nil, errors.New("this is no dex configuration: it is not YAML")
	}
	s := &source{}
	config, err := newObject(document, "", &s.about)
	if err != nil {
		return nil, errors.New("this is no dex configuration: a YAML object is expected")
	}
	list, ok := objectsOf(config.members["staticClients"])
	if !ok {
		return nil, errors.New("this is no dex configuration with clients: it has no list staticClients")
	}
	for _, client := range list {
		s.dexClient(client)
	}
	config.ignore("staticClients")
	config.leave("dex asks people for their consent unless this says otherwise; the token server asks each once: "+
		"spec.skipUserConsent changes that where an access rule and an administrator of the token server allow it", "oauth2")
	config.leave("the token server's configuration says where people sign in: organizations[].identityProviders, users", "connectors",
		"enablePasswordDB", "staticPasswords")
	config.leave("lifetimes are the token server's", "expiry")
	config.together("settings of dex, not of a client")
	return s.result(o)
}

// dexScopes are those that each client of dex may ask for.
var dexScopes = []string{oauth.ScopeOpenID, oauth.ScopeProfile, oauth.ScopeEmail, oauth.ScopeGroups, oauth.ScopeOfflineAccess}

func (s *source) dexClient(raw []byte) {
	d := &draft{fields: fields{grants: "grant type", redirects: "redirectURIs", scopes: "scope"}}
	c, err := newObject(raw, "", &d.left)
	if err != nil {
		s.leave("", "one of staticClients "+err.Error())
		return
	}
	d.id = c.text("id")
	if d.id == "" {
		s.leave("", strings.TrimSpace("its id is not in the file, "+c.text("idEnv")))
		return
	}
	if d.name = c.text("name"); d.name == "" {
		d.name = d.id
	}
	d.authentication = oauth.AuthMethodSecretPost
	if c.flag("public", false) {
		d.authentication = oauth.AuthMethodNone
	}
	d.secret, d.noSecret = c.text("secret"), "the file has none"
	if variable := c.text("secretEnv"); variable != "" {
		d.secret, d.noSecret = "", "it is in the environment variable "+variable+" of dex"
	}
	if strings.Contains(d.secret, "{{") {
		d.secret, d.noSecret = "", "a template stands for it"
	}
	d.spec.GrantTypes = []v1alpha1.GrantType{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken}
	d.spec.Scopes = assignments(dexScopes)
	for _, uri := range c.texts("redirectURIs") {
		if slices.Contains([]string{"urn:ietf:wg:oauth:2.0:oob", "/device/callback"}, uri) {
			d.left.add("redirectURIs "+uri, "the token server shows no codes and has no device grant")
			continue
		}
		d.spec.RedirectURIs = append(d.spec.RedirectURIs, v1alpha1.RedirectURI(uri))
	}
	if d.authentication == oauth.AuthMethodNone && len(d.spec.RedirectURIs) == 0 {
		d.left.add("redirectURIs", "dex takes any on localhost of a public client without; the token server takes any port of those that are listed")
	}
	c.leave("the token server issues no tokens for other clients", "trustedPeers")
	c.leave("people sign in as the token server's configuration says, the same for all clients", "allowedConnectors")
	c.leave("the token server shows the organization's logo", "logoURL")
	c.rest("the token server has no such setting of a client")
	s.drafts = append(s.drafts, d)
}
