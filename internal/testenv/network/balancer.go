// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// lookEvery is how late a balancer notices that a backend is ready, or not any more.
const lookEvery = 50 * time.Millisecond

// Balancer gives each TCP connection to one of its backends in turn, of those that
// are ready. A connection stays where it is, also when its backend is ready no more.
type Balancer struct {
	listener net.Listener
	ctx      context.Context //nolint:containedctx // that of the test
	probes   *http.Client

	mu       sync.Mutex
	backends []*backend
	next     int
	running  sync.WaitGroup
}

type backend struct {
	address string
	ready   atomic.Bool
	stop    context.CancelFunc
}

// NewBalancer starts one without backends; it ends with the test.
func NewBalancer(t testing.TB) *Balancer {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	b := &Balancer{listener: listen(t), ctx: ctx, probes: &http.Client{Timeout: time.Second, Transport: &http.Transport{}}}
	b.running.Go(b.accept)
	t.Cleanup(func() {
		cancel()
		_ = b.listener.Close()
		b.running.Wait()
		b.probes.CloseIdleConnections()
	})
	return b
}

// Address is where it listens.
func (b *Balancer) Address() string { return b.listener.Addr().String() }

// Add adds a backend, which gets connections while a GET of the readiness URL is
// answered 200.
func (b *Balancer) Add(address, readiness string) {
	ctx, stop := context.WithCancel(b.ctx)
	added := &backend{address: address, stop: stop}
	b.mu.Lock()
	b.backends = append(b.backends, added)
	b.mu.Unlock()
	b.running.Go(func() { b.probe(ctx, added, readiness) })
}

// Remove takes a backend out; its connections go on.
func (b *Balancer) Remove(address string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.backends = slices.DeleteFunc(b.backends, func(known *backend) bool {
		if known.address == address {
			known.stop()
		}
		return known.address == address
	})
}

// Ready tells whether a backend gets connections.
func (b *Balancer) Ready(address string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.backends, func(known *backend) bool { return known.address == address && known.ready.Load() })
}

func (b *Balancer) probe(ctx context.Context, of *backend, readiness string) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		of.ready.Store(b.answersOK(ctx, readiness))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (b *Balancer) answersOK(ctx context.Context, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := b.probes.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

func (b *Balancer) accept() {
	for {
		client, err := b.listener.Accept()
		if err != nil {
			return
		}
		b.running.Go(func() { b.serve(client) })
	}
}

// serve joins the connection with one to the next backend that takes it.
func (b *Balancer) serve(client net.Conn) {
	server := b.connect()
	if server == nil {
		reset(client)
		return
	}
	stop := context.AfterFunc(b.ctx, func() {
		reset(client)
		reset(server)
	})
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { forward(server, client) })
	both.Go(func() { forward(client, server) })
	both.Wait()
	_, _ = client.Close(), server.Close()
}

func (b *Balancer) connect() net.Conn {
	for _, candidate := range b.inTurn() {
		dialer := net.Dialer{Timeout: dialTimeout}
		if server, err := dialer.DialContext(b.ctx, "tcp", candidate.address); err == nil {
			return server
		}
	}
	return nil
}

// inTurn are the backends that are ready, the one whose turn it is first.
func (b *Balancer) inTurn() []*backend {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	var ready []*backend
	for i := range b.backends {
		if candidate := b.backends[(b.next+i)%len(b.backends)]; candidate.ready.Load() {
			ready = append(ready, candidate)
		}
	}
	return ready
}

// forward carries bytes one way and then the end, or that the connection broke.
func forward(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if err != nil {
		reset(to)
		reset(from)
		return
	}
	if tcp, ok := to.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
}
