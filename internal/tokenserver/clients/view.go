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
	"sync/atomic"

	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// View is the apps in memory. It is safe for concurrent use.
type View struct {
	store     storage.Apps
	directory *directory.Live
	apps      sync.Map // client id → *App
	count     atomic.Int64
	origins   originCount
	// refreshing is held by whoever reads, which keeps an older read from replacing
	// a newer one. Waiting for it ends with the context: one read that hangs holds
	// nobody up for longer than each can wait.
	refreshing chan struct{}
}

// New makes an empty view; Load fills it.
func New(store storage.Apps, dir *directory.Live) *View {
	return &View{store: store, directory: dir, refreshing: make(chan struct{}, 1)}
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
	v.apps.Range(func(clientID, _ any) bool {
		if id, _ := clientID.(string); !present[id] {
			v.forget(id)
		}
		return true
	})
	return nil
}

// App implements Lookup.
func (v *View) App(clientID string) (*App, bool) {
	app, ok := v.apps.Load(clientID)
	if !ok {
		return nil, false
	}
	return app.(*App), true
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
func (v *View) Len() int { return int(v.count.Load()) }

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
	before, was := v.apps.Swap(app.ClientID, app)
	if !was {
		v.count.Add(1)
		v.origins.replace(nil, app)
		return
	}
	v.origins.replace(before.(*App), app)
}

func (v *View) forget(clientID string) {
	if before, was := v.apps.LoadAndDelete(clientID); was {
		v.count.Add(-1)
		v.origins.replace(before.(*App), nil)
	}
}
