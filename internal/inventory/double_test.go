// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/registrar"
)

// server is a management API in memory that counts its calls. Tests change its
// apps behind the inventory's back, as an administrator would.
type server struct {
	mu      sync.Mutex
	apps    map[string]oauth.ConnectedApp
	version int
	// lists, reads and writes count calls.
	lists, reads, writes int
	// omit leaves an app out of lists, as a row that moves between pages is.
	omit func(clientID string) bool
	// fail answers every call while it is set.
	fail error
}

var _ inventory.API = (*server)(nil)

func newServer(ids ...string) *server {
	s := &server{apps: map[string]oauth.ConnectedApp{}}
	for _, id := range ids {
		s.change(id, "first")
	}
	return s
}

// change makes an app, or gives it another name and revision.
func (s *server) change(id, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(id, name)
}

func (s *server) put(id, name string) oauth.ConnectedApp {
	s.version++
	app := oauth.ConnectedApp{
		ClientID: id, ClientName: name, ClientSecret: "never seen", Revision: fmt.Sprint(s.version), GrantTypes: []string{oauth.GrantClientCredentials},
	}
	s.apps[id] = app
	return app
}

func (s *server) remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.apps, id)
}

func (s *server) calls() (lists, reads int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lists, s.reads
}

func (s *server) setFail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

func (s *server) Authenticates(context.Context, string, string) (bool, error) { return false, nil }

func (s *server) read(id string) (oauth.ConnectedApp, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	if s.fail != nil {
		return oauth.ConnectedApp{}, s.fail
	}
	app, ok := s.apps[id]
	if !ok {
		return app, &registrar.Error{Op: "reading the app", Reason: registrar.ReasonNotFound, Status: 404}
	}
	return app, nil
}

func (s *server) Read(_ context.Context, id string) (*oauth.ConnectedApp, error) {
	app, err := s.read(id)
	return &app, err
}

// Scopes show the name, so that a test sees when they are from another time
// than the app.
func (s *server) Scopes(_ context.Context, id string) ([]oauth.ContextScope, error) {
	app, err := s.read(id)
	return []oauth.ContextScope{{Scope: app.ClientName}}, err
}

func (s *server) Secrets(_ context.Context, id string) (*oauth.SecretList, error) {
	_, err := s.read(id)
	return &oauth.SecretList{}, err
}

func (s *server) List(_ context.Context, offset, limit int) (*registrar.Page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists++
	if s.fail != nil {
		return nil, s.fail
	}
	var ids []string
	for id := range s.apps {
		if s.omit == nil || !s.omit(id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	page := &registrar.Page{Total: len(ids)}
	for _, id := range ids[min(offset, len(ids)):min(offset+limit, len(ids))] {
		page.Apps = append(page.Apps, s.apps[id])
	}
	return page, nil
}

func (s *server) write(id, name string) (*oauth.ConnectedApp, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	if s.fail != nil {
		return nil, s.fail
	}
	app := s.put(id, name)
	return &app, nil
}

func (s *server) Register(_ context.Context, id string, f registrar.Fields) (*registrar.Registered, error) {
	app, err := s.write(id, *f.ClientName)
	if err != nil {
		return nil, err
	}
	return &registrar.Registered{App: *app}, nil
}

func (s *server) Update(_ context.Context, id string, f registrar.Fields) (*oauth.ConnectedApp, error) {
	return s.write(id, *f.ClientName)
}

func (s *server) Delete(_ context.Context, id string) error {
	s.remove(id)
	return nil
}

func (s *server) PutScopes(_ context.Context, id string, scopes []oauth.ContextScope) error {
	_, err := s.write(id, scopes[0].Scope)
	return err
}

func (s *server) ScopeCatalogue(context.Context) ([]string, error) { return nil, nil }

func (s *server) ResetSecret(_ context.Context, clientID string) (*oauth.ConnectedApp, error) {
	return &oauth.ConnectedApp{ClientID: clientID, ClientSecret: "new"}, nil
}

func (s *server) AddSecret(_ context.Context, id string, _ time.Duration) (*oauth.Secret, error) {
	_, err := s.write(id, "secret added")
	return &oauth.Secret{ID: "2"}, err
}

func (s *server) DeleteSecret(_ context.Context, id, _ string) error {
	_, err := s.write(id, "secret deleted")
	return err
}

func (s *server) AppByExternalID(_ context.Context, id string) (*oauth.ConnectedApp, error) {
	app, err := s.read(id)
	return &app, err
}

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
