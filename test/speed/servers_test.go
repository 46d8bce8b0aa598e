// SPDX-License-Identifier: Apache-2.0

package speed

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
	testpostgresql "connectedapps.dev/operator/internal/testenv/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/keys"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlite"
)

const (
	orgID      = "11111111-1111-4111-8111-111111111111"
	ownerID    = "44444444-4444-4444-8444-444444444444"
	adminID    = "administrator"
	providerID = "corporate"
)

const form, jsonObject = "application/x-www-form-urlencoded", "application/json"

// app is a client both servers know.
type app struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
	Scope  string `json:"scope"`
}

// form is a body by which the app authenticates.
func (a app) form(pairs ...string) string {
	values := url.Values{"client_id": {a.ID}, "client_secret": {a.Secret}}
	for i := 0; i < len(pairs); i += 2 {
		values.Set(pairs[i], pairs[i+1])
	}
	return values.Encode()
}

// json is the same as an object.
func (a app) json(t testing.TB, pairs ...string) string {
	t.Helper()
	object := map[string]string{"client_id": a.ID, "client_secret": a.Secret}
	for i := 0; i < len(pairs); i += 2 {
		object[pairs[i]] = pairs[i+1]
	}
	text, err := json.Marshal(object)
	require.NoError(t, err)
	return string(text)
}

// installation is a token server with a log of every request and an audit log.
type installation struct {
	place
	config, listen, operations, encryptionKey, password string
	admin                                               app
}

// newInstallation takes more lines of configuration.
func newInstallation(t testing.TB, e engine, more ...string) *installation {
	t.Helper()
	folder := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	i := &installation{
		place: e.place(t), listen: testenv.FreeAddress(t), operations: testenv.FreeAddress(t), admin: app{ID: adminID, Secret: "cas_0123456789abcdef0123456789abcdef"},
		encryptionKey: write("encryption-key", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))),
		password:      write("password", testpostgresql.Password+"\n"),
	}
	i.config = write("tokenserver.yaml", `publicURL: http://`+i.listen+`
listen: `+i.listen+`
operationsListen: `+i.operations+`
storage: `+i.storage(t)+`
encryptionKeyFiles: [`+i.encryptionKey+`]
bootstrap: {adminClient: {clientID: `+adminID+`, clientSecretFile: `+write("client-secret", i.admin.Secret)+`}}
organizations: [{id: `+orgID+`, name: Main, ownerID: `+ownerID+`, identityProviders: [{id: `+providerID+`, name: Corporate}]}]
users: [{id: `+ownerID+`, organizationID: `+orgID+`, username: owner}]
`+strings.Join(more, "\n"))
	return i
}

func (i *installation) storage(t testing.TB) string {
	if i.database == nil {
		return "{sqlite: {path: " + i.file + "}}"
	}
	return "{postgresql: {url: '" + i.withoutPassword(t) + "', passwordFile: " + i.password + "}}"
}

func (i *installation) withoutPassword(t testing.TB) string {
	t.Helper()
	u, err := url.Parse(i.url)
	require.NoError(t, err)
	u.User = url.User(testpostgresql.User)
	return u.String()
}

// start returns when the server is ready.
func (i *installation) start(t testing.TB) *process {
	t.Helper()
	p := launch(t, i.listen, "tokenserver", "serve", "--config="+i.config)
	p.database = i.database
	testenv.EventuallyWithin(t, time.Minute, func(r *require.Assertions) {
		response, err := http.Get("http://" + i.operations + "/readyz")
		r.NoError(err)
		defer func() { _ = response.Body.Close() }()
		r.Equal(http.StatusOK, response.StatusCode)
	})
	return p
}

// store opens the database as the token server does, which must have stopped.
func (i *installation) store(t testing.TB) storage.Storage {
	t.Helper()
	if i.database == nil {
		store, err := sqlite.Open(t.Context(), i.file, time.Now())
		require.NoError(t, err)
		return store
	}
	store, err := postgresql.Open(t.Context(), postgresql.Options{URL: i.withoutPassword(t), PasswordFile: i.password}, time.Now())
	require.NoError(t, err)
	return store
}

// refreshKey is the key of the installation's refresh tokens.
func (i *installation) refreshKey(t testing.TB, store storage.Keys) []byte {
	t.Helper()
	encryption, err := keys.LoadEncryptionKeys([]string{i.encryptionKey})
	require.NoError(t, err)
	ring, err := keys.Open(t.Context(), store, encryption, keys.Options{})
	require.NoError(t, err)
	return ring.DataKey(storage.PurposeRefresh)
}

// register makes apps of the administrator's, with more members than a name.
func register(t testing.TB, p *process, admin app, n int, members map[string]any) []app {
	t.Helper()
	token := tokenOf(t, p, admin)
	apps := make([]app, n)
	failures := make([]error, connections)
	var workers sync.WaitGroup
	for worker := range connections {
		workers.Go(func() {
			for i := worker; i < n && failures[worker] == nil; i += connections {
				name := fmt.Sprintf("App %d", i)
				apps[i], failures[worker] = registerOne(t.Context(), p, token, name, members)
				for errors.Is(failures[worker], errBusy) {
					time.Sleep(100 * time.Millisecond) // nothing is measured yet
					apps[i], failures[worker] = registerOne(t.Context(), p, token, name, members)
				}
			}
		})
	}
	workers.Wait()
	for _, err := range failures {
		require.NoError(t, err)
	}
	return apps
}

// errBusy says that the server asked to come again.
var errBusy = errors.New("the server is busy")

func registerOne(ctx context.Context, p *process, token, name string, members map[string]any) (app, error) {
	object := map[string]any{"client_name": name, "audience": "internal"}
	for member, value := range members {
		object[member] = value
	}
	body, err := json.Marshal(object)
	if err != nil {
		return app{}, err
	}
	create, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.address+oauth.PathConnectedApps, bytes.NewReader(body))
	if err != nil {
		return app{}, err
	}
	create.Header.Set("Authorization", "Bearer "+token)
	create.Header.Set("Content-Type", jsonObject)
	response, err := http.DefaultClient.Do(create)
	if err != nil {
		return app{}, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode == http.StatusServiceUnavailable {
		return app{}, errBusy
	}
	if err != nil || response.StatusCode != http.StatusCreated {
		return app{}, fmt.Errorf("registering an app: %s: %s: %w", response.Status, answer, err)
	}
	var created oauth.ConnectedApp
	err = json.Unmarshal(answer, &created)
	return app{created.ClientID, created.ClientSecret, strings.Join(created.Scopes, " ")}, err
}

// ceiling is the configuration of the ceiling program.
type ceiling struct {
	Listen     string `json:"listen"`
	Clients    []app  `json:"clients"`
	PublicKey  string `json:"publicKey"`
	PostgreSQL string `json:"postgresql"`
	SQLite     string `json:"sqlite"`
	Families   int    `json:"families"`
	Scope      string `json:"scope"`
	OpenID     bool   `json:"openID"`
}

// start starts the ceiling program on an engine; nil: it keeps nothing.
func (c ceiling) start(t testing.TB, e *engine) *process {
	t.Helper()
	var used *database
	if e != nil {
		place := e.place(t)
		c.PostgreSQL, c.SQLite, used = place.url, place.file, e.database
	}
	c.Listen = testenv.FreeAddress(t)
	text, err := json.Marshal(c)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "ceiling.json")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	p := launch(t, c.Listen, "ceiling", "--config="+file)
	p.database = used
	p.listening(t)
	return p
}
