// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
	"connectedapps.dev/operator/internal/tokenserver/user"
	"connectedapps.dev/operator/internal/tokenserver/workload"
)

// The attacks of docs/privileges.md happen in home, which lies between the root
// and a child of its own; other is beside them all.
const (
	rootOrg  = tokenservertest.OrgID
	homeOrg  = "11111111-1111-4111-8111-00000000000a"
	belowOrg = "11111111-1111-4111-8111-00000000000b"
	otherOrg = tokenservertest.OtherOrgID
	// realmCluster is a workload issuer of the configuration.
	realmCluster = "cluster"

	homeIDP = "11111111-1111-4111-8111-0000000000d1"

	carlID = "11111111-1111-4111-8111-0000000000c1"
	kimID  = "11111111-1111-4111-8111-0000000000c2"
	ginaID = "11111111-1111-4111-8111-0000000000c3"
)

// Callers of the management API, as rows of the tables.
const (
	homeAdmin    = "an administrator of the organization"
	rootAdmin    = "an administrator of the one above"
	configClient = "the administrator's client of the configuration"
	manager      = "a client with manage:orgconnapps"
	powerful     = "a client with full in context"
	narrowAdmin  = "an app that an administrator allowed manage:orgconnapps alone"
	member       = "a user without the role"
	otherAdmin   = "an administrator of another organization"
	belowAdmin   = "an administrator of the one below"
	weakApp      = "an app without permission"
)

// writers are the callers who may write apps of home; sovereigns among them speak
// as an administrator does.
var (
	sovereigns = []string{homeAdmin, rootAdmin}
	managers   = []string{configClient, manager, powerful, narrowAdmin}
	// strangers and what they are told.
	strangers = map[string]int{
		member: http.StatusUnauthorized, otherAdmin: http.StatusNotFound, belowAdmin: http.StatusNotFound, weakApp: http.StatusUnauthorized,
	}
)

// realm is a server with a tree of organizations, and a token of each caller.
type realm struct {
	*personWorld
	tokens map[string]string
	apps   string // the path of home's apps
}

func newRealm(t *testing.T, options ...tokenservertest.Option) *realm {
	t.Helper()
	r := &realm{personWorld: &personWorld{t: t, clock: &clock{}}, tokens: map[string]string{}}
	r.apps = oauth.PathOrganizations + "/" + homeOrg + "/connectedApplications"
	workloads, err := workload.New([]workload.Issuer{{Name: realmCluster, URL: "https://cluster.example", Audience: "here"}}, r.clock.Now)
	require.NoError(t, err)
	options = append(options, tokenservertest.WithConfig(func(c *tokenserver.Config) { c.Now, c.Workloads = r.clock.Now, workloads }))
	r.i = tokenservertest.Start(t, options...)
	require.NoError(t, r.i.Server.TakeDirectory(t.Context(), realmDirectory(t, nil)))
	for caller, name := range map[string]string{homeAdmin: "carl", rootAdmin: "olga", member: "kim", otherAdmin: "otto", belowAdmin: "gina"} {
		r.tokens[caller] = r.login(name)
	}
	r.tokens[configClient] = r.own(r.i.AdminClientID, r.i.AdminClientSecret)
	for caller, scopes := range map[string]string{
		manager: `{"scope":"manage:orgconnapps"}`, powerful: `{"scope":"full","context_params":{"org":"` + homeOrg + `"}}`, weakApp: ``,
	} {
		app := r.create(homeAdmin, `{"client_name":"machine","grant_types":["client_credentials"],"scopes":[`+scopes+`]}`)
		r.tokens[caller] = r.own(app.ClientID, app.ClientSecret)
	}
	tool := r.create(homeAdmin, `{"client_name":"tool","grant_types":["password"],"scopes":["manage:orgconnapps"]}`)
	r.tokens[narrowAdmin] = r.byPassword(tool, "carl").AccessToken
	return r
}

func realmDirectory(t *testing.T, change func(*directory.User)) *directory.Directory {
	t.Helper()
	hash, err := user.HashPassword(tokenservertest.Password)
	require.NoError(t, err)
	person := func(id, org, name string, roles ...string) directory.User {
		u := directory.User{ID: id, OrganizationID: org, Username: name, Email: name + "@example.com", IDProviderID: directory.LocalProvider,
			Roles: roles, Enabled: true, PasswordHash: hash, CreatedAt: time.Unix(1, 0)}
		if change != nil {
			change(&u)
		}
		return u
	}
	const admin = directory.RoleOrganizationAdministrator
	return directory.New([]directory.Organization{
		{ID: rootOrg, Name: "Root", OwnerID: tokenservertest.OwnerID},
		{ID: homeOrg, Name: "Home", OwnerID: carlID, ParentID: rootOrg, IdentityProviders: []directory.IdentityProvider{{ID: homeIDP}}},
		{ID: belowOrg, Name: "Below", OwnerID: ginaID, ParentID: homeOrg},
		{ID: otherOrg, Name: "Other", OwnerID: tokenservertest.OtherUserID},
	}, []directory.User{
		person(tokenservertest.OwnerID, rootOrg, "olga", admin), person(carlID, homeOrg, "carl", admin), person(kimID, homeOrg, "kim"),
		person(ginaID, belowOrg, "gina", admin), person(tokenservertest.OtherUserID, otherOrg, "otto", admin),
	})
}

// login is the sign-in of programs: a token for all that the user may do.
func (r *realm) login(name string) string {
	r.t.Helper()
	response, body := post(r.t, r.i.URL+"/accounts/login", "application/json",
		`{"username":"`+name+`","password":"`+tokenservertest.Password+`"}`, nil)
	require.Equal(r.t, http.StatusOK, response.StatusCode, body)
	var tokens oauth.TokenResponse
	require.NoError(r.t, json.Unmarshal([]byte(body), &tokens))
	return tokens.AccessToken
}

// own is a token of an app on its own behalf; empty when it gets none.
func (r *realm) own(clientID, secret string) string {
	r.t.Helper()
	_, tokens, _, _ := r.as(oauth.ConnectedApp{ClientID: clientID, ClientSecret: secret}).request("grant_type", "client_credentials")
	return tokens.AccessToken
}

func (r *realm) byPassword(app oauth.ConnectedApp, name string) oauth.TokenResponse {
	r.t.Helper()
	_, tokens, failure, _ := r.as(app).request("grant_type", "password", "username", name, "password", tokenservertest.Password)
	require.Empty(r.t, failure.Error, failure.ErrorDescription)
	return tokens
}

// as is the world with another app.
func (r *realm) as(app oauth.ConnectedApp) *personWorld {
	w := *r.personWorld
	w.app = app
	return &w
}

// call sends a request with a token.
func (r *realm) call(token, method, path, body string) (int, string) {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), method, r.i.URL+path, strings.NewReader(body))
	require.NoError(r.t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	require.NoError(r.t, err)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	require.NoError(r.t, err)
	return response.StatusCode, string(text)
}

// by calls as one of the callers.
func (r *realm) by(caller, method, path, body string) (int, string) {
	r.t.Helper()
	require.NotEmpty(r.t, r.tokens[caller], caller)
	return r.call(r.tokens[caller], method, path, body)
}

func (r *realm) create(caller, body string) oauth.ConnectedApp {
	r.t.Helper()
	status, text := r.by(caller, http.MethodPost, r.apps, body)
	require.Equal(r.t, http.StatusCreated, status, text)
	return r.decode(text)
}

func (r *realm) decode(text string) oauth.ConnectedApp {
	r.t.Helper()
	var app oauth.ConnectedApp
	require.NoError(r.t, json.Unmarshal([]byte(text), &app), text)
	return app
}

// read is the app as an administrator sees it.
func (r *realm) read(app oauth.ConnectedApp) oauth.ConnectedApp {
	r.t.Helper()
	_, text := r.by(homeAdmin, http.MethodGet, r.apps+"/"+app.ClientID, "")
	return r.decode(text)
}

// signedIn is a browser in which the person has signed in.
func (r *realm) signedIn(name string) *visitor {
	r.t.Helper()
	v := newVisitor(r.personWorld)
	page := v.get("/accounts/sign-in")
	done := v.do(http.MethodPost, "/accounts/sign-in", form(page, "username", name, "password", tokenservertest.Password))
	require.Equal(r.t, http.StatusSeeOther, done.StatusCode)
	return v
}

// What an authorization request led to.
const (
	gotCode = "a code without a page"
	gotPage = "the page"
)

// authorize opens the app's link. The second result is the code or the page.
func (v *visitor) authorize(app oauth.ConnectedApp, scope string) (string, answer) {
	v.t.Helper()
	a := v.get(oauth.PathAuthorize + "?" + url.Values{"client_id": {app.ClientID}, "response_type": {"code"}, "redirect_uri": {callback},
		"scope": {scope}, "code_challenge": {challenge}, "code_challenge_method": {"S256"}}.Encode())
	switch location := a.Header.Get("Location"); {
	case strings.HasPrefix(location, callback+"?code="), strings.HasPrefix(location, callback+"?") && strings.Contains(location, "&code="):
		return gotCode, a
	case a.StatusCode == http.StatusOK && strings.Contains(a.body, `name="decision"`):
		return gotPage, a
	}
	return "neither: " + a.Status + " " + a.Header.Get("Location"), a
}

// allow answers the page.
func (v *visitor) allow(page answer, scope string) answer {
	v.t.Helper()
	values := form(page, "decision", "approve")
	values["scope"] = strings.Fields(scope)
	return v.do(http.MethodPost, "/accounts/authorize-app", values)
}

// tokens redeems the code that an answer carries.
func (r *realm) redeemed(app oauth.ConnectedApp, a answer) oauth.TokenResponse {
	r.t.Helper()
	location, err := url.Parse(a.Header.Get("Location"))
	require.NoError(r.t, err)
	require.NotEmpty(r.t, location.Query().Get("code"), "%s %s", a.Status, location)
	_, tokens, failure := r.as(app).redeem(location.Query().Get("code"))
	require.Empty(r.t, failure.Error, failure.ErrorDescription)
	return tokens
}
