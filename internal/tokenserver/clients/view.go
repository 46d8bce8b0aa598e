// SPDX-License-Identifier: Apache-2.0

// Package clients holds every app in memory, prepared for requests, so that a
// token request needs no database. The view follows the change feed and this
// replica's own writes. It also knows which apps may do anything at present, and
// when their secrets were last used.
package clients

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// View is the apps in memory. It is safe for concurrent use.
type View struct {
	store     storage.Apps
	directory *directory.Live
	mu        sync.RWMutex
	apps      map[string]*App // by client id
	origins   originCount
	// refreshing is held by whoever reads, which keeps an older read from replacing
	// a newer one. Waiting for it ends with the context: one read that hangs holds
	// nobody up for longer than each can wait.
	refreshing chan struct{}
}

// New makes an empty view; Load fills it.
func New(store storage.Apps, dir *directory.Live) *View {
	return &View{store: store, directory: dir, apps: map[string]*App{}, refreshing: make(chan struct{}, 1)}
}

func (v *View) lock(ctx context.Context) error {
	select {
	case v.refreshing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for another read of the apps: %w: %w", storage.ErrUnavailable, ctx.Err())
	}
}

func (v *View) unlock() { <-v.refreshing }

// Load reads every app and forgets those that are gone.
func (v *View) Load(ctx context.Context) error {
	if err := v.lock(ctx); err != nil {
		return err
	}
	defer v.unlock()
	present := map[string]bool{}
	err := v.store.AllApps(ctx, func(app storage.App) error {
		present[app.ClientID] = true
		v.put(app)
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading apps: %w", err)
	}
	for _, id := range v.others(present) {
		v.forget(id)
	}
	return nil
}

// others are the apps in memory that are not present.
func (v *View) others(present map[string]bool) (ids []string) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	for id := range v.apps {
		if !present[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

// App implements Lookup.
func (v *View) App(clientID string) (*App, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	app, ok := v.apps[clientID]
	return app, ok
}

// Standing is the one rule whether an app may do anything at present. Errors:
// ErrDisabled, ErrOrganizationGone.
func (v *View) Standing(app *App) error {
	if !app.Enabled {
		return ErrDisabled
	}
	if _, ok := v.directory.Load().Organization(app.OrgID); !ok {
		return ErrOrganizationGone
	}
	return nil
}

// Len is how many apps there are.
func (v *View) Len() int {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return len(v.apps)
}

// Refresh reads one app again, and forgets it when it is gone.
func (v *View) Refresh(ctx context.Context, clientID string) error {
	if err := v.lock(ctx); err != nil {
		return err
	}
	defer v.unlock()
	app, err := v.store.App(ctx, clientID)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		v.forget(clientID)
		return nil
	case err != nil:
		return fmt.Errorf("reading app %s: %w", clientID, err)
	}
	v.put(app)
	return nil
}

func (v *View) put(record storage.App) {
	app := Prepare(record)
	v.mu.Lock()
	before := v.apps[app.ClientID]
	v.apps[app.ClientID] = app
	v.mu.Unlock()
	v.origins.replace(before, app)
}

func (v *View) forget(clientID string) {
	v.mu.Lock()
	before := v.apps[clientID]
	delete(v.apps, clientID)
	v.mu.Unlock()
	v.origins.replace(before, nil)
}
