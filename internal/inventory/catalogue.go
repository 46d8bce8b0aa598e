// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"context"
	"time"
)

// catalogueAge is how old a catalogue may be: it changes with releases of a
// server.
const catalogueAge = 10 * time.Minute

// catalogue is the list of scopes a server offers.
type catalogue struct {
	turn   chan struct{} // holds one while somebody asks; guards the rest
	at     time.Time
	scopes []string
}

// ScopeCatalogue returns the names of the scopes that the server lists; nil when
// it has no such list. It asks once in a while, for all callers.
func (i *Inventory) ScopeCatalogue(ctx context.Context) ([]string, error) {
	select {
	case i.catalogue.turn <- struct{}{}:
		defer func() { <-i.catalogue.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if !i.catalogue.at.IsZero() && i.now().Sub(i.catalogue.at) < catalogueAge {
		return i.catalogue.scopes, nil
	}
	scopes, err := guard(ctx, i, func() ([]string, error) { return i.api.ScopeCatalogue(ctx) })
	if err == nil {
		i.catalogue.at, i.catalogue.scopes = i.now(), scopes
	}
	return scopes, err
}
