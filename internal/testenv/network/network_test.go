// SPDX-License-Identifier: Apache-2.0

package network_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/testenv/network"
)

// echo answers every line with itself.
func echo(t *testing.T) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(connection, connection)
				_ = connection.Close()
			}()
		}
	}()
	return listener.Addr().String()
}

type peer struct {
	t *testing.T
	net.Conn
	lines *bufio.Reader
}

func dial(t *testing.T, address string) *peer {
	t.Helper()
	connection, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = connection.Close() })
	return &peer{t, connection, bufio.NewReader(connection)}
}

// refused fails unless the connection is refused or broken at once.
func refused(t *testing.T, address string) {
	t.Helper()
	connection, err := net.Dial("tcp", address)
	if err == nil {
		defer func() { _ = connection.Close() }()
		_, err = connection.Read(make([]byte, 1))
	}
	require.Error(t, err)
}

func (p *peer) ask(line string) (string, error) {
	if _, err := io.WriteString(p, line+"\n"); err != nil {
		return "", err
	}
	return p.lines.ReadString('\n')
}

func (p *peer) answers(line string) {
	p.t.Helper()
	answer, err := p.ask(line)
	require.NoError(p.t, err)
	require.Equal(p.t, line+"\n", answer)
}

func TestALinkIsSlowAsLongAsItIsTold(t *testing.T) {
	link := network.NewLink(t, echo(t))
	p := dial(t, link.Address())
	p.answers("before")
	const latency = 100 * time.Millisecond
	link.Delay(latency)
	begin := time.Now()
	p.answers("late")
	require.GreaterOrEqual(t, time.Since(begin), latency)
	link.Delay(time.Hour)
	_, err := io.WriteString(p, "withheld\n")
	require.NoError(t, err)
	link.Heal()
	answer, err := p.lines.ReadString('\n')
	require.NoError(t, err, "what was on its way arrives")
	require.Equal(t, "withheld\n", answer)
}

func TestBytesOfAPartitionArriveAfterIt(t *testing.T) {
	link := network.NewLink(t, echo(t))
	p := dial(t, link.Address())
	p.answers("before")
	link.Partition()
	require.NoError(t, p.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err := p.ask("meanwhile")
	require.ErrorContains(t, err, "i/o timeout", "the connection lives")
	during := dial(t, link.Address())
	require.NoError(t, p.SetReadDeadline(time.Time{}))
	link.Heal()
	answer, err := p.lines.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "meanwhile\n", answer)
	during.answers("opened in between")
}

func TestConnectionsAreCut(t *testing.T) {
	link := network.NewLink(t, echo(t))
	p := dial(t, link.Address())
	p.answers("before")
	link.Cut()
	_, err := p.ask("after")
	require.Error(t, err)
	again := dial(t, link.Address())
	again.answers("a new one is whole")

	link.CutAfter(2)
	lossy := dial(t, link.Address())
	lossy.answers("first")
	_, err = lossy.ask("second")
	require.Error(t, err)
	link.Heal()
	p = dial(t, link.Address())
	for range 3 {
		p.answers("healed")
	}
}

func TestABalancerTakesOutWhoIsNotReady(t *testing.T) {
	balancer := network.NewBalancer(t)
	refused(t, balancer.Address())

	var ready [2]atomic.Bool
	var backends [2]*httptest.Server
	for n := range backends {
		ready[n].Store(true)
		backends[n] = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/readyz" && !ready[n].Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			w.Header().Set("Backend", string(rune('0'+n)))
		}))
		t.Cleanup(backends[n].Close)
		balancer.Add(backends[n].Listener.Addr().String(), backends[n].URL+"/readyz")
	}
	settled := func(n int, want bool) {
		t.Helper()
		testenv.Eventually(t, func(c *require.Assertions) { c.Equal(want, balancer.Ready(backends[n].Listener.Addr().String())) })
	}
	ask := func(client *http.Client) string {
		t.Helper()
		response, err := client.Get("http://" + balancer.Address())
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response.Header.Get("Backend")
	}
	fresh := func() string {
		t.Helper()
		return ask(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}})
	}
	settled(0, true)
	settled(1, true)
	first, second := fresh(), fresh()
	require.NotEqual(t, first, second, "in turn")

	kept := &http.Client{Transport: &http.Transport{}}
	defer kept.CloseIdleConnections()
	on := ask(kept)
	n := int(on[0] - '0')
	ready[n].Store(false)
	settled(n, false)
	require.Equal(t, on, ask(kept), "an open connection stays where it is")
	for range 4 {
		require.NotEqual(t, on, fresh())
	}
	balancer.Remove(backends[1-n].Listener.Addr().String())
	refused(t, balancer.Address())
}
