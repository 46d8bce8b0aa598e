// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"cmp"
	"context"
	"sync"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/registrar"
)

// API is what the inventory needs of a *registrar.Client.
type API interface {
	Register(ctx context.Context, externalID string, fields registrar.Fields) (*registrar.Registered, error)
	Read(ctx context.Context, clientID string) (*oauth.ConnectedApp, error)
	Update(ctx context.Context, clientID string, fields registrar.Fields) (*oauth.ConnectedApp, error)
	Delete(ctx context.Context, clientID string) error
	List(ctx context.Context, offset, limit int) (*registrar.Page, error)
	ScopeCatalogue(ctx context.Context) ([]string, error)
	AppByExternalID(ctx context.Context, externalID string) (*oauth.ConnectedApp, error)
	Scopes(ctx context.Context, clientID string) ([]oauth.ContextScope, error)
	PutScopes(ctx context.Context, clientID string, scopes []oauth.ContextScope) error
	ResetSecret(ctx context.Context, clientID string) (*oauth.ConnectedApp, error)
	Secrets(ctx context.Context, clientID string) (*oauth.SecretList, error)
	AddSecret(ctx context.Context, clientID string, overlap time.Duration) (*oauth.Secret, error)
	DeleteSecret(ctx context.Context, clientID, secretID string) error
	Authenticates(ctx context.Context, clientID, clientSecret string) (bool, error)
}

var _ API = (*registrar.Client)(nil)

// Options say what the server can do and how much it is asked.
type Options struct {
	// ExternalID: the server has the extension external_id.
	ExternalID bool
	// Revision: the server has the extension revision.
	Revision bool
	// Secrets: the server has the extension secrets.
	Secrets bool
	// Calls bounds the calls at a time; 0 means 16.
	Calls int
	// PageSize is the number of rows to ask for; 0 means 500.
	PageSize int
	// Breaker guards the server; nil means one with defaults.
	Breaker *Breaker
	// Unclaimed returns, at the beginning of each list, a test for the external ids
	// of its rows: those that pass are remembered for Inventory.Unclaimed. Nil: none.
	Unclaimed func() func(externalID string) bool
	// OnOpen is called when calls have failed so often that the breaker opens; it
	// must not block. Nil: nobody is told.
	OnOpen func()
	// OnCall is told how long each call took and how it ended; nil: nobody is.
	OnCall func(took time.Duration, err error)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// App is the whole state of one app on the server. It is shared: treat it as
// read-only.
type App struct {
	oauth.ConnectedApp
	// ContextScopes are the scopes of an app that acts for itself; nil for
	// others.
	ContextScopes []oauth.ContextScope
	// SecretList are the live secrets by id; nil when the server does not tell,
	// or the app has none.
	SecretList *oauth.SecretList
}

// Inventory is what one token server holds. It is safe for use by several
// goroutines.
type Inventory struct {
	api      API
	options  Options
	breaker  *Breaker
	calls    chan struct{}
	now      func() time.Time
	pageSize int
	*contents
}

// contents are what is known of the server, whichever way it is reached.
type contents struct {
	mu sync.Mutex
	// clock counts reads and writes, so that before and after do not depend on
	// the resolution of a time.
	clock    uint64
	apps     map[string]seenApp // what was read singly
	written  map[string]uint64  // when we last wrote to an app
	doubtful map[string]uint64  // when a registration under a name was last lost
	listing  *listing           // the newest complete list
	refresh  *refresh           // the list being made, nil: none
	pageRows int                // rows of the newest list, for its capacity

	catalogue catalogue
}

// seenApp is an app that was read singly.
type seenApp struct {
	app  *App
	from uint64    // clock when the reading began
	at   time.Time // when it was last known to be so
}

// New makes an empty inventory of the server behind api.
func New(api API, options Options) *Inventory {
	i := &Inventory{
		api:      api,
		options:  options,
		breaker:  cmp.Or(options.Breaker, &Breaker{}),
		calls:    make(chan struct{}, cmp.Or(options.Calls, 16)),
		now:      options.Now,
		pageSize: cmp.Or(options.PageSize, 500),
		contents: &contents{
			apps: map[string]seenApp{}, written: map[string]uint64{}, doubtful: map[string]uint64{},
			catalogue: catalogue{turn: make(chan struct{}, 1)},
		},
	}
	if i.now == nil {
		i.now = time.Now
	}
	return i
}

// Through is an inventory of the same server that is reached another way: what
// is known of its apps stays known, and both go on sharing it. The server must be
// the same one, not only another at the same address.
func (i *Inventory) Through(api API, options Options) *Inventory {
	other := New(api, options)
	other.contents = i.contents
	return other
}

// App returns the state of an app that was true at most maxAge ago; 0 reads it
// now. It returns an error that registrar.IsNotFound when the server says that
// there is no such app. Any other error says nothing about the app.
func (i *Inventory) App(ctx context.Context, clientID string, maxAge time.Duration) (*App, error) {
	if app := i.fresh(clientID, maxAge); app != nil {
		return app, nil
	}
	if maxAge > 0 && i.options.Revision && i.known(clientID) {
		if err := i.list(ctx, maxAge, 0); err != nil {
			return nil, err
		}
		if app := i.fresh(clientID, maxAge); app != nil {
			return app, nil
		}
	}
	return i.read(ctx, clientID)
}

// known tells whether a list could save reading the app.
func (i *Inventory) known(clientID string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	seen, ok := i.apps[clientID]
	return ok && seen.from > i.written[clientID]
}

// fresh returns what is known of an app, when it is not older than maxAge and
// not from before our last write.
func (i *Inventory) fresh(clientID string, maxAge time.Duration) *App {
	i.mu.Lock()
	defer i.mu.Unlock()
	seen, ok := i.apps[clientID]
	if !ok || seen.from <= i.written[clientID] {
		return nil
	}
	if i.listing != nil && i.listing.confirms(clientID, seen) {
		seen.at = i.listing.at
		i.apps[clientID] = seen
	}
	if i.now().Sub(seen.at) >= maxAge {
		return nil
	}
	return seen.app
}

// read asks for all of one app.
func (i *Inventory) read(ctx context.Context, clientID string) (*App, error) {
	from, at := i.tick(), i.now()
	app, err := i.readParts(ctx, clientID)
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case registrar.IsNotFound(err):
		delete(i.apps, clientID)
		return nil, err
	case err != nil:
		return nil, err
	}
	if from > i.apps[clientID].from {
		i.apps[clientID] = seenApp{app: app, from: from, at: at}
	}
	return app, nil
}

// readParts reads the app first: a change after that has another revision, so
// that the parts are read again.
func (i *Inventory) readParts(ctx context.Context, clientID string) (*App, error) {
	wire, err := guard(ctx, i, func() (*oauth.ConnectedApp, error) { return i.api.Read(ctx, clientID) })
	if err != nil {
		return nil, err
	}
	app := &App{ConnectedApp: *wire}
	// Servers that can give the secret back do so on every read; nobody needs
	// it here.
	app.ClientSecret, app.ClientSecretID = "", ""
	if actsForItself(wire) {
		app.ContextScopes, err = guard(ctx, i, func() ([]oauth.ContextScope, error) { return i.api.Scopes(ctx, clientID) })
		if err != nil {
			return nil, err
		}
	}
	if i.options.Secrets && hasSecret(wire) {
		app.SecretList, err = guard(ctx, i, func() (*oauth.SecretList, error) { return i.api.Secrets(ctx, clientID) })
		if err != nil {
			return nil, err
		}
	}
	return app, nil
}

func actsForItself(app *oauth.ConnectedApp) bool {
	return len(app.GrantTypes) == 1 && app.GrantTypes[0] == oauth.GrantClientCredentials
}

func hasSecret(app *oauth.ConnectedApp) bool {
	return app.TokenEndpointAuthMethod != oauth.AuthMethodNone && app.TokenEndpointAuthMethod != oauth.AuthMethodPrivateKeyJWT
}

func (i *Inventory) tick() uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.clock++
	return i.clock
}

// Serves tells whether the server is not known to be in trouble.
func (i *Inventory) Serves() bool { return i.breaker.allows() }
