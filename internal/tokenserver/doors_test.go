// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

var clientCredentials = []string{"grant_type", "client_credentials"}

// tokenDoors are all grants, with every kind of client authentication and token.
var tokenDoors = []door{
	{"client credentials", 200, func(b *building) attempt { return b.as("machine", oauth.PathToken, clientCredentials...) }},
	{"client credentials, opaque", 200, func(b *building) attempt { return b.as("opaque machine", oauth.PathToken, clientCredentials...) }},
	{"client credentials by private_key_jwt", 200, func(b *building) attempt { return b.as("keyed", oauth.PathToken, clientCredentials...) }},
	{"client credentials by private_key_jwt, opaque", 200, func(b *building) attempt {
		return b.as("opaque keyed", oauth.PathToken, clientCredentials...)
	}},
	{"client credentials by the token of a workload", 200, func(b *building) attempt { return b.as("workload", oauth.PathToken, clientCredentials...) }},
	{"a code", 200, func(b *building) attempt { return b.redemption("web") }},
	{"a code, opaque", 200, func(b *building) attempt { return b.redemption("opaque web") }},
	{"a refresh token", 200, func(b *building) attempt { return b.refreshing("web") }},
	{"a refresh token, opaque", 200, func(b *building) attempt { return b.refreshing("opaque web") }},
	{"a refresh token of a public client without grace", 200, func(b *building) attempt { return b.refreshing("public") }},
	{"a password", 200, func(b *building) attempt { return b.passwordOf("web") }},
	{"a password, opaque", 200, func(b *building) attempt { return b.passwordOf("opaque web") }},
	{"an assertion", 200, func(b *building) attempt { return b.vouch("vouching") }},
	{"an assertion, opaque", 200, func(b *building) attempt { return b.vouch("opaque vouching") }},
}

func (b *building) passwordOf(name string) attempt {
	return b.as(name, oauth.PathToken, "grant_type", "password", "username", "ulf", "password", tokenservertest.Password)
}

// bearerDoors are what tells about tokens, ends them or takes them.
var bearerDoors = []door{
	{"introspection of a JWT", 200, func(b *building) attempt {
		return b.as("machine", oauth.PathIntrospect, "token", b.machineToken("machine"))
	}},
	{"introspection of an opaque token by private_key_jwt", 200, func(b *building) attempt {
		return b.as("opaque keyed", oauth.PathIntrospect, "token", b.machineToken("opaque keyed"))
	}},
	{"introspection of a JWT by the token of a workload", 200, func(b *building) attempt {
		return b.as("workload", oauth.PathIntrospect, "token", b.machineToken("workload"))
	}},
	{"introspection of a refresh token", 200, func(b *building) attempt {
		return b.as("web", oauth.PathIntrospect, "token", b.tokens(b.redemption("web")).RefreshToken)
	}},
	{"revocation of a JWT", 200, func(b *building) attempt {
		return b.as("machine", oauth.PathRevoke, "token", b.machineToken("machine"))
	}},
	{"revocation of an opaque token by private_key_jwt", 200, func(b *building) attempt {
		return b.as("opaque keyed", oauth.PathRevoke, "token", b.machineToken("opaque keyed"))
	}},
	{"revocation of a refresh token", 200, func(b *building) attempt {
		return b.as("web", oauth.PathRevoke, "token", b.tokens(b.redemption("web")).RefreshToken)
	}},
	{"userinfo", 200, func(b *building) attempt {
		return b.send(http.MethodGet, oauth.PathUserInfo, b.asserted("vouching"), "")
	}},
	{"userinfo, opaque", 200, func(b *building) attempt {
		return b.send(http.MethodGet, oauth.PathUserInfo, b.asserted("opaque vouching"), "")
	}},
	{"profile", 200, func(b *building) attempt {
		return b.send(http.MethodGet, oauth.PathProfile, b.asserted("vouching"), "")
	}},
	{"profile, opaque", 200, func(b *building) attempt {
		return b.send(http.MethodGet, oauth.PathMe, b.asserted("opaque vouching"), "")
	}},
	{"an organization, opaque", 200, func(b *building) attempt {
		return b.send(http.MethodGet, oauth.PathOrganizations+"/"+b.i.OrgID, b.admin, "")
	}},
	{"signing in as a program", 200, func(b *building) attempt {
		return b.send(http.MethodPost, "/accounts/login", "", fmt.Sprintf(`{"username":"ulf","password":%q}`, tokenservertest.Password))
	}},
	{"signing out as a program", 204, func(b *building) attempt {
		return b.send(http.MethodGet, "/accounts/api/logout", b.machineToken("opaque machine"), "")
	}},
}

// shutDoors must stay shut, whatever the storage says.
var shutDoors = []door{
	{"a revoked token", 401, func(b *building) attempt {
		return b.send(http.MethodPost, oauth.PathConnectedApps, b.ended(b.machineToken("managing")), machineApp)
	}},
	{"a revoked JWT", 401, func(b *building) attempt {
		return b.send(http.MethodGet, oauth.PathProfile, b.ended(b.asserted("vouching")), "")
	}},
	{"a user whose provider is gone", 401, func(b *building) attempt {
		return b.afterTheyLeft(b.send(http.MethodGet, oauth.PathUserInfo, b.asserted("vouching"), ""))
	}},
	{"a user whose provider is gone, opaque", 401, func(b *building) attempt {
		return b.afterTheyLeft(b.send(http.MethodGet, oauth.PathMe, b.asserted("opaque vouching"), ""))
	}},
	{"a code of a disabled user", 400, func(b *building) attempt { return b.afterTheyLeft(b.redemption("web")) }},
	{"a refresh token of a disabled user", 400, func(b *building) attempt { return b.afterTheyLeft(b.refreshing("opaque web")) }},
	{"an unknown opaque token", 401, func(b *building) attempt { return b.send(http.MethodGet, oauth.PathConnectedApps, "cat_nobody", "") }},
	{"an assertion that was used", 400, func(b *building) attempt { return used(b.vouch("opaque vouching")) }},
	{"a client assertion that was used", 401, func(b *building) attempt { return used(b.as("keyed", oauth.PathToken, clientCredentials...)) }},
}

func used(do attempt) attempt {
	do()
	return do
}

// managementDoors are the management API, by an opaque token.
var managementDoors = []door{
	{"listing apps", 200, func(b *building) attempt { return b.send(http.MethodGet, oauth.PathConnectedApps, b.admin, "") }},
	{"creating an app", 201, func(b *building) attempt {
		return b.send(http.MethodPost, oauth.PathConnectedApps, b.admin,
			`{"client_name":"new","grant_types":["client_credentials"],"audience":"internal","external_id":"`+rand.Text()+`"}`)
	}},
	{"reading an app", 200, func(b *building) attempt { return b.manage(http.MethodGet, "", "") }},
	{"changing an app", 200, func(b *building) attempt { return b.manage(http.MethodPatch, "", `{"client_name":"renamed"}`) }},
	{"switching an app off", 200, func(b *building) attempt { return b.manage(http.MethodPatch, "", `{"enabled":false}`) }},
	{"deleting an app", 204, func(b *building) attempt { return b.manage(http.MethodDelete, "", "") }},
	{"reading scopes", 200, func(b *building) attempt { return b.manage(http.MethodGet, "/scopes", "") }},
	{"replacing scopes", 204, func(b *building) attempt { return b.manage(http.MethodPut, "/scopes", `{"scopes":[]}`) }},
	{"reading secrets", 200, func(b *building) attempt { return b.manage(http.MethodGet, "/secrets", "") }},
	{"adding a secret", 201, func(b *building) attempt { return b.manage(http.MethodPost, "/secrets", `{"overlap_seconds":60}`) }},
	{"listing users", 200, func(b *building) attempt {
		return b.send(http.MethodGet, oauth.PathOrganizations+"/"+b.i.OrgID+"/users", b.admin, "")
	}},
	{"switching a federated user off", 200, func(b *building) attempt { return b.switchUser(`{"enabled":false}`) }},
	{"switching a federated user on", 200, func(b *building) attempt { return b.switchUser(`{"enabled":true}`) }},
	{"the scope catalogue", 200, func(b *building) attempt { return b.send(http.MethodGet, oauth.PathScopeCatalog, b.admin, "") }},
}

func (b *building) manage(method, below, body string) attempt {
	_, path := b.managed()
	return b.send(method, path+below, b.admin, body)
}

// pageDoors are what people see.
var pageDoors = []door{
	{"authorizing when nobody is signed in", 303, func(b *building) attempt {
		return newVisitor(b.personWorld).attempt(http.MethodGet, b.authorization(), nil)
	}},
	{"the consent page", 200, func(b *building) attempt {
		return b.visitor().attempt(http.MethodGet, b.authorization("prompt", "consent"), nil)
	}},
	{"authorizing by POST", 303, func(b *building) attempt {
		q, _ := url.ParseQuery(strings.SplitN(b.authorization(), "?", 2)[1])
		return b.visitor().attempt(http.MethodPost, oauth.PathAuthorize, q)
	}},
	{"consenting", 303, func(b *building) attempt {
		v := b.visitor()
		page := v.get(b.authorization("prompt", "consent"))
		answer := form(page, "decision", "approve")
		answer["scope"] = []string{"openid", "profile"}
		return v.attempt(http.MethodPost, "/accounts/authorize-app", answer)
	}},
	{"authorizing what was allowed", 303, func(b *building) attempt {
		_, err := b.i.Store.WidenConsent(b.t.Context(), storage.Consent{UserID: tokenservertest.UserID, ClientID: b.app.ClientID, OrgID: b.i.OrgID,
			Scopes: []string{"openid", "profile"}, SecurityVersion: 1, CreatedAt: b.clock.Now()}, b.clock.Now())
		require.NoError(b.t, err)
		return b.visitor().attempt(http.MethodGet, b.authorization("prompt", "none"), nil)
	}},
	{"the sign-in page of who is signed in", 303, func(b *building) attempt {
		return b.visitor().attempt(http.MethodGet, "/accounts/sign-in", nil)
	}},
	{"signing in", 303, func(b *building) attempt {
		v := newVisitor(b.personWorld)
		return v.attempt(http.MethodPost, "/accounts/sign-in", form(v.get("/accounts/sign-in"), "username", "ulf", "password", tokenservertest.Password))
	}},
	{"signing in again", 303, func(b *building) attempt {
		v := b.visitor()
		page := v.get("/accounts/sign-in?" + url.Values{"continue": {b.authorization("prompt", "login")}}.Encode())
		return v.attempt(http.MethodPost, "/accounts/sign-in", form(page, "username", "ulf", "password", tokenservertest.Password))
	}},
	{"authorized apps", 200, func(b *building) attempt {
		v := b.visitor()
		b.clock.advance(2 * time.Minute) // the session is touched
		return v.attempt(http.MethodGet, "/accounts/authorized-apps", nil)
	}},
	{"revoking a consent", 303, func(b *building) attempt {
		v := b.visitor()
		return v.attempt(http.MethodPost, "/accounts/authorized-apps/revoke", form(v.get("/accounts/authorized-apps"), "client_id", b.apps["machine"].ClientID))
	}},
	{"the sign-out page", 200, func(b *building) attempt { return b.visitor().attempt(http.MethodGet, oauth.PathEndSession, nil) }},
	{"signing out", 200, func(b *building) attempt {
		v := b.visitor()
		return v.attempt(http.MethodPost, "/accounts/sign-out", form(v.get("/accounts/sign-out")))
	}},
	{"signing out by an app's hint", 200, func(b *building) attempt {
		hint := b.tokens(b.redemption("web")).IDToken
		return b.visitor().attempt(http.MethodGet, oauth.PathEndSession+"?"+url.Values{"id_token_hint": {hint}}.Encode(), nil)
	}},
}
