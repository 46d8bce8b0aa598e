// SPDX-License-Identifier: Apache-2.0

package replicas

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/testenv/network"
	"connectedapps.dev/operator/internal/testenv/postgresql"
	"connectedapps.dev/operator/internal/testenv/program"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// Names of the configuration.
const (
	orgID   = "11111111-1111-4111-8111-111111111111"
	ownerID = "44444444-4444-4444-8444-444444444444"
	ulfID   = "55555555-5555-4555-8555-555555555555"
	adminID = "administrator"

	password = "correct horse battery staple"
)

var passwordHash = sync.OnceValues(func() (string, error) { return user.HashPassword(password) })

// installation is some replicas of the token server, A, B and C, on one database
// behind a balancer.
type installation struct {
	t        testing.TB
	folder   string
	balancer *network.Balancer
	replicas []*replica
	// database is the server of the database; its methods stop, restart and freeze
	// it, when it is the installation's own (withOwnDatabase).
	database *postgresql.Server
	// name is that of the database.
	name string
	// adminSecret is that of the administrator's client.
	adminSecret string

	o options
}

// replica is one process of the token server, which may be replaced by another.
type replica struct {
	i    *installation
	name string
	// path is what leads to the database: set its faults.
	path *network.Link
	// process is the one that runs, or ran last.
	process *program.Process

	public, operations string // known once it listens
}

type options struct {
	count      int
	bouncer    bool
	own        bool
	drainDelay string
}

type option func(*options)

// throughBouncer puts a pgbouncer in transaction mode before the database.
func throughBouncer() option { return func(o *options) { o.bouncer = true } }

// withOwnDatabase starts a database server that nobody else uses and that keeps what
// it committed, to be stopped, restarted and frozen.
func withOwnDatabase() option { return func(o *options) { o.own = true } }

// withDrainDelay is the flag of serve; without it, it is 0.
func withDrainDelay(delay string) option { return func(o *options) { o.drainDelay = delay } }

// prepare makes an installation on an empty database and starts nothing.
func prepare(t testing.TB, change ...option) *installation {
	t.Helper()
	i := &installation{
		t: t, folder: t.TempDir(), balancer: network.NewBalancer(t), adminSecret: "cas_" + rand.Text(), o: options{count: 3, drainDelay: "0s"},
	}
	for _, set := range change {
		set(&i.o)
	}
	i.openDatabase()
	hash, err := passwordHash()
	require.NoError(t, err)
	i.write("encryption-key", encryptionKey(7))
	i.write("client-secret", i.adminSecret)
	i.write("database-password", postgresql.Password)
	i.write("user.hash", hash)
	for n := range i.o.count {
		i.replicas = append(i.replicas, i.newReplica(string(rune('A'+n))))
	}
	return i
}

// start makes an installation whose replicas are ready.
func start(t testing.TB, change ...option) *installation {
	t.Helper()
	i := prepare(t, change...)
	i.startAll()
	return i
}

func encryptionKey(b byte) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32))
}

func (i *installation) openDatabase() {
	i.t.Helper()
	if !i.o.own {
		i.database = postgresql.Shared(i.t)
		i.name, _ = i.database.Database(i.t, "")
		return
	}
	server, err := postgresql.Start(i.t.Context(), postgresql.Options{Durable: true})
	require.NoError(i.t, err)
	i.t.Cleanup(func() { assert.NoError(i.t, server.Stop()) })
	i.database = server
	i.name, _ = server.Database(i.t, "")
}

func (i *installation) databasePort() int {
	switch {
	case !i.o.bouncer:
		return i.database.Port
	case !i.o.own:
		return postgresql.SharedBouncer(i.t).Port
	}
	bouncer, err := i.database.StartBouncer(i.t.Context(), 4)
	require.NoError(i.t, err)
	i.t.Cleanup(func() { assert.NoError(i.t, bouncer.Stop()) })
	return bouncer.Port
}

func (i *installation) newReplica(name string) *replica {
	i.t.Helper()
	r := &replica{i: i, name: name, path: network.NewLink(i.t, "127.0.0.1:"+strconv.Itoa(i.databasePort()))}
	i.write(r.configFile(), i.configuration(r))
	return r
}

// configuration is the same for all replicas but for their paths to the database.
func (i *installation) configuration(r *replica) string {
	return `publicURL: ` + i.url() + `
listen: 127.0.0.1:0
operationsListen: 127.0.0.1:0
storage:
  postgresql: {url: "postgresql://` + postgresql.User + `@` + r.path.Address() + `/` + i.name + `?sslmode=disable", passwordFile: database-password}
encryptionKeyFiles: [encryption-key]
bootstrap: {adminClient: {clientID: ` + adminID + `, clientSecretFile: client-secret}}
organizations:
- {id: ` + orgID + `, name: Main, ownerID: ` + ownerID + `, identityProviders: [{id: corporate, name: Corporate}]}
users:
- {id: ` + ownerID + `, organizationID: ` + orgID + `, username: owner, roles: [organization_administrator], passwordHashFile: user.hash}
- {id: ` + ulfID + `, organizationID: ` + orgID + `, username: ulf, email: ulf@example.com, passwordHashFile: user.hash}
`
}

// url is the public URL: the balancer's.
func (i *installation) url() string { return "http://" + i.balancer.Address() }

func (i *installation) write(name, content string) {
	i.t.Helper()
	require.NoError(i.t, os.WriteFile(filepath.Join(i.folder, name), []byte(content), 0o600))
}

// command runs the binary to its end with the configuration of the first replica, as
// an operator does beside running servers.
func (i *installation) command(args ...string) (output string, err error) {
	i.t.Helper()
	args = append(args, "--config="+filepath.Join(i.folder, i.replicas[0].configFile()))
	out, err := exec.CommandContext(i.t.Context(), binary, args...).CombinedOutput()
	return string(out), err
}

// startAll starts all replicas at once and waits until they are ready.
func (i *installation) startAll() {
	i.t.Helper()
	for _, r := range i.replicas {
		r.launch()
	}
	for _, r := range i.replicas {
		r.ready()
	}
}

// configFile is the replica's configuration.
func (r *replica) configFile() string { return "tokenserver-" + r.name + ".yaml" }

// url is where the replica itself listens.
func (r *replica) url() string { return "http://" + r.public }

// launch starts the process and does not wait. The replica has new addresses.
func (r *replica) launch() {
	r.i.t.Helper()
	r.process = program.Start(r.i.t, binary, "serve", "--wait=1m", "--log-format=json", "--drain-delay="+r.i.o.drainDelay,
		"--config="+filepath.Join(r.i.folder, r.configFile()))
	r.public, r.operations = "", ""
}

// start starts the process, waits until it is ready, and gives it to the balancer.
func (r *replica) start() {
	r.i.t.Helper()
	r.launch()
	r.ready()
}

// ready waits until the process that was launched is ready, and gives it to the
// balancer.
func (r *replica) ready() {
	r.i.t.Helper()
	testenv.EventuallyWithin(r.i.t, patience, func(c *require.Assertions) {
		line := r.logged("serving")
		c.NotNil(line, "%s: %s", r.name, r.process.Output())
		r.public, r.operations = fmt.Sprint(line["address"]), fmt.Sprint(line["operations_address"])
		c.Equal(http.StatusOK, r.readiness())
	})
	r.i.balancer.Add(r.public, "http://"+r.operations+"/readyz")
	testenv.Eventually(r.i.t, func(c *require.Assertions) { c.True(r.i.balancer.Ready(r.public)) })
}

// readiness is the status of /readyz; 0: no answer.
func (r *replica) readiness() int {
	request, err := http.NewRequestWithContext(r.i.t.Context(), http.MethodGet, "http://"+r.operations+"/readyz", nil)
	if err != nil {
		return 0
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// logged is the last line of the log with that message; nil: there is none.
func (r *replica) logged(message string) map[string]any {
	var found map[string]any
	for line := range strings.Lines(r.process.Output()) {
		if !strings.Contains(line, message) {
			continue
		}
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) == nil && fields["msg"] == message {
			found = fields
		}
	}
	return found
}

// stop ends the process as Kubernetes does: SIGTERM, and waits for the end.
func (r *replica) stop() {
	r.i.t.Helper()
	r.process.Terminate()
	require.Zero(r.i.t, r.process.ExitCode(), "%s", r.process.Output())
	r.i.balancer.Remove(r.public)
}

// kill ends the process at once, as kill -9 or a lost node do.
func (r *replica) kill() {
	r.process.Kill()
	r.i.balancer.Remove(r.public)
}

// patience is far more than anything here takes, also on a machine that is busy.
const patience = 2 * time.Minute

// configure changes a text of the replica's configuration, which it takes over
// within seconds, or at its next start.
func (r *replica) configure(old, replacement string) {
	r.i.t.Helper()
	content, err := os.ReadFile(filepath.Join(r.i.folder, r.configFile()))
	require.NoError(r.i.t, err)
	require.Contains(r.i.t, string(content), old)
	r.i.write(r.configFile(), strings.Replace(string(content), old, replacement, 1))
}
