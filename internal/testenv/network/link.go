// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Link is a TCP path to one address, on which faults can be set while it is in use.
// Faults add up; Heal ends all of them.
type Link struct {
	listener net.Listener
	target   string

	mu sync.Mutex
	// changed is closed, and replaced, when a fault changes.
	changed chan struct{}
	faults  faults
	pairs   map[*pair]bool
	closed  bool
	running sync.WaitGroup
}

type faults struct {
	latency time.Duration
	held    bool
	answers int // zero: any number
}

// NewLink opens a path to an address; it is closed at the end of the test.
func NewLink(t testing.TB, target string) *Link {
	t.Helper()
	l := &Link{listener: listen(t), target: target, changed: make(chan struct{}), pairs: map[*pair]bool{}}
	l.running.Go(l.accept)
	t.Cleanup(l.close)
	return l
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return listener
}

// Address is where the path begins.
func (l *Link) Address() string { return l.listener.Addr().String() }

// Delay makes every answer, and every new connection, arrive that much later.
func (l *Link) Delay(latency time.Duration) { l.set(func(f *faults) { f.latency = latency }) }

// Partition withholds every byte in both directions, without breaking a connection;
// new ones are opened and lead nowhere. What was withheld arrives after Heal, as
// TCP sends it again.
func (l *Link) Partition() { l.set(func(f *faults) { f.held = true }) }

// Cut breaks every connection that is open now; new ones are as good as before.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.pairs {
		p.cut()
	}
}

// CutAfter breaks every connection opened from now on when it has carried so many
// answers: the last one is lost.
func (l *Link) CutAfter(answers int) { l.set(func(f *faults) { f.answers = answers }) }

// Heal ends every fault. Connections that were to break live on.
func (l *Link) Heal() { l.set(func(f *faults) { *f = faults{} }) }

func (l *Link) set(change func(*faults)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.faults)
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *Link) now() (faults, chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.faults, l.changed
}

func (l *Link) close() {
	_ = l.listener.Close()
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.Cut()
	l.running.Wait()
}

func (l *Link) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.running.Go(func() { l.carry(client) })
	}
}

// carry serves one connection until it is over.
func (l *Link) carry(client net.Conn) {
	p := &pair{link: l, client: client, gone: make(chan struct{})}
	if !l.add(p) {
		_ = client.Close()
		return
	}
	defer l.remove(p)
	if !p.arrive(time.Now()) {
		return
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	server, err := dialer.DialContext(context.Background(), "tcp", l.target)
	if err != nil || !p.connect(server) {
		p.cut()
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.copy(server, client, false) })
	both.Go(func() { p.copy(client, server, true) })
	both.Wait()
}

const dialTimeout = 10 * time.Second

func (l *Link) add(p *pair) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pairs[p] = true
	return !l.closed
}

func (l *Link) remove(p *pair) {
	p.cut()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pairs, p)
}

// pair is a connection and the one that it is carried on by.
type pair struct {
	link   *Link
	client net.Conn

	mu     sync.Mutex
	server net.Conn
	once   sync.Once
	gone   chan struct{}
}

// connect takes the second connection in, unless the first is gone.
func (p *pair) connect(server net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.gone:
		_ = server.Close()
		return false
	default:
		p.server = server
		return true
	}
}

// cut breaks both connections at once.
func (p *pair) cut() {
	p.once.Do(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		close(p.gone)
		reset(p.client)
		if p.server != nil {
			reset(p.server)
		}
	})
}

// reset closes a connection as one that broke.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// chunk is something that was read and has not arrived.
type chunk struct {
	data []byte
	read time.Time
}

// copy carries bytes in one direction. Reading goes on while earlier bytes are on
// their way: latency is no limit of the rate.
func (p *pair) copy(to, from net.Conn, answers bool) {
	const window = 1024
	way := make(chan chunk, window)
	go func() {
		defer close(way)
		for {
			data := make([]byte, 16<<10)
			n, err := from.Read(data)
			if err != nil {
				return
			}
			select {
			case way <- chunk{data[:n], time.Now()}:
			case <-p.gone:
				return
			}
		}
	}()
	carried := 0
	for c := range way {
		if answers {
			carried++
			if f, _ := p.link.now(); f.answers > 0 && carried >= f.answers {
				p.cut()
				return
			}
		}
		if !p.pass(c.read, answers) {
			return
		}
		if _, err := to.Write(c.data); err != nil {
			break
		}
	}
	// An end arrives as the bytes before it do.
	if p.pass(time.Now(), answers) {
		if tcp, ok := to.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
	}
}

// pass waits until what was read then may go on; false when the pair is gone.
func (p *pair) pass(read time.Time, answers bool) bool {
	if !answers {
		return p.wait(func(f faults) time.Duration { return 0 })
	}
	return p.wait(func(f faults) time.Duration { return time.Until(read.Add(f.latency)) })
}

// arrive is pass for a new connection.
func (p *pair) arrive(opened time.Time) bool { return p.pass(opened, true) }

func (p *pair) wait(left func(faults) time.Duration) bool {
	for {
		f, changed := p.link.now()
		due := left(f)
		if !f.held && due <= 0 {
			return true
		}
		var late <-chan time.Time
		if !f.held {
			late = time.After(due)
		}
		select {
		case <-late:
		case <-changed:
		case <-p.gone:
			return false
		}
	}
}
