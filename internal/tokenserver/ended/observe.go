// SPDX-License-Identifier: Apache-2.0

package ended

import (
	"context"
	"fmt"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// unsettled is a state that no configuration has: what this replica acted on since
// it last could tell the database.
const unsettled = "\x00"

// Observe ends what the configuration ended since it was last observed, also over
// a restart: users, organizations and identity providers that are gone, users who
// are disabled or have another password. What this replica did on the former
// configuration ends as well when another one has observed the change before. On
// an error call it again: nothing is lost, also when the configuration has changed
// back meanwhile.
func (l *Ledger) Observe(ctx context.Context, present []storage.Configured) error {
	l.observing.Lock()
	defer l.observing.Unlock()
	present = l.changed(present)
	epochs, err := l.store.Observe(ctx, present, l.now())
	acted := make(map[epochKey]string, len(present))
	for _, c := range present {
		acted[epochKey{c.Kind, c.Key}] = c.State
		if err != nil && c.Changed {
			acted[epochKey{c.Kind, c.Key}] = unsettled
		}
	}
	l.acted = acted
	if err != nil {
		return fmt.Errorf("comparing users and organizations with what they were: %w", err)
	}
	l.putEpochs(epochs...)
	return nil
}

// changed marks what is not as this replica has it, and adds what is gone.
func (l *Ledger) changed(present []storage.Configured) []storage.Configured {
	marked := make([]storage.Configured, 0, len(present))
	seen := make(map[epochKey]bool, len(present))
	for _, c := range present {
		key := epochKey{c.Kind, c.Key}
		seen[key] = true
		was, acted := l.acted[key]
		c.Changed = acted && was != c.State
		marked = append(marked, c)
	}
	for key, was := range l.acted {
		if !seen[key] && was != "" {
			marked = append(marked, storage.Configured{Kind: key.kind, Key: key.key, Changed: true})
		}
	}
	return marked
}
