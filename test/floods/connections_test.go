// SPDX-License-Identifier: Apache-2.0

package floods

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv/program"
)

// again asks again when its connection was cut, as clients do: who connects among
// thousands may be the one that gives way. It is served in the end.
func again(visit guest) guest {
	return func(ctx context.Context) (err error) {
		const most = 20
		for range most {
			if err = visit(ctx); err == nil {
				return nil
			}
		}
		return err
	}
}

// open opens connections and says something on each.
func (s *server) open(ctx context.Context, n int, say func(net.Conn)) (all []net.Conn) {
	s.t.Helper()
	var dialer net.Dialer
	for range n {
		connection, err := dialer.DialContext(ctx, "tcp", s.public)
		require.NoError(s.t, err)
		all = append(all, connection)
		say(connection)
	}
	return all
}

func closeAll(connections []net.Conn) {
	for _, c := range connections {
		_ = c.Close()
	}
}

// many is how many connections this process may have open, 10,000 at most.
func many(t *testing.T) int {
	t.Helper()
	const wanted, own = 10_000, 500
	var limit syscall.Rlimit // Go has raised it as far as it may
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	n := int(min(wanted, limit.Cur-own))
	if n < wanted {
		t.Logf("ulimit -n allows %d connections, not %d", n, wanted)
	}
	return n
}

func TestTenThousandIdleConnectionsKeepNobodyOut(t *testing.T) {
	s := start(t)
	s.during(again(s.token()), func(ctx context.Context) {
		idle := s.open(ctx, many(t), func(net.Conn) {})
		defer closeAll(idle)
		require.Less(t, s.held().files, maxConnections+100, "open files of the server")
		for range 10 {
			require.NoError(t, s.token()(ctx), "nobody who asks gives way to those who do not")
		}
	})
}

// More than may be open at once, of whom none ends: of requests, of answers.
func TestSlowPeersKeepNobodyOut(t *testing.T) {
	long := strings.Repeat("x", 60<<10)
	discovery := strings.Repeat("GET "+oauth.PathDiscovery+" HTTP/1.1\r\nHost: x\r\n\r\n", 60)
	for name, text := range map[string]string{
		"headers":                 "POST " + oauth.PathToken + " HTTP/1.1\r\nHost: x\r\nX-Long: " + long[:30<<10],
		"bodies":                  "POST " + oauth.PathToken + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 61441\r\n\r\n" + long,
		"chunks":                  "POST " + oauth.PathToken + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nf000\r\n" + long,
		"readers":                 discovery,
		"bodies that nobody asks": "POST " + oauth.PathJWKS + " HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n" + long,
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			s.during(again(s.token()), func(ctx context.Context) {
				defer closeAll(s.open(ctx, maxConnections+100, func(c net.Conn) {
					_ = c.(*net.TCPConn).SetReadBuffer(1 << 10)
					// What does not fit into the buffers is not sent: the server does not read on.
					go func() { _, _ = io.WriteString(c, text) }()
				}))
				for range 10 {
					require.NoError(t, again(s.token())(ctx))
				}
			})
		})
	}
}

// Those that begin, are cut and begin again.
func TestConnectionsThatComeAndGoKeepNobodyOut(t *testing.T) {
	s := start(t)
	s.during(again(s.token()), func(ctx context.Context) {
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				for range 1000 {
					connection, err := net.Dial("tcp", s.public)
					if err != nil {
						continue // the machine has no port left for a moment
					}
					_, _ = fmt.Fprint(connection, "GET / HTT")
					_ = connection.Close()
				}
			})
		}
		group.Wait()
	})
}

// A server that is killed leaves no process for password checks behind.
func TestNothingOutlivesTheServer(t *testing.T) {
	s := start(t)
	require.NoError(t, s.signIn()(t.Context()))
	workers := program.Children(t, s.process.PID())
	require.NotEmpty(t, workers)
	s.process.Kill()
	for _, worker := range workers {
		require.Eventually(t, func() bool {
			command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", worker))
			return err != nil || len(command) == 0 || !strings.Contains(string(command), "derive")
		}, patience, poll)
	}
}
