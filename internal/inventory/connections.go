// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"strings"
	"sync"

	"connectedapps.dev/operator/internal/registrar"
)

// Connection is a TokenServer that was found well: who it is, what it can do,
// and its inventory. It is replaced as a whole when its TokenServer, its
// credentials or its certificates change; the fields never change.
type Connection struct {
	*Inventory

	// Fingerprint tells one Connection of a TokenServer from the next.
	Fingerprint string
	// Issuer is the server's name in tokens.
	Issuer string
	// OrganizationID is where apps are registered.
	OrganizationID string
	// Discovery is what the server says about itself: public addresses.
	Discovery registrar.Discovery
	// URL is the public URL, InternalURL where to connect inside the cluster,
	// empty when that is the same.
	URL, InternalURL string
	// CABundle holds the PEM certificates that sign the server's; empty: the
	// system's do.
	CABundle []byte
	// Client is the API without limiter and breaker, for probes.
	Client *registrar.Client
}

// Internal is where in the cluster an endpoint of the server is reached; empty
// when that is no other address.
func (c *Connection) Internal(endpoint string) string {
	path, ok := strings.CutPrefix(endpoint, strings.TrimRight(c.URL, "/"))
	if c.InternalURL == "" || !ok {
		return ""
	}
	return strings.TrimRight(c.InternalURL, "/") + path
}

// Connections are the TokenServers that can be used, by name. The controller of
// TokenServers fills it, the others take from it. Its zero value is empty and
// ready; it is safe for use by several goroutines.
type Connections struct {
	mu        sync.Mutex
	byName    map[string]*Connection
	listeners []func(name string)
}

// Get returns the connection to a TokenServer; false when there is none yet, or
// the server must not be used: its condition says why.
func (c *Connections) Get(name string) (*Connection, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	connection, ok := c.byName[name]
	return connection, ok
}

// Set puts a connection in the place of the one before and tells the listeners.
func (c *Connections) Set(name string, connection *Connection) {
	c.mu.Lock()
	if c.byName == nil {
		c.byName = map[string]*Connection{}
	}
	before := c.byName[name]
	c.byName[name] = connection
	c.mu.Unlock()
	if before != nil && before.Client != connection.Client {
		before.Client.Close()
	}
	c.Notify(name)
}

// Remove takes a connection away: the server must not be used.
func (c *Connections) Remove(name string) {
	c.mu.Lock()
	before := c.byName[name]
	delete(c.byName, name)
	c.mu.Unlock()
	if before != nil {
		before.Client.Close()
	}
}

// OnChange calls f with a name whenever that TokenServer was connected or came
// back after trouble: what waits for it can go on. f must not block. It is meant
// for the time before anything runs.
func (c *Connections) OnChange(f func(name string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners = append(c.listeners, f)
}

// Notify calls the listeners.
func (c *Connections) Notify(name string) {
	c.mu.Lock()
	listeners := c.listeners
	c.mu.Unlock()
	for _, f := range listeners {
		f(name)
	}
}
