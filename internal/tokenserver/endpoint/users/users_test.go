// SPDX-License-Identifier: Apache-2.0

package users

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/audit"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
	"connectedapps.dev/operator/internal/tokenserver/token"
)

const (
	orgA, orgB = "org-a", "org-b"
	pathA      = oauth.PathOrganizations + "/" + orgA + "/users"
	pathB      = oauth.PathOrganizations + "/" + orgB + "/users"
)

type server struct {
	*httptest.Server
	t     *testing.T
	log   bytes.Buffer
	ended []string
	// endError is what EndUser returns.
	endError error
}

func app(org string, scopes []string, contexts ...token.Context) *token.AccessToken {
	return &token.AccessToken{Subject: "app", ClientID: "app", OrgID: org, Scopes: scopes, Contexts: contexts}
}

func person(id string, scopes ...string) *token.AccessToken {
	return &token.AccessToken{Subject: id, ClientID: "app", OrgID: orgA, Scopes: scopes, IsUser: true}
}

var tokens = map[string]*token.AccessToken{
	"administrator":       person("admin", oauth.ScopeFull),
	"by narrower scope":   person("admin", oauth.ScopeManageConnApps),
	"app":                 app(orgA, []string{oauth.ScopeManageConnApps}),
	"app in context":      app(orgB, []string{oauth.ScopeFull}, token.Context{Scope: oauth.ScopeFull, Org: orgA}),
	"member":              person("member", oauth.ScopeFull),
	"former":              person("former", oauth.ScopeFull),
	"asserted":            person("fed-0", oauth.ScopeFull),
	"reader":              person("admin", oauth.ScopeReadFull),
	"profile":             person("admin", oauth.ScopeProfile),
	"app of B":            app(orgB, []string{oauth.ScopeManageConnApps}),
	"app in environment":  app(orgA, []string{oauth.ScopeFull}, token.Context{Scope: oauth.ScopeFull, Org: orgA, EnvID: "env"}),
	"app in B's context":  app(orgA, []string{oauth.ScopeFull}, token.Context{Scope: oauth.ScopeFull, Org: orgB}),
	"app with one for B":  app(orgA, []string{oauth.ScopeFull, oauth.ScopeProfile}, token.Context{Scope: oauth.ScopeFull, Org: orgB}),
	"app without a scope": app(orgA, []string{oauth.ScopeProfile}),
}

func start(t *testing.T) *server {
	t.Helper()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "db"), now)
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	for i := range 4 {
		org := orgA
		if i == 3 {
			org = orgB
		}
		_, err := store.PutUser(t.Context(), storage.User{ID: fmt.Sprint("fed-", i), OrgID: org, IDProviderID: "idp", Username: fmt.Sprint("f", i)},
			now.Add(time.Duration(i)*time.Second))
		require.NoError(t, err)
	}
	admin := []string{directory.RoleOrganizationAdministrator}
	local := directory.LocalProvider
	s := &server{t: t}
	logger := slog.New(slog.NewJSONHandler(&s.log, nil))
	mux := http.NewServeMux()
	(&Endpoint{
		Store: store, Now: func() time.Time { return now }, Logger: logger, Audit: &audit.Log{Logger: logger},
		Directory: directory.NewLive(directory.New([]directory.Organization{{ID: orgA}, {ID: orgB}}, []directory.User{
			{ID: "admin", OrganizationID: orgA, Username: "admin", Enabled: true, Roles: admin, IDProviderID: local},
			{ID: "member", OrganizationID: orgA, Username: "member", Enabled: true, IDProviderID: local},
			{ID: "former", OrganizationID: orgA, Username: "former", Roles: admin, IDProviderID: local},
			{ID: "other", OrganizationID: orgB, Username: "other", Enabled: true, Roles: admin, IDProviderID: local},
		})),
		Authenticate: func(r *http.Request) (*token.AccessToken, *oauth.Error) {
			if issued, ok := tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]; ok {
				return issued, nil
			}
			return nil, oauth.Errorf(oauth.CodeInvalidToken, "no")
		},
		EndUser: func(_ context.Context, id string) error { s.ended = append(s.ended, id); return s.endError },
	}).Mount(mux)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *server) call(as, method, path, body string) (int, string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, strings.NewReader(body))
	require.NoError(s.t, err)
	r.Header.Set("Authorization", "Bearer "+as)
	answer, err := s.Client().Do(r)
	require.NoError(s.t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(s.t, err)
	return answer.StatusCode, string(text)
}

func ids(t *testing.T, body string) (found []string, total int) {
	t.Helper()
	var list oauth.List[oauth.User]
	require.NoError(t, json.Unmarshal([]byte(body), &list), body)
	for _, u := range list.Data {
		found = append(found, u.ID)
	}
	return found, list.Total
}

func TestUsersAreListedPageByPage(t *testing.T) {
	s := start(t)
	for query, want := range map[string][]string{
		"":                   {"admin", "member", "former", "fed-0", "fed-1", "fed-2"},
		"?limit=2":           {"admin", "member"},
		"?limit=2&offset=2":  {"former", "fed-0"},
		"?limit=2&offset=4":  {"fed-1", "fed-2"},
		"?limit=3":           {"admin", "member", "former"},
		"?offset=9":          nil,
		"?offset=2147483647": nil,
	} {
		status, body := s.call("administrator", http.MethodGet, pathA+query, "")
		require.Equal(t, http.StatusOK, status, body)
		found, total := ids(t, body)
		require.Equal(t, want, found, query)
		require.Equal(t, 6, total, query)
	}
	_, body := s.call("administrator", http.MethodGet, pathA+"?offset=9", "")
	require.JSONEq(t, `{"data":[],"total":6}`, body)
	for _, query := range []string{"?limit=0", "?limit=501", "?offset=-1", "?limit=x", "?limit=%zz"} {
		status, body := s.call("administrator", http.MethodGet, pathA+query, "")
		require.Equal(t, http.StatusBadRequest, status, body)
	}
}

func TestWhoMaySeeAndSwitchUsers(t *testing.T) {
	s := start(t)
	for as, want := range map[string]int{
		"administrator": 200, "by narrower scope": 200, "app": 200, "app in context": 200,
		"member": 401, "former": 401, "asserted": 401, "reader": 401, "profile": 401, "app without a scope": 401,
		"app in environment": 401, "app in B's context": 401, "app with one for B": 401, "app of B": 404, "nobody": 401,
	} {
		for _, call := range []struct{ method, path, body string }{
			{"GET", pathA, ""}, {"GET", pathA + "/fed-0", ""}, {"PATCH", pathA + "/fed-0", `{"enabled":true}`}, {"PUT", pathA + "/fed-0", `{"enabled":true}`},
		} {
			status, body := s.call(as, call.method, call.path, call.body)
			require.Equal(t, want, status, "%s %s: %s", as, call.method, body)
		}
	}
	for _, path := range []string{pathB, pathB + "/fed-3", oauth.PathOrganizations + "/unknown/users"} {
		status, _ := s.call("administrator", http.MethodGet, path, "")
		require.Equal(t, http.StatusNotFound, status, path)
	}
}

func TestOnlyUsersOfTheOrganizationAreThere(t *testing.T) {
	s := start(t)
	for path, want := range map[string]int{
		pathA + "/admin": 200, pathA + "/fed-1": 200, pathA + "/other": 404, pathA + "/fed-3": 404, pathA + "/unknown": 404,
	} {
		status, body := s.call("administrator", http.MethodGet, path, "")
		require.Equal(t, want, status, "%s: %s", path, body)
		if want == 404 {
			status, _ = s.call("administrator", http.MethodPatch, path, `{"enabled":false}`)
			require.Equal(t, want, status)
		}
	}
	require.Empty(t, s.ended)
	status, _ := s.call("administrator", http.MethodDelete, pathA+"/fed-1", "")
	require.Equal(t, http.StatusMethodNotAllowed, status)
}

func TestAnAssertedUserIsSwitchedOffAndOn(t *testing.T) {
	for _, method := range []string{http.MethodPatch, http.MethodPut} {
		t.Run(method, func(t *testing.T) {
			s := start(t)
			status, body := s.call("administrator", method, pathA+"/fed-1", `{"enabled":false}`)
			require.Equal(t, http.StatusOK, status, body)
			require.Contains(t, body, `"enabled":false`)
			require.Contains(t, body, `"isFederated":true`)
			require.Equal(t, []string{"fed-1"}, s.ended, "its tokens end")
			require.Contains(t, s.log.String(), `"action":"user_edited","org_id":"org-a","user_id":"fed-1"`)
			require.Contains(t, s.log.String(), `"actor_subject":"admin"`)
			_, body = s.call("administrator", http.MethodGet, pathA+"/fed-1", "")
			require.Contains(t, body, `"enabled":false`)

			_, body = s.call("administrator", method, pathA+"/fed-1", `{"enabled":true}`)
			require.Contains(t, body, `"enabled":true`)
			require.Len(t, s.ended, 1, "switching on ends nothing")
			require.Equal(t, 2, strings.Count(s.log.String(), "user_edited"))
			_, _ = s.call("administrator", method, pathA+"/fed-1", `{"enabled":true}`)
			require.Equal(t, 2, strings.Count(s.log.String(), "user_edited"), "nothing changed")
		})
	}
}

func TestAHookThatFailsIsCalledAgain(t *testing.T) {
	s := start(t)
	s.endError = fmt.Errorf("the disk is gone: %w", storage.ErrUnavailable)
	status, _ := s.call("administrator", http.MethodPatch, pathA+"/fed-1", `{"enabled":false}`)
	require.Equal(t, http.StatusServiceUnavailable, status)
	s.endError = nil
	status, _ = s.call("administrator", http.MethodPatch, pathA+"/fed-1", `{"enabled":false}`)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, []string{"fed-1", "fed-1"}, s.ended)
}

func TestALocalUserIsChangedInTheConfiguration(t *testing.T) {
	s := start(t)
	status, body := s.call("administrator", http.MethodPatch, pathA+"/member", `{"enabled":false}`)
	require.Equal(t, http.StatusConflict, status)
	require.Contains(t, body, "the user comes from the server's configuration")
	require.Empty(t, s.ended)
}

func TestBodiesThatAreRefused(t *testing.T) {
	s := start(t)
	for _, body := range []string{
		``, `null`, `{}`, `[]`, `"enabled"`, `{"enabled":null}`, `{"enabled":"false"}`, `{"enabled":0}`, `{"Enabled":false}`, `{"enabled":{}}`,
		`{"enabled":false,"enabled":true}`, `{"enabled":false,"username":"x"}`, `{"enabled":false}{}`, `{"enabled":false`, `{"enabled":false}x`,
	} {
		status, answer := s.call("administrator", http.MethodPatch, pathA+"/fed-1", body)
		require.Equal(t, http.StatusBadRequest, status, "%s: %s", body, answer)
	}
	status, _ := s.call("administrator", http.MethodPatch, pathA+"/fed-1", strings.Repeat(" ", maxBody+1))
	require.Equal(t, http.StatusRequestEntityTooLarge, status)
	require.Empty(t, s.ended)
}

// FuzzParseEnabled checks that the only bodies taken are the two there are, but
// for space.
func FuzzParseEnabled(f *testing.F) {
	for _, seed := range []string{`{"enabled":true}`, ` { "enabled" : false } `, `{"enabled":true,"enabled":false}`, `{"\u0065nabled":true}`, `[`, `{"enabled":[`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		enabled, err := parseEnabled([]byte(body))
		if err != nil {
			return
		}
		var members map[string]bool
		require.NoError(t, json.Unmarshal([]byte(body), &members))
		require.Equal(t, map[string]bool{"enabled": enabled}, members)
	})
}
