// SPDX-License-Identifier: Apache-2.0

package floods

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
)

const (
	// honestClients ask at once, each on a connection of its own.
	honestClients = 4
	// during is how long they are counted with a flood, and as long without.
	during = 400 * time.Millisecond
	// pairs are how often at least, and at most when others load the machine.
	pairs, mostPairs = 3, 8
	// share is what they get at least of what they get without a flood. The budget is
	// 0.5, which make bench measures.
	share = 0.3
)

// request makes the bytes of a request to the token server.
func request(method, path, body string, headers ...string) []byte {
	return fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%s\r\n%s",
		method, path, len(body), strings.Join(append(headers, ""), "\r\n"), body)
}

const (
	mediaForm = "Content-Type: application/x-www-form-urlencoded"
	mediaJSON = "Content-Type: application/json"
)

// form is a request of the token endpoint.
func form(pairs ...string) []byte {
	values := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		values.Add(pairs[i], pairs[i+1])
	}
	return request(http.MethodPost, oauth.PathToken, values.Encode(), mediaForm)
}

var honestRequest = form("grant_type", oauth.GrantClientCredentials, "client_id", "job", "client_secret", secret)

// talk sends requests on one connection, and on another when that ends, until ctx
// does. next makes them, and answered is told each answer.
func talk(ctx context.Context, connect func() (net.Conn, error), next func() []byte, answered func(*http.Response, error)) {
	for ctx.Err() == nil {
		conn, err := connect()
		if err != nil {
			answered(nil, err)
			continue
		}
		ends := context.AfterFunc(ctx, func() { _ = conn.Close() })
		err = exchange(ctx, conn, next, answered)
		ends()
		_ = conn.Close()
		if err != nil && ctx.Err() == nil {
			answered(nil, err)
		}
	}
}

func exchange(ctx context.Context, conn net.Conn, next func() []byte, answered func(*http.Response, error)) error {
	answers := bufio.NewReader(conn)
	for ctx.Err() == nil {
		// The server may answer, and close, before it was told all.
		_, sending := conn.Write(next())
		response, err := http.ReadResponse(answers, nil)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			return err
		}
		answered(response, nil)
		if response.Close || sending != nil {
			return nil
		}
	}
	return nil
}

// honest are clients that never stop asking for tokens.
type honest struct {
	tokens, broken atomic.Int64
	mu             sync.Mutex
	refused        []string
}

// begin returns when each has a token. They end with the test.
func begin(t *testing.T, s *server) *honest {
	t.Helper()
	h := &honest{}
	ctx, cancel := context.WithCancel(context.Background())
	var group, first sync.WaitGroup
	t.Cleanup(func() { cancel(); group.Wait() })
	for range honestClients {
		first.Add(1)
		done := sync.OnceFunc(first.Done)
		group.Go(func() {
			talk(ctx, s.connect, func() []byte { return honestRequest }, func(r *http.Response, err error) {
				switch {
				case err != nil:
					h.broken.Add(1)
				case r.StatusCode == http.StatusOK:
					h.tokens.Add(1)
					done()
				default:
					h.mu.Lock()
					h.refused = append(h.refused, r.Status)
					h.mu.Unlock()
				}
			})
		})
	}
	first.Wait()
	return h
}

// moment is what happened in a while.
type moment struct {
	tokens  float64
	cpu     time.Duration
	elapsed time.Duration
}

func (m moment) rate() float64 { return m.tokens / m.elapsed.Seconds() }

// look counts for a while.
func (h *honest) look(t *testing.T, s *server) moment {
	t.Helper()
	before, cpu, began := h.tokens.Load(), s.cpu(t), time.Now()
	<-time.After(during)
	return moment{float64(h.tokens.Load() - before), s.cpu(t) - cpu, time.Since(began)}
}

func (m moment) and(other moment) moment {
	return moment{m.tokens + other.tokens, m.cpu + other.cpu, m.elapsed + other.elapsed}
}

// flood is what somebody does who means no good.
type flood struct {
	// workers do it at once.
	workers int
	// run is one of them, until ctx ends; it calls begun when all that it holds open
	// is, or at once.
	run func(ctx context.Context, s *server, begun func(), answers *answers)
	// allowed are the statuses that it may be answered with.
	allowed []int
	// costs is how many tokens an answer to it may cost, for a flood whose answers
	// are worth as much as tokens are: it is as strong as its clients are many. Zero:
	// the honest keep their share of tokens whatever it does.
	costs float64
	// silent tells that no answer is expected at all.
	silent bool
}

// answers are what a flood was told.
type answers struct {
	mu       sync.Mutex
	statuses map[string]int
	wrong    []string
}

func (a *answers) take(allowed []int) func(*http.Response, error) {
	return func(r *http.Response, err error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		switch {
		case err != nil:
			a.statuses["broken"]++
			return
		case !slices.Contains(allowed, r.StatusCode):
			a.wrong = append(a.wrong, r.Status)
		case (r.StatusCode == http.StatusTooManyRequests || r.StatusCode == http.StatusServiceUnavailable) && r.Header.Get("Retry-After") == "":
			a.wrong = append(a.wrong, r.Status+" without Retry-After")
		}
		a.statuses[r.Status]++
	}
}

func (a *answers) total() (n int) {
	for _, count := range a.statuses {
		n += count
	}
	return n
}

// begin returns when the flood is there, and a function that ends it.
func (f flood) begin(s *server, told *answers) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var group, there sync.WaitGroup
	for range f.workers {
		there.Add(1)
		group.Go(func() { f.run(ctx, s, sync.OnceFunc(there.Done), told) })
	}
	there.Wait()
	return func() { cancel(); group.Wait() }
}

// survive floods a server and says what became of it.
func survive(t *testing.T, s *server, h *honest, f flood) {
	t.Helper()
	told := &answers{statuses: map[string]int{}}
	linesBefore, _ := s.log.count()
	tokensBefore := h.tokens.Load()
	var calm, flooded moment
	kept := func() float64 { return flooded.rate() / calm.rate() }
	for i := 0; i < pairs || i < mostPairs && kept() < share && f.costs == 0; i++ {
		calm = calm.and(h.look(t, s))
		stop := f.begin(s, told)
		flooded = flooded.and(h.look(t, s))
		ready := s.ready()
		stop()
		require.Equal(t, http.StatusOK, ready, "probes are answered meanwhile")
	}
	each := calm.cpu.Seconds() / calm.tokens
	cost := (flooded.cpu.Seconds() - flooded.tokens*each) / each / max(1, float64(told.total()))
	lines, longest := s.log.count()
	t.Logf("%.0f tokens/s without it, %.0f us each, with it %.2f of them; an answer to it costs %.1f tokens; at most %d MiB; %d lines of at most %d bytes for %d tokens; %v; %d honest connections broke",
		calm.rate(), each*1e6, kept(), cost, s.peak(t), lines-linesBefore, longest, h.tokens.Load()-tokensBefore, told.statuses, h.broken.Load())

	if f.costs == 0 {
		require.GreaterOrEqual(t, kept(), share, "of the tokens that honest clients get without the flood")
	} else {
		require.LessOrEqual(t, cost, f.costs, "tokens that an answer costs")
	}
	require.Less(t, s.peak(t), memoryMiB, "MiB at most")
	require.Empty(t, h.refused, "honest clients are refused nothing")
	require.Empty(t, told.wrong)
	if !f.silent {
		require.Positive(t, told.total(), "the flood never came")
	}
	// A request has one line and a token or a failure one of the audit; connections
	// have one per second.
	require.LessOrEqual(t, lines-linesBefore, 2*(told.total()+int(h.tokens.Load()-tokensBefore))+1000)
	require.Less(t, longest, 4<<10, "bytes of a line")

	// It is over: all is as before.
	before := h.tokens.Load()
	require.Eventually(t, func() bool { return h.tokens.Load() > before+honestClients }, 30*time.Second, time.Millisecond)
	require.Equal(t, http.StatusOK, s.ready())
}
