// SPDX-License-Identifier: Apache-2.0

package floods

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectedapps.dev/operator/internal/oauth"
)

// dripping opens many connections, says first on each, and then drop again and
// again, as slowly as a flood may. They are not opened again: the server may close
// them. It has begun when all is said that the server takes.
func dripping(connections int, first []byte, drop string) flood {
	return flood{workers: 1, silent: true, run: func(ctx context.Context, s *server, begun func(), told *answers) {
		var drips, said sync.WaitGroup
		var opened, closed atomic.Int64
		for range connections {
			conn, err := s.dial(ctx)
			if err != nil {
				continue // the queue of those not accepted yet is full
			}
			opened.Add(1)
			said.Add(1)
			drips.Go(func() {
				defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
				raw := conn
				conn, err = s.say(ctx, conn, first)
				said.Done()
				drips.Go(func() {
					_, _ = io.Copy(io.Discard, raw)
					closed.Add(1)
				})
				if err == nil {
					told.take(nil)(nil, errUnread)
					drip(ctx, conn, drop)
				}
				<-ctx.Done()
			})
		}
		said.Wait()
		// The kernel takes what the server has not seen: it is there when all but what
		// the server may have are closed.
		for end := time.Now().Add(5 * time.Second); closed.Load() < opened.Load()-maxConnections && time.Now().Before(end) && ctx.Err() == nil; {
			<-time.After(10 * time.Millisecond)
		}
		begun()
		drips.Wait()
	}}
}

// maxConnections is the server's default.
const maxConnections = 500

// errUnread stands for the answer that nobody reads.
var errUnread = errors.New("unread")

// say sends first, after the handshake of TLS where there is one. It says nothing,
// not even that, when first is empty.
func (s *server) say(ctx context.Context, conn net.Conn, first []byte) (net.Conn, error) {
	if len(first) == 0 {
		return conn, nil
	}
	if s.tls != nil {
		config := s.tls.Clone()
		config.ServerName = "127.0.0.1"
		secured := tls.Client(conn, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		conn = secured
	}
	_, err := conn.Write(first)
	return conn, err
}

func drip(ctx context.Context, conn net.Conn, drop string) {
	for drop != "" {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
		if _, err := conn.Write([]byte(drop)); err != nil {
			return
		}
	}
}

func TestAFloodOfConnections(t *testing.T) {
	const post = "POST " + oauth.PathToken + " HTTP/1.1\r\nHost: localhost\r\n" + mediaForm + "\r\n"
	floods := []struct {
		name string
		flood
	}{
		{"that say nothing", dripping(10_000, nil, "")},
		{"that are idle after a request", dripping(2000, request(http.MethodGet, oauth.PathDiscovery, ""), "")},
		{"whose headers never end", dripping(1000, []byte(post+"X-Flood: "+strings.Repeat("a", 30<<10)), "a")},
		{"whose bodies never end", dripping(1000, []byte(post+"Content-Length: 65536\r\n\r\n"+strings.Repeat("a", 60<<10)), "a")},
		{"whose bodies never begin", dripping(1000, []byte(post+"Content-Length: 100\r\n\r\n"), "")},
		{"whose chunks never end", dripping(1000, []byte(post+"Transfer-Encoding: chunked\r\n\r\n"), "1\r\na\r\n")},
	}
	for name, secured := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			s := start(t, secured, "")
			h := begin(t, s)
			for _, test := range floods {
				t.Run(test.name, func(t *testing.T) { survive(t, s, h, test.flood) })
			}
		})
	}
}
