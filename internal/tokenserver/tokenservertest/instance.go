// SPDX-License-Identifier: Apache-2.0

// Package tokenservertest starts the real token server for tests: SQLite in a
// temporary folder or a database of a real PostgreSQL server, HTTP on loopback, two organizations with users, and the
// administrator's client. Nothing of it is a fake.
package tokenservertest

import (
	"encoding/base64"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"crypto/rand"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/options/tokenserveroptions"
	"connectedapps.dev/operator/internal/tokenserver"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/keys"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/token"
)

// What every instance holds.
const (
	OrgID       = "11111111-1111-4111-8111-111111111111"
	OtherOrgID  = "22222222-2222-4222-8222-222222222222"
	EnvID       = "33333333-3333-4333-8333-333333333333"
	OwnerID     = "44444444-4444-4444-8444-444444444444"
	UserID      = "55555555-5555-4555-8555-555555555555"
	OtherUserID = "66666666-6666-4666-8666-666666666666"
	// ProviderID is an identity provider of OrgID.
	ProviderID = "0b132ac3-d8f6-44b2-953c-2333df741f05"

	AdminClientID      = "connectedapps-manager"
	OtherAdminClientID = "connectedapps-other-manager"

	// Password is that of all users whose PasswordHash WithPasswordHash set.
	Password = "correct horse battery staple"
)

// Instance is a running token server.
type Instance struct {
	// URL is the public URL.
	URL               string
	AdminClientID     string
	AdminClientSecret string
	// OtherAdminClientSecret belongs to OtherAdminClientID, of OtherOrgID.
	OtherAdminClientSecret string
	OrgID                  string
	Server                 *tokenserver.Server
	Store                  storage.Storage
	Keyring                *keys.Keyring
	Directory              *directory.Live
	HTTP                   *httptest.Server
}

// Option changes how an instance is started.
type Option func(*options)

type options struct {
	config     tokenserver.Config
	middleware func(http.Handler) http.Handler
	mutate     func(*directory.Organization, *directory.User)
	folder     string
	address    string
	tls        bool
	starting   starting
	wrap       func(storage.Storage) storage.Storage
	directory  *directory.Directory
}

// WithDirectory configures other organizations and users than Directory does.
func WithDirectory(d *directory.Directory) Option { return func(o *options) { o.directory = d } }

// WithTokenLifetime sets the life of access tokens.
func WithTokenLifetime(d time.Duration) Option {
	return func(o *options) { o.config.AccessTokenLifetime = d }
}

// WithConfig changes the server's configuration.
func WithConfig(change func(*tokenserver.Config)) Option {
	return func(o *options) { change(&o.config) }
}

// WithMiddleware puts a handler before the server's, for faults.
func WithMiddleware(wrap func(http.Handler) http.Handler) Option {
	return func(o *options) { o.middleware = wrap }
}

// WithPasswordHash gives every user the password hash.
func WithPasswordHash(hash string) Option {
	return func(o *options) {
		o.mutate = func(_ *directory.Organization, u *directory.User) {
			if u != nil {
				u.PasswordHash = hash
			}
		}
	}
}

// WithFolder keeps database and keys in a folder of the caller's, so that an
// instance can be started again on them.
func WithFolder(folder string) Option { return func(o *options) { o.folder = folder } }

// WithAddress listens on an address instead of a free port, so that an instance
// started again has the same issuer.
func WithAddress(address string) Option { return func(o *options) { o.address = address } }

// WithTLS serves https with a certificate that HTTP.Certificate returns.
func WithTLS() Option { return func(o *options) { o.tls = true } }

// WithStorage puts something between the server and its storage, for faults.
func WithStorage(wrap func(storage.Storage) storage.Storage) Option {
	return func(o *options) { o.wrap = wrap }
}

// Start starts a server that stops with the test.
func Start(t testing.TB, opts ...Option) *Instance {
	t.Helper()
	o := options{
		middleware: func(h http.Handler) http.Handler { return h },
		wrap:       func(s storage.Storage) storage.Storage { return s },
	}
	o.config.Logger, o.config.MaxStale = slog.New(slog.DiscardHandler), tokenserveroptions.DefaultMaxStale
	for _, opt := range opts {
		opt(&o)
	}
	if o.folder == "" {
		o.folder = t.TempDir()
	}
	i := &Instance{AdminClientID: AdminClientID, OrgID: OrgID}
	store := OpenStorage(t, o.folder)
	t.Cleanup(func() { _ = store.Close() })
	i.Store = o.wrap(store)
	i.Keyring = openKeyring(t, o.folder, i.Store)
	if o.directory == nil {
		o.directory = Directory(o.mutate)
	}
	i.Directory = directory.NewLive(o.directory)
	hasher := &token.SecretHasher{Key: i.Keyring.DataKey(storage.PurposeSecretHash)}
	i.AdminClientSecret = addAdministrator(t, i.Store, hasher, AdminClientID, OrgID)
	i.OtherAdminClientSecret = addAdministrator(t, i.Store, hasher, OtherAdminClientID, OtherOrgID)
	i.serve(t, o)
	return i
}

func (i *Instance) serve(t testing.TB, o options) {
	i.HTTP = httptest.NewUnstartedServer(nil)
	if o.address != "" {
		var listen net.ListenConfig
		listener, err := listen.Listen(t.Context(), "tcp", o.address)
		require.NoError(t, err)
		_ = i.HTTP.Listener.Close()
		i.HTTP.Listener = listener
	}
	scheme, listenAndServe := "http://", i.HTTP.Start
	if o.tls {
		scheme, listenAndServe = "https://", i.HTTP.StartTLS
	}
	i.URL = scheme + i.HTTP.Listener.Addr().String()
	config := o.config
	config.PublicURL, config.Store, config.Keyring, config.Directory = i.URL, i.Store, i.Keyring, i.Directory
	server, err := tokenserver.New(t.Context(), config)
	require.NoError(t, err)
	load(t, server, o.starting)
	i.Server = server
	i.HTTP.Config.Handler = o.middleware(server.Handler())
	listenAndServe()
	t.Cleanup(i.HTTP.Close)
}

// Stop stops the instance and closes its database before the test ends, so that
// another can be started on its folder.
func (i *Instance) Stop(t testing.TB) {
	t.Helper()
	i.HTTP.Close()
	require.NoError(t, i.Store.Close())
}

func openKeyring(t testing.TB, folder string, store storage.Keys) *keys.Keyring {
	file := filepath.Join(folder, "encryption-key")
	if _, err := os.Stat(file); err != nil {
		key := make([]byte, keys.KeySize)
		_, _ = rand.Read(key)
		require.NoError(t, os.WriteFile(file, []byte(base64.StdEncoding.EncodeToString(key)+"\n"), 0o600))
	}
	encryption, err := keys.LoadEncryptionKeys([]string{file})
	require.NoError(t, err)
	keyring, err := keys.Open(t.Context(), store, encryption, keys.Options{})
	require.NoError(t, err)
	return keyring
}

// Directory is what every instance's configuration names. mutate, which may be
// nil, is called with each organization or user before the snapshot is made.
func Directory(mutate func(*directory.Organization, *directory.User)) *directory.Directory {
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	user := func(id, orgID, name, first, last string, roles ...string) directory.User {
		return directory.User{
			ID: id, OrganizationID: orgID, Username: name, FirstName: first, LastName: last, Email: name + "@example.com",
			IDProviderID: directory.LocalProvider, Roles: roles, Enabled: true, CreatedAt: created,
		}
	}
	organizations := []directory.Organization{
		{
			ID: OrgID, Name: "Main", Domain: "main.example", OwnerID: OwnerID, CreatedAt: created,
			Environments:      []directory.Environment{{ID: EnvID, Name: "Sandbox", Type: "sandbox"}},
			IdentityProviders: []directory.IdentityProvider{{ID: ProviderID, Name: "Corporate"}},
		},
		{ID: OtherOrgID, Name: "Other", Domain: "other.example", OwnerID: OtherUserID, CreatedAt: created},
	}
	users := []directory.User{
		user(OwnerID, OrgID, "olga", "Olga", "Owner", directory.RoleOrganizationAdministrator),
		user(UserID, OrgID, "ulf", "Ulf", "User"),
		user(OtherUserID, OtherOrgID, "otto", "Otto", "Other", directory.RoleOrganizationAdministrator),
	}
	if mutate != nil {
		for i := range organizations {
			mutate(&organizations[i], nil)
		}
		for i := range users {
			mutate(nil, &users[i])
		}
	}
	return directory.New(organizations, users)
}

func addAdministrator(t testing.TB, store storage.Apps, hasher *token.SecretHasher, clientID, orgID string) string {
	secret := hasher.NewSecret()
	now := time.Now().UTC().Truncate(time.Microsecond)
	live := []storage.Secret{{ID: hasher.NewClientID(), Hash: hasher.Hash(secret), CreatedAt: now}}
	owner := OwnerID
	if orgID == OtherOrgID {
		owner = OtherUserID
	}
	if _, err := store.App(t.Context(), clientID); err == nil {
		_, err = store.UpdateApp(t.Context(), clientID, now, func(a *storage.App) error { a.Secrets = live; return nil })
		require.NoError(t, err)
		return secret
	}
	_, err := store.CreateApp(t.Context(), storage.App{
		ClientID: clientID, OrgID: orgID, Name: "administrator", Audience: oauth.AudienceInternal, Enabled: true,
		GrantTypes:              []string{oauth.GrantClientCredentials},
		ContextScopes:           []storage.ContextScope{{Scope: oauth.ScopeManageConnApps, Org: orgID}},
		TokenEndpointAuthMethod: oauth.AuthMethodSecretPost,
		OwnerUserID:             owner, OwnerOrgID: orgID, Config: "bootstrap.adminClient", Secrets: live, CreatedAt: now, UpdatedAt: now,
	})
	require.NoError(t, err)
	return secret
}
