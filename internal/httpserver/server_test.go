// SPDX-License-Identifier: Apache-2.0

package httpserver

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// clock is moved by hand.
type clock struct{ now time.Time }

func (c *clock) pass(d time.Duration) { c.now = c.now.Add(d) }

// peer is a connection that tells whether it was closed.
type peer struct {
	net.Conn
	closed atomic.Bool
}

func (p *peer) Close() error {
	p.closed.Store(true)
	return nil
}

func TestWhoDidNothingForLongestGivesWay(t *testing.T) {
	for name, test := range map[string]struct {
		before func(*connections, *clock, []*peer)
		want   int
	}{
		"the first of those that never asked": {func(*connections, *clock, []*peer) {}, 0},
		"one that asked before is younger": {func(c *connections, _ *clock, p []*peer) {
			c.state(p[0], http.StateActive)
			c.state(p[0], http.StateIdle)
		}, 1},
		"a request that is under way comes last": {func(c *connections, k *clock, p []*peer) {
			c.state(p[0], http.StateActive)
			k.pass(underWay / 2)
			c.state(p[1], http.StateActive)
			c.state(p[1], http.StateIdle)
			c.state(p[2], http.StateActive)
		}, 1},
		"but not a slow one": {func(c *connections, k *clock, p []*peer) {
			c.state(p[0], http.StateActive)
			k.pass(2 * underWay)
			for _, other := range p[1:] {
				c.state(other, http.StateActive)
				c.state(other, http.StateIdle)
			}
		}, 0},
		"with nothing but requests, the slowest": {func(c *connections, k *clock, p []*peer) {
			for _, i := range []int{2, 0, 1} {
				c.state(p[i], http.StateActive)
				k.pass(time.Millisecond)
			}
		}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			k := &clock{now: time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)}
			c := newConnections(3)
			c.now = func() time.Time { return k.now }
			peers := []*peer{{}, {}, {}, {}}
			for _, p := range peers[:3] {
				c.state(p, http.StateNew)
				k.pass(time.Millisecond)
			}
			test.before(c, k, peers)
			c.state(peers[3], http.StateNew)
			require.Eventually(t, peers[test.want].closed.Load, time.Minute, time.Millisecond)
			for i, p := range peers {
				require.Equal(t, i == test.want, p.closed.Load(), "connection %d", i)
			}
			require.Len(t, c.open, 3)
			// What the one that gave way still does changes nothing.
			c.state(peers[test.want], http.StateActive)
			require.Len(t, c.open, 3)
			c.state(peers[test.want], http.StateClosed)
			require.Empty(t, c.closing)
		})
	}
}

// serving is a server with real connections.
func serving(t *testing.T, limits Limits, secured bool, handler http.HandlerFunc) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := New(handler, slog.New(slog.DiscardHandler), limits)
	if secured {
		borrowed := httptest.NewUnstartedServer(nil)
		borrowed.StartTLS()
		t.Cleanup(borrowed.Close)
		server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: borrowed.TLS.Certificates}
		go func() { _ = server.ServeTLS(listener, "", "") }()
	} else {
		go func() { _ = server.Serve(listener) }()
	}
	t.Cleanup(func() { _ = server.Close() })
	return listener.Addr().String()
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func get(t *testing.T, conn net.Conn) {
	t.Helper()
	_, err := fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode)
}

func TestOneMoreConnectionTakesThePlaceOfAnIdleOne(t *testing.T) {
	for name, secured := range map[string]bool{"plain": false, "TLS handshakes that never end": true} {
		t.Run(name, func(t *testing.T) {
			address := serving(t, Limits{Connections: 3}, secured, func(http.ResponseWriter, *http.Request) {})
			var idle []net.Conn
			for range 3 {
				conn := dial(t, address)
				idle = append(idle, conn)
				if !secured {
					get(t, conn)
				}
			}
			served := dial(t, address)
			if secured {
				served = tls.Client(served, &tls.Config{InsecureSkipVerify: true})
			}
			get(t, served)
			require.NoError(t, idle[0].SetReadDeadline(time.Now().Add(30*time.Second)))
			_, err := idle[0].Read(make([]byte, 1))
			require.Error(t, err)
			require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the first idle connection is closed")
			if !secured {
				get(t, idle[2])
			}
			get(t, served)
		})
	}
}

// Whoever reads no answer, or never ends a request, keeps nobody out.
func TestSlowPeersGiveWay(t *testing.T) {
	for name, say := range map[string]string{
		"an answer that is not read": "GET /much HTTP/1.1\r\nHost: x\r\n\r\n",
		"headers without end":        "GET / HTTP/1.1\r\nX-",
		"a body without end":         "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\na",
		"chunks without end":         "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			began, ended := make(chan struct{}, 1), make(chan struct{}, 1)
			address := serving(t, Limits{Connections: 1}, false, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/much" && r.Method != http.MethodPost {
					return
				}
				began <- struct{}{}
				_, err := io.Copy(io.Discard, r.Body)
				for err == nil {
					_, err = w.Write(make([]byte, 1<<20))
				}
				ended <- struct{}{}
			})
			slow := dial(t, address)
			_, err := fmt.Fprint(slow, say)
			require.NoError(t, err)
			inHandler := !strings.HasSuffix(say, "X-")
			if inHandler {
				<-began
			}
			get(t, dial(t, address))
			if inHandler {
				<-ended
			}
		})
	}
}

// A request may not multiply what a connection holds.
func TestOnlyHTTP1IsSpoken(t *testing.T) {
	address := serving(t, Operations(), true, func(http.ResponseWriter, *http.Request) {})
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
	require.NoError(t, err)
	defer conn.Close()
	require.Equal(t, "http/1.1", conn.ConnectionState().NegotiatedProtocol)
	get(t, conn)
}

func TestConnectionsCannotFloodTheLog(t *testing.T) {
	var out bytes.Buffer
	k := &clock{now: time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)}
	e := &errors{logger: slog.New(slog.NewTextHandler(&out, nil)), now: func() time.Time { return k.now }}
	for range 1000 {
		_, err := fmt.Fprintf(e, "http: TLS handshake error from 192.0.2.1:4711: %s\n", strings.Repeat("x", 10<<10))
		require.NoError(t, err)
	}
	require.Equal(t, 1, strings.Count(out.String(), "\n"))
	require.Less(t, out.Len(), 1024)
	out.Reset()
	k.pass(errorEvery)
	_, err := fmt.Fprintln(e, "http: Accept error")
	require.NoError(t, err)
	require.Contains(t, out.String(), `level=WARN msg=connection error="http: Accept error" omitted_before=999`)
	out.Reset()
	k.pass(-time.Hour)
	_, err = fmt.Fprintln(e, "after the clock was set back")
	require.NoError(t, err)
	require.NotEmpty(t, out.String())
}
