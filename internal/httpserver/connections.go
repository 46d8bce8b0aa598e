// SPDX-License-Identifier: Apache-2.0

package httpserver

import (
	"container/list"
	"net"
	"net/http"
	"sync"
	"time"
)

// underWay is by how much a request that is under way counts as younger than it is:
// a connection without one gives way before it, unless the request is a slow one.
const underWay = time.Second

// connections are those that are open, at most limit. To refuse more would let
// whoever holds that many idle ones keep all others out; so the one where nothing
// happened for longest gives way, which under a flood is the flood's own.
type connections struct {
	limit int
	now   func() time.Time

	mu sync.Mutex
	// open has the place of every connection in waiting or in requests.
	open map[net.Conn]*list.Element
	// waiting are those without a request whose headers are read, requests the others;
	// the latest change is in front.
	waiting, requests *list.List
	// closing are those that gave way and have not ended yet.
	closing map[net.Conn]struct{}
	ended   sync.Cond
}

// place is what is known of a connection.
type place struct {
	conn  net.Conn
	in    *list.List
	since time.Time
}

func newConnections(limit int) *connections {
	c := &connections{
		limit: limit, now: time.Now,
		open: map[net.Conn]*list.Element{}, waiting: list.New(), requests: list.New(), closing: map[net.Conn]struct{}{},
	}
	c.ended.L = &c.mu
	return c
}

// state is called for every change. That of a new connection is called by the loop
// that accepts them, which waits here while those that gave way still end.
func (c *connections) state(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		for len(c.closing) >= c.limit {
			c.ended.Wait()
		}
		if len(c.open) >= c.limit {
			c.giveWay()
		}
		c.put(conn, c.waiting)
	case http.StateActive:
		c.move(conn, c.requests)
	case http.StateIdle:
		c.move(conn, c.waiting)
	case http.StateClosed, http.StateHijacked:
		c.take(conn)
		delete(c.closing, conn)
		c.ended.Signal()
	}
}

func (c *connections) put(conn net.Conn, in *list.List) {
	c.open[conn] = in.PushFront(&place{conn: conn, in: in, since: c.now()})
}

// take removes a connection and tells whether it was there.
func (c *connections) take(conn net.Conn) bool {
	element, ok := c.open[conn]
	if ok {
		element.Value.(*place).in.Remove(element)
		delete(c.open, conn)
	}
	return ok
}

func (c *connections) move(conn net.Conn, to *list.List) {
	element, ok := c.open[conn]
	if !ok { // it gave way
		return
	}
	moved := element.Value.(*place)
	moved.in.Remove(element)
	moved.in, moved.since = to, c.now()
	c.open[conn] = to.PushFront(moved)
}

// giveWay closes the connection where nothing happened for longest.
func (c *connections) giveWay() {
	longest := c.waiting.Back()
	if request := c.requests.Back(); longest == nil ||
		request != nil && request.Value.(*place).since.Add(underWay).Before(longest.Value.(*place).since) {
		longest = request
	}
	conn := longest.Value.(*place).conn
	c.take(conn)
	c.closing[conn] = struct{}{}
	// Without a word of TLS, which a peer that does not read would hold up.
	if secured, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = secured.NetConn()
	}
	// Close waits for whoever reads, and the next connection should not.
	go func() { _ = conn.Close() }()
}
