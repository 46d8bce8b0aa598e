// SPDX-License-Identifier: Apache-2.0

package postgresql_test

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/testenv/postgresql"
)

func query(t *testing.T, url, statement string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.WithoutCancel(t.Context()))) }()
	var answer string
	require.NoError(t, conn.QueryRow(t.Context(), statement).Scan(&answer))
	return answer
}

func TestADatabaseIsACopyOfItsTemplate(t *testing.T) {
	server := postgresql.Shared(t)
	template := server.Template(t, "greeting", func(url string) error {
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(t.Context()) }()
		_, err = conn.Exec(t.Context(), `CREATE TABLE greeting AS SELECT 'hello' AS word`)
		return err
	})
	name, drop := server.Database(t, template)
	for _, url := range []string{server.URL(name), postgresql.SharedBouncer(t).URL(name)} {
		require.Equal(t, "hello", query(t, url, `SELECT word FROM greeting`))
		require.Equal(t, "off", query(t, url, `SELECT current_setting('is_superuser')`))
	}
	drop()
	_, err := pgx.Connect(t.Context(), server.URL(name))
	require.ErrorContains(t, err, "does not exist")
}

func TestAServerThatCrashedHasWhatWasCommitted(t *testing.T) {
	server, err := postgresql.Start(t.Context(), postgresql.Options{Durable: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, server.Stop()) }()
	require.NoError(t, server.Exec(t.Context(), "postgres", `CREATE TABLE kept AS SELECT 1`))
	require.NoError(t, server.Halt())
	require.Error(t, server.Exec(t.Context(), "postgres", `SELECT 1`))
	require.NoError(t, server.Restart(t.Context()))
	require.NoError(t, server.Exec(t.Context(), "postgres", `SELECT * FROM kept`))
}

const helper = "CONNECTEDAPPS_POSTGRESQL_HELPER"

// TestNothingIsLeftOfAProcessThatWasKilled runs itself and kills that.
func TestNothingIsLeftOfAProcessThatWasKilled(t *testing.T) {
	if os.Getenv(helper) != "" {
		server := postgresql.Shared(t)
		_, err := os.Stdout.WriteString("port " + strconv.Itoa(server.Port) + "\n")
		require.NoError(t, err)
		select {}
	}
	// The user of the server cannot enter those of the testing package.
	temp, err := os.MkdirTemp("", "connectedapps-test-") //nolint:usetesting // see above
	require.NoError(t, err)
	defer func() { require.NoError(t, os.RemoveAll(temp)) }()
	require.NoError(t, os.Chmod(temp, 0o777))
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNothingIsLeftOfAProcessThatWasKilled$")
	cmd.Env = append(os.Environ(), helper+"=1", "TMPDIR="+temp)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line := make([]byte, 100)
	n, err := out.Read(line)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(line[:n]), "port "), string(line[:n]))
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		left, err := os.ReadDir(temp)
		assert.NoError(c, err)
		assert.Empty(c, left)
	}, 30*time.Second, 50*time.Millisecond)
}

func TestAServerThatIsFrozenAnswersLater(t *testing.T) {
	server, err := postgresql.Start(t.Context(), postgresql.Options{})
	require.NoError(t, err)
	conn, err := server.Connect(t.Context(), "postgres")
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	require.NoError(t, server.Freeze())
	answer := make(chan error, 1)
	go func() {
		_, err := conn.Exec(t.Context(), `SELECT 1`)
		answer <- err
	}()
	select {
	case err := <-answer:
		require.Fail(t, "answered while frozen", "%v", err)
	case <-time.After(100 * time.Millisecond):
	}
	require.NoError(t, server.Thaw())
	require.NoError(t, <-answer)
	require.NoError(t, server.Freeze())
	require.NoError(t, server.Stop(), "also of one that is frozen")
}
