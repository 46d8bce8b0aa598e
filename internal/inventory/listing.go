// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"context"
	"maps"
	"slices"
	"time"

	"connectedapps.dev/operator/internal/registrar"
)

// listing is a complete list of the server's apps.
type listing struct {
	from      uint64            // clock when the first page was asked for
	at        time.Time         // when the first page was asked for
	revisions map[string]string // by client id
	// named are the ids by the app's name, on servers whose apps bear no mark of
	// whom they were made for.
	named map[string][]string
	// unclaimed are the external ids by client id that passed the test of the options.
	unclaimed map[string]string
}

// confirms tells whether an app that was read singly was still so when the list
// was made. Revisions do not come again, so that a list from before our last
// write cannot have the one of a reading after it.
func (l *listing) confirms(clientID string, seen seenApp) bool {
	revision, ok := l.revisions[clientID]
	return ok && revision != "" && revision == seen.app.Revision && l.at.After(seen.at)
}

// refresh is a list in the making, for which others may wait.
type refresh struct {
	done chan struct{}
	from uint64 // clock when it was begun
	err  error  // set before done is closed
}

// list makes sure that the newest list is not older than maxAge and was begun
// after the clock said after. Several callers share one list; it is made on
// behalf of all, so that it does not end with the context of one.
func (i *Inventory) list(ctx context.Context, maxAge time.Duration, after uint64) error {
	for {
		i.mu.Lock()
		if i.listing != nil && i.now().Sub(i.listing.at) < maxAge && i.listing.from > after {
			i.mu.Unlock()
			return nil
		}
		r := i.refresh
		if r == nil {
			i.clock++
			r = &refresh{done: make(chan struct{}), from: i.clock}
			i.refresh = r
			go i.makeList(context.WithoutCancel(ctx), r)
		}
		i.mu.Unlock()
		select {
		case <-r.done:
			if r.err != nil || r.from > after {
				return r.err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (i *Inventory) makeList(ctx context.Context, r *refresh) {
	made := &listing{from: r.from, at: i.now()}
	err := i.pages(ctx, made)
	i.mu.Lock()
	defer i.mu.Unlock()
	if err == nil {
		i.listing = made
		i.forget(r.from)
	}
	r.err = err
	i.refresh = nil
	close(r.done)
}

// forget drops the memory of writes that no later reading can be older than.
func (i *Inventory) forget(from uint64) {
	for id, written := range i.written {
		if _, seen := i.apps[id]; written < from && !seen {
			delete(i.written, id)
		}
	}
}

// pages asks for all pages. A row that moves between pages while they are read
// may be missed or come twice; neither does harm, since absence is confirmed
// singly.
func (i *Inventory) pages(ctx context.Context, made *listing) error {
	made.revisions = make(map[string]string, i.pageRows)
	if !i.options.ExternalID {
		made.named = make(map[string][]string, i.pageRows)
	}
	isUnclaimed := func(string) bool { return false }
	if i.options.Unclaimed != nil {
		isUnclaimed = i.options.Unclaimed()
	}
	made.unclaimed = map[string]string{}
	for offset := 0; ; {
		page, err := guard(ctx, i, func() (*registrar.Page, error) { return i.api.List(ctx, offset, i.pageSize) })
		if err != nil {
			return err
		}
		for n := range page.Apps {
			row := &page.Apps[n]
			made.revisions[row.ClientID] = row.Revision
			if row.ExternalID != "" && isUnclaimed(row.ExternalID) {
				made.unclaimed[row.ClientID] = row.ExternalID
			}
			if made.named != nil && !slices.Contains(made.named[row.ClientName], row.ClientID) {
				made.named[row.ClientName] = append(made.named[row.ClientName], row.ClientID)
			}
		}
		offset += len(page.Apps)
		if len(page.Apps) == 0 || offset >= page.Total {
			i.pageRows = len(made.revisions) // only the maker of a list touches it
			return nil
		}
	}
}

// Unchanged tells whether a list that is not older than maxAge shows an app with
// this revision. Revisions do not come again, so that an app last seen with it
// is as it was then. It is false on servers without the extension revision, and
// for the empty revision.
func (i *Inventory) Unchanged(ctx context.Context, clientID, revision string, maxAge time.Duration) (bool, error) {
	if !i.options.Revision || revision == "" {
		return false, nil
	}
	if err := i.list(ctx, maxAge, 0); err != nil {
		return false, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.listing.revisions[clientID] == revision, nil
}

// Named are the ids of the apps of this name, on a server without the extension
// external_id: as a list shows them that is not older than maxAge, and was begun
// after a registration under that name of which the outcome is not known.
func (i *Inventory) Named(ctx context.Context, name string, maxAge time.Duration) ([]string, error) {
	i.mu.Lock()
	after := i.doubtful[name]
	i.mu.Unlock()
	if err := i.list(ctx, maxAge, after); err != nil {
		return nil, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.doubtful[name] == after {
		delete(i.doubtful, name)
	}
	return slices.Clone(i.listing.named[name]), nil
}

// Unclaimed are the external ids, by client id, that passed the test of the
// options in a list that is not older than maxAge. Apps that we wrote to since
// are left out.
func (i *Inventory) Unclaimed(ctx context.Context, maxAge time.Duration) (map[string]string, error) {
	if err := i.list(ctx, maxAge, 0); err != nil {
		return nil, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	unclaimed := maps.Clone(i.listing.unclaimed)
	maps.DeleteFunc(unclaimed, func(id, _ string) bool { return i.written[id] > i.listing.from })
	return unclaimed, nil
}

// Lists tells whether the newest list has an app; false when there is no list.
func (i *Inventory) Lists(clientID string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.listing == nil {
		return false
	}
	_, ok := i.listing.revisions[clientID]
	return ok
}
