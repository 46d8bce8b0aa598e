// SPDX-License-Identifier: Apache-2.0

package campaign

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/testenv/platform"
)

// server is a token server that can be killed. Its clients reach it by the
// gateway.
type server interface {
	// start starts it, at first or after a kill, and waits until it serves.
	start(t testing.TB)
	// kill ends it like kill -9.
	kill()
	// address is where it really listens.
	address() string
	// credentials are the administrator's.
	credentials() (id, secret string)
	organization() string
	// extended tells whether it has our extensions.
	extended() bool
	// metrics is the URL of its metrics, empty when it has none.
	metrics() string
}

// ours is the bundled token server, as a process.
type ours struct {
	folder     string
	public     string
	listen     string
	operations string
	log        io.Writer
	secret     string
	process    *process
}

const (
	orgID   = "11111111-1111-4111-8111-111111111111"
	envID   = "33333333-3333-4333-8333-333333333333"
	ownerID = "44444444-4444-4444-8444-444444444444"
	adminID = "connectedapps-manager"
)

// newOurs prepares the bundled token server behind a public URL; empty: it is
// where it listens.
func newOurs(t testing.TB, public string, log io.Writer) *ours {
	t.Helper()
	o := &ours{
		folder: t.TempDir(), public: public, listen: testenv.FreeAddress(t), operations: testenv.FreeAddress(t), log: log,
		secret: "cas_" + strings.ReplaceAll(uuid.NewString(), "-", ""),
	}
	if o.public == "" {
		o.public = o.address()
	}
	o.write(t, "encryption-key", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))
	o.write(t, "client-secret", o.secret)
	o.write(t, "tokenserver.yaml", `publicURL: `+o.public+`
listen: `+o.listen+`
operationsListen: `+o.operations+`
storage: {sqlite: {path: `+filepath.Join(o.folder, "tokenserver.db")+`}}
encryptionKeyFiles: [`+filepath.Join(o.folder, "encryption-key")+`]
bootstrap: {adminClient: {clientID: `+adminID+`, clientSecretFile: `+filepath.Join(o.folder, "client-secret")+`}}
organizations:
- {id: `+orgID+`, name: Main, ownerID: `+ownerID+`, environments: [{id: `+envID+`, name: Sandbox, type: sandbox}]}
users:
- {id: `+ownerID+`, organizationID: `+orgID+`, username: owner}
`)
	return o
}

// configure adds lines to the configuration of one that was not started yet.
func (o *ours) configure(t testing.TB, lines string) {
	t.Helper()
	configuration, err := os.ReadFile(filepath.Join(o.folder, "tokenserver.yaml"))
	require.NoError(t, err)
	o.write(t, "tokenserver.yaml", string(configuration)+lines+"\n")
}

func (o *ours) write(t testing.TB, name, content string) {
	require.NoError(t, os.WriteFile(filepath.Join(o.folder, name), []byte(content), 0o600))
}

func (o *ours) start(t testing.TB) {
	t.Helper()
	o.process = launch(t, o.log, "tokenserver", "serve", "--config="+filepath.Join(o.folder, "tokenserver.yaml"))
	testenv.Eventually(t, func(c *require.Assertions) { c.NotNil(fetch(t, "http://"+o.operations+"/readyz")) })
}

func (o *ours) kill()                         { o.process.kill() }
func (o *ours) address() string               { return "http://" + o.listen }
func (o *ours) credentials() (id, sec string) { return adminID, o.secret }
func (o *ours) organization() string          { return orgID }
func (o *ours) extended() bool                { return true }
func (o *ours) metrics() string               { return "http://" + o.operations + "/metrics" }

// plain is a platform without our extensions. What it holds is not lost when it
// is killed, as with any database.
type plain struct {
	*platform.Platform
	listens string
	started bool
}

func newPlain(t testing.TB, public string) *plain {
	t.Helper()
	p := platform.Start(t, platform.WithURL(public))
	return &plain{Platform: p, listens: p.Address(), started: true}
}

func (p *plain) start(t testing.TB) {
	if !p.started {
		p.Resume(t)
		p.started = true
	}
}

func (p *plain) kill() {
	p.Stop()
	p.started = false
}

func (p *plain) address() string               { return p.listens }
func (p *plain) credentials() (id, sec string) { return platform.AdminClientID, p.AdminClientSecret }
func (p *plain) organization() string          { return platform.OrgID }
func (p *plain) extended() bool                { return false }
func (p *plain) metrics() string               { return "" }

// isManagement tells whether a request is for the management API of apps.
func isManagement(r *http.Request) bool {
	return strings.Contains(r.URL.Path, "/connectedApplications")
}
