// SPDX-License-Identifier: Apache-2.0

package management_test

import (
	"bytes"
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/audit"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/ended"
	"connectedapps.dev/operator/internal/tokenserver/endpoint/management"
	"connectedapps.dev/operator/internal/tokenserver/keys"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlstore"
	"connectedapps.dev/operator/internal/tokenserver/token"
)

const (
	orgA      = "aaaaaaaa-0000-4000-8000-000000000001"
	orgB      = "bbbbbbbb-0000-4000-8000-000000000002"
	childA    = "aaaaaaaa-0000-4000-8000-00000000000c"
	envA      = "aaaaaaaa-0000-4000-8000-0000000000e1"
	envB      = "bbbbbbbb-0000-4000-8000-0000000000e1"
	ownerA    = "aaaaaaaa-0000-4000-8000-0000000000f1"
	otherA    = "aaaaaaaa-0000-4000-8000-0000000000f2"
	memberA   = "aaaaaaaa-0000-4000-8000-0000000000f3"
	disabledA = "aaaaaaaa-0000-4000-8000-0000000000f4"
	ownerB    = "bbbbbbbb-0000-4000-8000-0000000000f1"
	callerApp = "0123456789abcdef0123456789abcdef"

	bareApps = "/accounts/api/connectedApplications"
)

func orgApps(org string) string {
	return "/accounts/api/organizations/" + org + "/connectedApplications"
}

// server is the management API over a real database. Tokens are made by name,
// so that a test says what a token holds beside what it may do.
type server struct {
	*httptest.Server
	t        *testing.T
	endpoint *management.Endpoint
	store    *sqlstore.Store
	now      atomic.Int64 // microseconds
	log      *lockedBuffer
	mu       sync.Mutex
	tokens   map[string]*token.AccessToken
}

type option func(*testing.T, *server)

func start(t *testing.T, options ...option) *server {
	t.Helper()
	s := &server{t: t, log: &lockedBuffer{}, tokens: map[string]*token.AccessToken{}}
	s.now.Store(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixMicro())
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "tokenserver.db"), s.clock())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	s.store = store
	logger := slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	live := directory.NewLive(testDirectory())
	s.endpoint = &management.Endpoint{
		Apps: store, Ended: ended.New(store, s.clock), View: clients.New(store, live), Directory: live, Users: store,
		Authenticate: s.authenticate, Credentials: hasher, WorkloadIssuers: []string{"prod", "staging"},
		Audit: &audit.Log{Logger: logger}, Now: s.clock, Logger: logger,
	}
	for _, option := range options {
		option(t, s)
	}
	mux := http.NewServeMux()
	s.endpoint.Mount(mux)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	s.client("admin", orgA, oauth.ScopeManageConnApps)
	s.client("adminB", orgB, oauth.ScopeManageConnApps)
	s.user("user", ownerA, orgA, oauth.ScopeFull)
	return s
}

func testDirectory() *directory.Directory {
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	admin := []string{directory.RoleOrganizationAdministrator}
	user := func(id, org, name string, enabled bool, roles []string) directory.User {
		return directory.User{ID: id, OrganizationID: org, Username: name, IDProviderID: directory.LocalProvider, Roles: roles, Enabled: enabled, CreatedAt: created}
	}
	return directory.New([]directory.Organization{
		{ID: orgA, Name: "A", OwnerID: ownerA, CreatedAt: created, Environments: []directory.Environment{{ID: envA, Name: "Sandbox", Type: "sandbox"}},
			IdentityProviders: []directory.IdentityProvider{{ID: "idp-a", Name: "Corporate"}}},
		{ID: childA, Name: "A child", ParentID: orgA, OwnerID: ownerA, CreatedAt: created},
		{ID: orgB, Name: "B", OwnerID: ownerB, CreatedAt: created, Environments: []directory.Environment{{ID: envB, Name: "Sandbox", Type: "sandbox"}}},
	}, []directory.User{
		user(ownerA, orgA, "owner", true, admin), user(otherA, orgA, "other", true, admin), user(memberA, orgA, "member", true, nil),
		user(disabledA, orgA, "gone", false, admin), user(ownerB, orgB, "owner", true, admin),
	})
}

func (s *server) clock() time.Time { return time.UnixMicro(s.now.Load()).UTC() }

// advance moves the clock on.
func (s *server) advance(d time.Duration) { s.now.Add(d.Microseconds()) }

// client makes a token of an app that calls on its own behalf. A scope may be
// written scope@org or scope@org/env.
func (s *server) client(name, org string, scopes ...string) {
	issued := &token.AccessToken{Subject: callerApp, ClientID: callerApp, OrgID: org, Scopes: []string{oauth.ScopeProfile}}
	for _, written := range scopes {
		scope, context, inContext := strings.Cut(written, "@")
		issued.Scopes = append(issued.Scopes, scope)
		if inContext {
			org, env, _ := strings.Cut(context, "/")
			issued.Contexts = append(issued.Contexts, token.Context{Scope: scope, Org: org, EnvID: env})
		}
	}
	s.give(name, issued)
}

// user makes a token of a user.
func (s *server) user(name, id, org string, scopes ...string) {
	s.give(name, &token.AccessToken{Subject: id, ClientID: callerApp, OrgID: org, Scopes: scopes, IsUser: true})
}

func (s *server) give(name string, issued *token.AccessToken) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[name] = issued
}

func (s *server) authenticate(r *http.Request) (*token.AccessToken, *oauth.Error) {
	scheme, name, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	s.mu.Lock()
	defer s.mu.Unlock()
	if issued, ok := s.tokens[name]; ok && strings.EqualFold(scheme, "bearer") {
		return issued, nil
	}
	return nil, oauth.Errorf(oauth.CodeInvalidToken, "the access token is missing, unknown or has expired")
}

type answered struct {
	status int
	header http.Header
	body   string
}

// call sends body, unless it is empty, with the named token.
func (s *server) call(as, method, path, body string) answered {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, strings.NewReader(body))
	require.NoError(s.t, err)
	if as != "" {
		r.Header.Set("Authorization", "Bearer "+as)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return s.send(r)
}

func (s *server) send(r *http.Request) answered {
	s.t.Helper()
	answer, err := s.Client().Do(r)
	require.NoError(s.t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(s.t, err)
	require.Equal(s.t, "no-store", answer.Header.Get("Cache-Control"))
	if len(body) > 0 {
		require.Equal(s.t, "application/json", answer.Header.Get("Content-Type"))
	}
	return answered{answer.StatusCode, answer.Header, string(body)}
}

// refused asserts an error answer to the letter.
func (a answered) refused(t *testing.T, status int, message string) {
	t.Helper()
	require.Equal(t, status, a.status, a.body)
	want, err := json.Marshal(map[string]any{"status": status, "message": message})
	require.NoError(t, err)
	require.JSONEq(t, string(want), a.body)
}

func (a answered) app(t *testing.T, status int) oauth.ConnectedApp {
	t.Helper()
	require.Equal(t, status, a.status, a.body)
	return decode[oauth.ConnectedApp](t, a.body)
}

func decode[T any](t *testing.T, body string) T {
	t.Helper()
	var v T
	require.NoError(t, json.Unmarshal([]byte(body), &v), body)
	return v
}

// create registers an app as the administrator's client.
func (s *server) create(body string) oauth.ConnectedApp {
	s.t.Helper()
	return s.call("admin", http.MethodPost, bareApps, body).app(s.t, http.StatusCreated)
}

func (s *server) clientCredentialsApp() oauth.ConnectedApp {
	s.t.Helper()
	return s.create(`{"client_name":"job","grant_types":["client_credentials"],"audience":"internal"}`)
}

// accepts tells whether the token endpoint would take the secret: it is among
// the live ones by its hash.
func (s *server) accepts(clientID, secret string) bool {
	s.t.Helper()
	app, err := s.store.App(s.t.Context(), clientID)
	require.NoError(s.t, err)
	for _, stored := range app.Secrets {
		if stored.Live(s.clock()) && hmac.Equal(stored.Hash, hasher.Hash(secret)) {
			return true
		}
	}
	return false
}

func (s *server) scopes(clientID string) []oauth.ContextScope {
	s.t.Helper()
	answer := s.call("admin", http.MethodGet, bareApps+"/"+clientID+"/scopes", "")
	require.Equal(s.t, http.StatusOK, answer.status, answer.body)
	return decode[oauth.List[oauth.ContextScope]](s.t, answer.body).Data
}

// recoverable seals secrets with a real key ring.
func recoverable(t *testing.T, s *server) {
	file := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(file, []byte(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))), 0o600))
	encryption, err := keys.LoadEncryptionKeys([]string{file})
	require.NoError(t, err)
	ring, err := keys.Open(t.Context(), s.store, encryption, keys.Options{})
	require.NoError(t, err)
	s.endpoint.Sealer = ring
}

var hasher = &token.SecretHasher{Key: []byte("key of the tests")}

type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
