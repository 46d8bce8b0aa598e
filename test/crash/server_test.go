// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// Environment of the process that plays the server.
const (
	envFolder  = "CRASH_TEST_FOLDER"
	envAddress = "CRASH_TEST_ADDRESS"
	envKillAt  = "CRASH_TEST_KILL_AT"
)

// started is what the server's process tells the test.
type started struct{ URL, AdminSecret string }

// TestServerProcess is the server: this test program starts itself with it. It
// kills itself, as the kernel would, once the given number of writes is done.
func TestServerProcess(t *testing.T) {
	folder := os.Getenv(envFolder)
	if folder == "" {
		return // started by the test runner: TestAKill… does the testing
	}
	killAt, err := strconv.ParseInt(os.Getenv(envKillAt), 10, 64)
	require.NoError(t, err)
	i := tokenservertest.Start(t,
		tokenservertest.WithFolder(folder), tokenservertest.WithAddress(os.Getenv(envAddress)),
		tokenservertest.WithStorage(func(s storage.Storage) storage.Storage { return &suicidal{Storage: s, killAt: killAt} }))
	require.NoError(t, json.NewEncoder(os.Stdout).Encode(started{i.URL, i.AdminClientSecret}))
	select {}
}

// process is a running server.
type process struct {
	started
	command *exec.Cmd
}

// start starts the server; false when it was killed before it was ready.
func start(t *testing.T, folder, address string, killAt int) (*process, bool) {
	t.Helper()
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestServerProcess$")
	command.Env = append(os.Environ(), envFolder+"="+folder, envAddress+"="+address, fmt.Sprintf("%s=%d", envKillAt, killAt))
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	p := &process{command: command}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		_ = command.Wait()
		return nil, false
	}
	require.NoError(t, json.Unmarshal(line, &p.started), string(line))
	return p, true
}

// stop ends the server and tells whether it had killed itself before.
func (p *process) stop() (killedItself bool) {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	_ = p.command.Wait()
	status, _ := p.command.ProcessState.Sys().(syscall.WaitStatus)
	return status.Signal() == syscall.SIGKILL
}

// suicidal kills its process when a number of writes has been done: after the
// commit and before anybody is told.
type suicidal struct {
	storage.Storage
	killAt int64
	writes atomic.Int64
}

func (s *suicidal) wrote() {
	if s.writes.Add(1) == s.killAt {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until the signal arrives
	}
}

func (s *suicidal) CreateApp(ctx context.Context, app storage.App) (storage.App, error) {
	defer s.wrote()
	return s.Storage.CreateApp(ctx, app)
}

func (s *suicidal) UpdateApp(ctx context.Context, id string, now time.Time, change func(*storage.App) error) (storage.App, error) {
	defer s.wrote()
	return s.Storage.UpdateApp(ctx, id, now, change)
}

func (s *suicidal) DeleteApp(ctx context.Context, id string, now time.Time) (storage.Epoch, error) {
	defer s.wrote()
	return s.Storage.DeleteApp(ctx, id, now)
}

func (s *suicidal) EndToken(ctx context.Context, ended storage.EndedToken) error {
	defer s.wrote()
	return s.Storage.EndToken(ctx, ended)
}

func (s *suicidal) CreateOpaqueToken(ctx context.Context, token storage.OpaqueToken) error {
	defer s.wrote()
	return s.Storage.CreateOpaqueToken(ctx, token)
}

func (s *suicidal) UseAssertion(ctx context.Context, clientID, jti string, expiresAt time.Time) error {
	defer s.wrote()
	return s.Storage.UseAssertion(ctx, clientID, jti, expiresAt)
}

func (s *suicidal) RedeemCode(
	ctx context.Context, hash []byte, now time.Time, family *storage.RefreshFamily,
) (storage.AuthorizationCode, error) {
	defer s.wrote()
	return s.Storage.RedeemCode(ctx, hash, now, family)
}

func (s *suicidal) RotateFamily(
	ctx context.Context, id, clientID string, generation, next int64, now, expiresAt time.Time,
) (storage.RefreshFamily, error) {
	defer s.wrote()
	return s.Storage.RotateFamily(ctx, id, clientID, generation, next, now, expiresAt)
}

func (s *suicidal) RevokeFamily(ctx context.Context, id string, now, tokensEnd time.Time) error {
	defer s.wrote()
	return s.Storage.RevokeFamily(ctx, id, now, tokensEnd)
}
