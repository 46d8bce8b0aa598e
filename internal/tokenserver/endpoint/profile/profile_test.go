// SPDX-License-Identifier: Apache-2.0

package profile_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/endpoint/profile"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
	"connectedapps.dev/operator/internal/tokenserver/token"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

const (
	org   = "11111111-0000-4000-8000-000000000001"
	child = "11111111-0000-4000-8000-000000000002"
	owner = "11111111-0000-4000-8000-0000000000f1"
	jane  = "11111111-0000-4000-8000-0000000000f2"
	gone  = "11111111-0000-4000-8000-0000000000f3"
	appID = "0123456789abcdef0123456789abcdef"
)

var tokens = map[string]*token.AccessToken{
	"client":       {Subject: appID, ClientID: appID, OrgID: org},
	"stray client": {Subject: "stray", ClientID: "stray", OrgID: org},
	"jane":         {Subject: jane, ClientID: appID, OrgID: org, Scopes: []string{"profile"}, IsUser: true},
	"session":      {Subject: jane, ClientID: "login", OrgID: org, Scopes: []string{"full"}, IsUser: true},
	"mail only":    {Subject: jane, ClientID: appID, OrgID: org, Scopes: []string{"email"}, IsUser: true},
	"disabled":     {Subject: gone, ClientID: appID, OrgID: org, Scopes: []string{"full"}, IsUser: true},
	"unknown":      {Subject: "unknown", ClientID: appID, OrgID: org, Scopes: []string{"full"}, IsUser: true},
	"asserted":     {Subject: "", ClientID: appID, OrgID: org, Scopes: []string{"read:full"}, IsUser: true},
}

// start serves the profile; the app of the tokens is owned by appOwner.
func start(t *testing.T, appOwner string) string {
	t.Helper()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	created := time.Date(2026, 1, 2, 3, 4, 5, 600e6, time.UTC)
	dir := directory.NewLive(directory.New([]directory.Organization{
		{ID: org, Name: "Main", Domain: "main", OwnerID: owner, CreatedAt: created, IdentityProviders: []directory.IdentityProvider{{ID: "idp"}}},
		{ID: child, Name: "Child", ParentID: org, OwnerID: owner, CreatedAt: created},
	}, []directory.User{
		{ID: owner, OrganizationID: org, Username: "owner", FirstName: "Olga", IDProviderID: directory.LocalProvider, Enabled: true, CreatedAt: created},
		{ID: jane, OrganizationID: org, Username: "jane", FirstName: "Jane", LastName: "Doe", Email: "jane@example.com", PhoneNumber: "+1 555 0100",
			IDProviderID: directory.LocalProvider, Enabled: true, CreatedAt: created},
		{ID: gone, OrganizationID: org, Username: "gone", IDProviderID: directory.LocalProvider, CreatedAt: created},
	}))
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "db"), now)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	_, err = store.CreateApp(t.Context(), storage.App{ClientID: appID, OrgID: org, Name: "GitProxy", OwnerUserID: appOwner, Enabled: true, CreatedAt: now, UpdatedAt: now})
	require.NoError(t, err)
	view := clients.New(store, dir)
	require.NoError(t, view.Load(t.Context()))
	asserted, err := store.PutUser(t.Context(), storage.User{ID: "asserted-1", OrgID: org, IDProviderID: "idp", Username: "fed"}, now)
	require.NoError(t, err)

	mux := http.NewServeMux()
	(&profile.Endpoint{
		View: view, Directory: dir, People: &user.People{Directory: dir, Store: store}, Logger: slog.New(slog.DiscardHandler),
		Authenticate: func(r *http.Request) (*token.AccessToken, *oauth.Error) {
			name := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
			issued, ok := tokens[name]
			if !ok {
				return nil, oauth.Errorf(oauth.CodeInvalidToken, "no")
			}
			if name == "asserted" {
				withID := *issued
				withID.Subject = asserted.ID
				return &withID, nil
			}
			return issued, nil
		},
	}).Mount(mux)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func get(t *testing.T, method, url, as string) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+as)
	r.Header.Set("Content-Type", "application/json") // some clients send it on a GET
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Equal(t, "application/json", answer.Header.Get("Content-Type"))
	require.Equal(t, "no-store", answer.Header.Get("Cache-Control"))
	return answer.StatusCode, answer.Header, string(body)
}

func TestTheUserOnTheWire(t *testing.T) {
	base := start(t, owner)
	status, _, body := get(t, http.MethodGet, base+"/accounts/api/profile", "jane")
	require.Equal(t, http.StatusOK, status, body)
	golden, err := os.ReadFile("testdata/user.json")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		var v any
		require.NoError(t, json.Unmarshal([]byte(body), &v))
		text, _ := json.MarshalIndent(v, "", "  ")
		require.NoError(t, os.WriteFile("testdata/user.json", append(text, '\n'), 0o644))
		return
	}
	require.NoError(t, err)
	require.JSONEq(t, string(golden), body)
}

func TestThreeShapes(t *testing.T) {
	base := start(t, owner)
	for _, path := range []string{"/accounts/api/profile", "/accounts/api/profile/", "/accounts/api/users/me", "/accounts/api/users/me/"} {
		status, _, body := get(t, http.MethodGet, base+path, "client")
		require.Equal(t, http.StatusOK, status)
		require.Contains(t, body, `"username":"owner"`, "an app is answered with its owner")
		require.NotContains(t, body, `"client"`)
	}
	for _, path := range []string{"/accounts/api/me", "/accounts/api/me/"} {
		_, _, body := get(t, http.MethodGet, base+path, "client")
		var me oauth.Me
		require.NoError(t, json.Unmarshal([]byte(body), &me))
		require.Equal(t, &oauth.MeClient{ClientID: appID, Name: "GitProxy", OrgID: org, ClientType: "control"}, me.Client)
		require.Equal(t, owner, me.User.ID)
		require.Equal(t, org, me.User.Organization.ID)
	}
	_, _, body := get(t, http.MethodGet, base+"/accounts/api/me", "jane")
	require.Contains(t, body, `"client_type":"control"`, "a user's token was issued to an app too")
	_, _, body = get(t, http.MethodGet, base+"/accounts/api/me", "session")
	require.NotContains(t, body, `"client"`, "a session of a user belongs to no app")
}

func TestWhoIsAnswered(t *testing.T) {
	base := start(t, gone)
	for as, test := range map[string]struct {
		status int
		has    string
	}{
		"jane":         {200, `"username":"jane"`},
		"asserted":     {200, `"isFederated":true`},
		"client":       {200, `"username":"owner"`}, // the app's owner is disabled: the organization's owner
		"stray client": {404, `{"status":404,"message":"the app of this token has no owner"}`},
		"mail only":    {401, `{"status":401,"message":"the token lacks the permission: one of the scopes profile, full, read:full is needed"}`},
		"disabled":     {401, `{"status":401,"message":"the user of this token is gone"}`},
		"unknown":      {401, `{"status":401,"message":"the user of this token is gone"}`},
		"no token":     {401, `{"status":401,"message":"no"}`},
	} {
		t.Run(as, func(t *testing.T) {
			status, header, body := get(t, http.MethodGet, base+"/accounts/api/me", as)
			require.Equal(t, test.status, status)
			require.Contains(t, body, test.has)
			require.Equal(t, status == 401, header.Get("WWW-Authenticate") != "")
		})
	}
	status, header, _ := get(t, http.MethodPost, base+"/accounts/api/me", "jane")
	require.Equal(t, http.StatusMethodNotAllowed, status)
	require.Equal(t, "GET", header.Get("Allow"))
}
