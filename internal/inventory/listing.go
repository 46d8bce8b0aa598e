// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"context"
	"time"

	"connectedapps.dev/operator/internal/registrar"
)

// listing is a complete list of the server's apps.
type listing struct {
	from      uint64            // clock when the first page was asked for
	at        time.Time         // when the first page was asked for
	revisions map[string]string // by client id
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
	err  error // set before done is closed
}

// list makes sure that the newest list is not older than maxAge. Several callers
// share one list; it is made on behalf of all, so that it does not end with the
// context of one.
func (i *Inventory) list(ctx context.Context, maxAge time.Duration) error {
	i.mu.Lock()
	if i.listing != nil && i.now().Sub(i.listing.at) < maxAge {
		i.mu.Unlock()
		return nil
	}
	r := i.refresh
	if r == nil {
		r = &refresh{done: make(chan struct{})}
		i.refresh = r
		i.clock++
		go i.makeList(context.WithoutCancel(ctx), r, i.clock)
	}
	i.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (i *Inventory) makeList(ctx context.Context, r *refresh, from uint64) {
	at := i.now()
	revisions, err := i.pages(ctx)
	i.mu.Lock()
	defer i.mu.Unlock()
	if err == nil {
		i.listing = &listing{from: from, at: at, revisions: revisions}
		i.forget(from)
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
func (i *Inventory) pages(ctx context.Context) (map[string]string, error) {
	revisions := make(map[string]string, i.pageRows)
	for offset := 0; ; {
		page, err := guard(ctx, i, func() (*registrar.Page, error) { return i.api.List(ctx, offset, i.pageSize) })
		if err != nil {
			return nil, err
		}
		for n := range page.Apps {
			revisions[page.Apps[n].ClientID] = page.Apps[n].Revision
		}
		offset += len(page.Apps)
		if len(page.Apps) == 0 || offset >= page.Total {
			i.pageRows = len(revisions) // only the maker of a list touches it
			return revisions, nil
		}
	}
}
