// SPDX-License-Identifier: Apache-2.0

package organizations_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/endpoint/organizations"
	"connectedapps.dev/operator/internal/tokenserver/token"
)

var tokens = map[string]*token.AccessToken{
	"client":    {Subject: "app", ClientID: "app", OrgID: "root"},
	"child":     {Subject: "app", ClientID: "app", OrgID: "child"},
	"user":      {Subject: "u", ClientID: "app", OrgID: "root", Scopes: []string{"full"}, IsUser: true},
	"mail only": {Subject: "u", ClientID: "app", OrgID: "root", Scopes: []string{"email"}, IsUser: true},
	"circle":    {Subject: "app", ClientID: "app", OrgID: "circle-1"},
}

func start(t *testing.T) string {
	t.Helper()
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	mux := http.NewServeMux()
	(&organizations.Endpoint{
		Directory: directory.NewLive(directory.New([]directory.Organization{
			{ID: "root", Name: "Root", Domain: "root", OwnerID: "u", CreatedAt: created, Environments: []directory.Environment{
				{ID: "sand", Name: "Sandbox", Type: "sandbox"}, {ID: "prod", Name: "Production", Type: "production"},
			}},
			{ID: "child", Name: "Child", ParentID: "root", OwnerID: "u", CreatedAt: created},
			{ID: "grandchild", Name: "Grandchild", ParentID: "child", OwnerID: "nobody", CreatedAt: created},
			{ID: "other", Name: "Other", CreatedAt: created},
			{ID: "circle-1", Name: "1", ParentID: "circle-2", CreatedAt: created},
			{ID: "circle-2", Name: "2", ParentID: "circle-1", CreatedAt: created},
		}, []directory.User{{ID: "u", OrganizationID: "root", Username: "olga", Enabled: true}})),
		Logger: slog.New(slog.DiscardHandler),
		Authenticate: func(r *http.Request) (*token.AccessToken, *oauth.Error) {
			if issued, ok := tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]; ok {
				return issued, nil
			}
			return nil, oauth.Errorf(oauth.CodeInvalidToken, "no")
		},
	}).Mount(mux)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func TestOrganizations(t *testing.T) {
	base := start(t)
	const (
		sandbox    = `{"id":"sand","name":"Sandbox","organizationId":"root","isProduction":false,"type":"sandbox","clientId":""}`
		production = `{"id":"prod","name":"Production","organizationId":"root","isProduction":true,"type":"production","clientId":""}`
		noOrg      = `{"status":404,"message":"no such organization"}`
		child      = `{"id":"child","name":"Child","isRoot":false,"subOrganizations":[{"id":"grandchild","name":"Grandchild","isRoot":false,"subOrganizations":[]}]}`
	)
	for name, test := range map[string]struct {
		as, path string
		status   int
		body     string
	}{
		"an organization": {"client", "/root", 200, `{"id":"root","name":"Root","createdAt":"2026-01-02T03:04:05Z","parentId":null,"isRoot":true,"isMaster":true,
			"domain":"root","owner":{"id":"u","username":"olga"},"subscription":{"category":"Customer","type":"Unlimited","expiration":"9999-12-31T23:59:59.000Z"},
			"subOrganizationIds":["child","grandchild"],"environments":[` + sandbox + `,` + production + `],"entitlements":{}}`},
		"one below it": {"user", "/grandchild", 200, `{"id":"grandchild","name":"Grandchild","createdAt":"2026-01-02T03:04:05Z","parentId":"child","isRoot":false,"isMaster":false,
			"domain":"","owner":{"id":"nobody","username":""},"subscription":{"category":"Customer","type":"Unlimited","expiration":"9999-12-31T23:59:59.000Z"},
			"subOrganizationIds":[],"environments":[],"entitlements":{}}`},
		"environments":                     {"client", "/root/environments", 200, `{"data":[` + sandbox + `,` + production + `],"total":2}`},
		"no environments are an array":     {"client", "/child/environments", 200, `{"data":[],"total":0}`},
		"one environment":                  {"client", "/root/environments/prod", 200, production},
		"an environment of another":        {"client", "/child/environments/prod", 404, `{"status":404,"message":"no such environment"}`},
		"the hierarchy":                    {"client", "/root/hierarchy", 200, `{"id":"root","name":"Root","isRoot":true,"subOrganizations":[` + child + `]}`},
		"a part of the hierarchy":          {"child", "/child/hierarchy", 200, strings.Replace(child, `"isRoot":false`, `"isRoot":true`, 1)},
		"another organization":             {"client", "/other", 404, noOrg},
		"the one above":                    {"child", "/root", 404, noOrg},
		"the one above, its hierarchy":     {"child", "/root/hierarchy", 404, noOrg},
		"environments of another":          {"child", "/root/environments", 404, noOrg},
		"an unknown one":                   {"client", "/unknown", 404, noOrg},
		"a user who did not allow it":      {"mail only", "/root", 401, `{"status":401,"message":"the token lacks the permission: one of the scopes profile, full, read:full is needed"}`},
		"no token":                         {"nobody", "/root", 401, `{"status":401,"message":"no"}`},
		"from a circle, the way out fails": {"circle", "/root", 404, noOrg},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := get(t, base+"/accounts/api/organizations"+test.path, test.as)
			require.Equal(t, test.status, status, body)
			require.JSONEq(t, test.body, body)
		})
	}
}

// A circle of parents in the configuration must end, not hang the server.
func TestParentsInACircle(t *testing.T) {
	status, body := get(t, start(t)+"/accounts/api/organizations/circle-1/hierarchy", "circle")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "circle-2")
}

func get(t *testing.T, url, as string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+as)
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(body)
}
