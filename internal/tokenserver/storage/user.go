// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"time"
)

// User is a person whom an identity provider has asserted, created just in
// time. Local users are in the configuration and never here.
type User struct {
	ID, OrgID    string
	IDProviderID string
	// Username identifies the user with OrgID and IDProviderID, whatever its
	// case; it is kept as first asserted.
	Username                   string
	FirstName, LastName, Email string
	// Groups are the asserted ones, of a trusted provider alone.
	Groups               []string
	CreatedAt, UpdatedAt time.Time
}

// Users is the role of just-in-time users.
type Users interface {
	// PutUser stores what was asserted about the user with that organization,
	// provider and username, under a new id (user.ID) when there is none yet. It
	// returns the stored user. An empty name or address was not asserted: what is
	// stored stays. When nothing differs, nothing is written.
	PutUser(ctx context.Context, user User, now time.Time) (User, error)
	// User returns the user or ErrNotFound.
	User(ctx context.Context, id string) (User, error)
}
