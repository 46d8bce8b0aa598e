// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"context"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/keys"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// NewStarting builds what answers until the database has been opened and New can
// build its successor: discovery, and every other route with 503 in its own words
// (tokenserver.md 24). It needs neither Store nor Keyring, and a Registry that the
// successor does not have. It is never loaded.
func NewStarting(ctx context.Context, config Config) (*Server, error) {
	config.Store, config.Keyring = unopened{}, keys.None()
	return New(ctx, config)
}

// unopened is the storage of a server that has none yet: the gate lets nobody
// through to it.
type unopened struct{ storage.Storage }

// InstallationID is empty: it is not known yet.
func (unopened) InstallationID(context.Context) (string, error) { return "", nil }

func (unopened) Measure(func(operation string, took time.Duration, err error)) {}

func (unopened) Clock(func() time.Time) {}

// Pools are none.
func (unopened) Pools() []storage.Pool { return nil }
